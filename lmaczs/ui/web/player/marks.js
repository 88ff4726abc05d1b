// What if: boxes that the visitor draws on the picture, asked about like an explanation. What lies in them is kept,
// the rest is what would be heard without it.
import { shownTime } from "./axes.js";
import { isMarked, keyOf } from "./method_key.js";
import { askFor } from "./requests.js";
import { picture, sound } from "./stage.js";
import { find, state } from "./state.js";
import { choose } from "./view.js";
import { announce, fileName, saveBlob } from "./words.js";

const LEAST_PIXELS = 5;

export const marks = {
  on: false,
  boxes: [], // { from, to, low, high } in seconds and hertz
  drawn: null, // the box under the pointer
  since: null, // where Enter began a box
  before: null, // the method that was on screen before
};

export const mark = (on) => {
  marks.on = on;
  marks.since = null;
  find("marking").setAttribute("aria-pressed", String(on));
  find("canvas").classList.toggle("lz-drawing", on);
  drawMarks();
};

// Ask what the classifier says to the boxes alone, and to the sound without them.
const askForMarks = () => {
  if (!state.shown) return;
  if (!isMarked(state.shown.method)) marks.before = state.shown.method;
  drawMarks();
  if (!marks.boxes.length) return askFor(state.question, marks.before || state.shown.method);
  if (sound.active === "original") choose("removed");
  return askFor(state.question, keyOf(marks.boxes));
};

const addMark = (box) => {
  marks.boxes.push(box);
  askForMarks();
};
const undoMark = () => {
  marks.boxes.pop();
  askForMarks();
};
export const forgetMarks = () => {
  marks.boxes = [];
  marks.drawn = marks.before = null;
  mark(false);
};

// What was asked and what the classifier said to it, for people's own notes.
export const saveMarks = () => {
  const { clip, prompts, target, shares, probability, domain } = state.shown.payload;
  const told = { recording: clip.name, duration_s: clip.duration_s, domain, prompts, prompt: prompts[target] };
  const boxes = marks.boxes.map(({ from, to, low, high }) => ({ start_s: from, end_s: to, low_hz: low, high_hz: high }));
  const heard = { only_boxes: "kept", without_boxes: "removed", whole: "original" };
  const scores = Object.fromEntries(Object.entries(heard).map(([name, track]) => [name, { probability: probability?.[track], probabilities: shares?.[track] }]));
  saveBlob(new Blob([JSON.stringify({ ...told, boxes, heard: scores }, null, 2) + "\n"], { type: "application/json" }), fileName("boxes.json"));
};

// The topmost box at a place, and the same box moved by a way across and up, within the picture.
const boxAt = ([across, up]) =>
  marks.boxes.findLast(
    ({ from, to, low, high }) =>
      across * sound.duration >= from && across * sound.duration <= to && picture.hz(up) >= low && picture.hz(up) <= high,
  );
const moved = ({ from, to, low, high }, across, up) => {
  const within = (a, b, way) => [a, b].map((end) => end + Math.min(Math.max(way, -a), 1 - b));
  const [left, right] = within(from / sound.duration, to / sound.duration, across);
  const [bottom, top] = within(...[low, high].map((hz) => Math.min(Math.max(picture.share(hz), 0), 1)), up);
  return boxBetween([left, bottom], [right, top]);
};

const boxBetween = ([left, bottom], [right, top]) => {
  const ends = (a, b) => [Math.min(a, b), Math.max(a, b)];
  const [from, to] = ends(left, right).map((share) => share * sound.duration);
  const [low, high] = ends(bottom, top).map((share) => Math.max(0, picture.hz(share)));
  return { from, to, low, high };
};

// A box over all frequencies from here to where Enter is pressed again.
export const markFromKeys = () => {
  if (!marks.on) return;
  if (marks.since === null) {
    marks.since = sound.position;
    return announce("The box begins at " + shownTime(marks.since, sound.duration) + " s: move on, and press Enter again.");
  }
  const [from, to] = [marks.since, sound.position].sort((a, b) => a - b);
  marks.since = null;
  if (to > from) addMark({ from, to, low: 0, high: state.shown.payload.clip.max_hz });
};

// `held`: the box that is being moved, and drawn where it is now.
export const drawMarks = (held = null) => {
  const area = find("marks");
  const seen = state.shown && (marks.on || isMarked(state.shown.method));
  area.hidden = !seen;
  if (!seen) find("get-boxes").hidden = true;
  find("unmark").hidden = !seen || !marks.boxes.length;
  if (!seen) return;
  find("get-boxes").hidden = !marks.boxes.length || !isMarked(state.shown.method);
  const still = marks.boxes.filter((box) => box !== held);
  const boxes = marks.drawn ? [...still, marks.drawn] : still;
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

export const listenToMarks = (canvas, shareAt) => {
  // Where the pointer went down, and the box that it took hold of, if any.
  let start = null;
  const wayTo = (share) => [0, 1].map((axis) => share[axis] - start.share[axis]);
  canvas.addEventListener("pointerdown", (event) => {
    if (!state.shown || !marks.on || event.button !== 0) return;
    const share = shareAt(event);
    start = { share, held: boxAt(share), x: event.clientX, y: event.clientY };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!start) return;
    const share = shareAt(event);
    marks.drawn = start.held ? moved(start.held, ...wayTo(share)) : boxBetween(start.share, share);
    drawMarks(start.held);
  });
  const end = (event) => {
    if (!start) return;
    const { held, x, y } = start;
    const box = marks.drawn;
    const ways = [event.clientX - x, event.clientY - y].map((way) => Math.abs(way) >= LEAST_PIXELS);
    const meant = box && event.type === "pointerup" && (held ? ways[0] || ways[1] : ways[0] && ways[1]);
    start = marks.drawn = null;
    if (!meant) return drawMarks();
    if (held) marks.boxes.splice(marks.boxes.indexOf(held), 1);
    addMark(box);
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  find("marking").addEventListener("click", () => mark(!marks.on));
  find("unmark").addEventListener("click", () => undoMark());
};
