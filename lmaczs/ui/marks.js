// What if: boxes that the visitor draws on the picture, asked about like an explanation. What lies in them is kept, the
// rest is what would be heard without it. Everything here only defines: player.js calls `listenToMarks`.
const BOXES = "boxes:"; // as in drawn_mask.py
const LEAST_PIXELS = 5;

const marks = {
  on: false,
  boxes: [], // { from, to, low, high } in seconds and hertz
  drawn: null, // the box under the pointer
  since: null, // where Enter began a box
  before: null, // the method that was on screen before
};

const isMarked = (method) => Boolean(method?.startsWith(BOXES));
const keyOf = (boxes) =>
  BOXES + boxes.map(({ from, to, low, high }) => [from, to].map((s) => s.toFixed(3)).join("-") + "@" + [low, high].map((hz) => hz.toFixed(1)).join("-")).join(";");

const mark = (on) => {
  marks.on = on;
  marks.since = null;
  find("marking").setAttribute("aria-pressed", String(on));
  find("canvas").classList.toggle("lz-drawing", on);
  drawMarks();
};

// Ask what the classifier says to the boxes alone, and to the sound without them.
const askForMarks = () => {
  if (!shown) return;
  if (!isMarked(shown.method)) marks.before = shown.method;
  drawMarks();
  if (!marks.boxes.length) return askFor(question, marks.before || shown.method);
  if (sound.active === "original") choose("removed");
  return askFor(question, keyOf(marks.boxes));
};

const addMark = (box) => {
  marks.boxes.push(box);
  askForMarks();
};
const undoMark = () => {
  marks.boxes.pop();
  askForMarks();
};
const forgetMarks = () => {
  marks.boxes = [];
  marks.drawn = marks.before = null;
  mark(false);
};

const boxBetween = ([left, bottom], [right, top]) => {
  const ends = (a, b) => [Math.min(a, b), Math.max(a, b)];
  const [from, to] = ends(left, right).map((share) => share * sound.duration);
  const [low, high] = ends(bottom, top).map((share) => Math.max(0, picture.hz(share)));
  return { from, to, low, high };
};

// A box over all frequencies from here to where Enter is pressed again.
const markFromKeys = () => {
  if (!marks.on) return;
  if (marks.since === null) {
    marks.since = sound.position;
    return announce("The box begins at " + shownTime(marks.since, sound.duration) + " s: move on, and press Enter again.");
  }
  const [from, to] = [marks.since, sound.position].sort((a, b) => a - b);
  marks.since = null;
  if (to > from) addMark({ from, to, low: 0, high: shown.payload.clip.max_hz });
};

const drawMarks = () => {
  const area = find("marks");
  const seen = shown && (marks.on || isMarked(shown.method));
  area.hidden = !seen;
  find("unmark").hidden = !seen || !marks.boxes.length;
  if (!seen) return;
  const boxes = marks.drawn ? [...marks.boxes, marks.drawn] : marks.boxes;
  area.replaceChildren(
    ...boxes.map(({ from, to, low, high }) => {
      const node = document.createElement("div");
      const [bottom, top] = [low, high].map((hz) => Math.min(Math.max(picture.share(hz), 0), 1));
      node.style.left = (100 * from) / sound.duration + "%";
      node.style.width = (100 * (to - from)) / sound.duration + "%";
      node.style.bottom = 100 * bottom + "%";
      node.style.height = 100 * (top - bottom) + "%";
      return node;
    }),
  );
};

const listenToMarks = (canvas, shareAt) => {
  let start = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (!shown || !marks.on || event.button !== 0) return;
    start = { share: shareAt(event), x: event.clientX, y: event.clientY };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!start) return;
    marks.drawn = boxBetween(start.share, shareAt(event));
    drawMarks();
  });
  const end = (event) => {
    if (!start) return;
    const box = marks.drawn;
    const large = Math.abs(event.clientX - start.x) >= LEAST_PIXELS && Math.abs(event.clientY - start.y) >= LEAST_PIXELS;
    start = marks.drawn = null;
    if (box && large && event.type === "pointerup") addMark(box);
    else drawMarks();
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  find("marking").addEventListener("click", () => mark(!marks.on));
  find("unmark").addEventListener("click", () => undoMark());
};
