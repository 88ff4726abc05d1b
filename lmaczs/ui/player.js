// The player: one question, any number of methods, three tracks. This file, joined last, holds the state and starts; the
// files before it only define. Text from people only ever becomes textContent.
const root = element.querySelector(".lz-player");
const find = (name) => root.querySelector(".lz-" + name);
const facts = props.facts;
const PREFIX = "this is the sound of ";
const BLANK = find("blank-words").textContent;
const NAMES = { original: "Original", kept: "What counted", removed: "What was ignored" };

const library = new Library();
// Domain -> key -> name for people.
let methods = {};
// Key -> prompts that the method knows, if it does not take any.
let closed = {};
// The explanation on screen.
let shown = null;
// What the chips, the panels and the table are about.
let question = null;
// Explanation to show when it comes: its key, "first" for whatever comes first, or null.
let wanted = null;
// Every request of the visitor is a turn; what comes late, for an older one, is not shown.
let turn = 0;
// Requests whose last answer has not come.
let pending = 0;
// The explanation whose pictures and sounds are being fetched, to be shown.
let arriving = null;
// What is being done: { list: methods asked for, method, share }
let work = null;

// Share of the cells that every method is cut to, in percent; null: masks as they come.
let area = null;
// Questions whose methods beside each other were asked for, or are not to be.
const asked = new Set();

const picture = new Picture(find("picture"), [find("colourbar")]);
const sound = new Sound(() => render(), (choice) => lanes.mix(choice));
const lanes = new Lanes(find, {
  choice: () => sound.active,
  changed: () => remix(),
  seek: (share) => sound.seek(share * sound.duration),
});
const seekTo = (share) => sound.seek(share * sound.duration);
const compare = new Compare(
  { grid: find("grid"), bar: find("rampbar"), extent: find("extent") },
  picture.look,
  (method) => hear(method),
  seekTo,
  sayOf,
);
const beside = new Compare({ grid: find("cards"), name: "lz-card" }, picture.look, (method) => hear(method), seekTo, sayOf);
const blind = new Blind(find, facts.blind, {
  label: (method) => label(method),
  begins: () => sound.playing && sound.pause(),
  keep: (rated) => trigger("rate", { listener: listener(), ...rated }),
});
const trust = new Trust(find("trust"), facts.limits);
const strip = new Strip(find("strip-lines"), find("strip-words"));
const faithfulness = new Faithfulness(find("numbers"), find("source"), facts);

// A value holds everything that its request has found so far, so it does not matter if one is passed over.
const receive = () => {
  const value = props.value;
  if (!value) return;
  if (value.methods) ({ methods, closed } = value);
  const records = (value.results || []).map((payload) => library.keep(payload));
  for (const payload of value.controls || []) library.keep(payload);
  if (value.over_time) strip.keep(value.over_time);
  if (value.turn === turn) {
    if (value.archive) return save(value.archive.url, fileName("explanation.zip"));
    const next = wanted === "first" ? records[0] : records.find(({ key }) => key === wanted);
    if (next && (next !== shown || stageOf(next) !== next.stage)) show(next);
  }
  refresh();
};

// `back`: it is returned to, and is in the history already.
const show = async (record, back = false) => {
  wanted = record.key;
  arriving = record;
  const mine = turn;
  const stage = stageOf(record);
  try {
    const parts = [library.picture(record), library.sound(record), library.gains(record)];
    const [{ level, mask }, tracks, gains] = await Promise.all(parts);
    // The visitor may have gone on meanwhile.
    if (turn !== mine || wanted !== record.key) return arrived(record);
    const grows = record === shown && !back;
    // What has more parts may have been fetched sooner.
    if (grows && stage < record.stage) return arrived(record);
    const same = shown && shown.payload.clip.id === record.payload.clip.id;
    // Boxes belong to a sound; those of a state that is returned to are there already.
    if (!same && !back) forgetMarks();
    shown = record;
    record.stage = stage;
    question = record.question;
    lanes.load(record, mask, gains);
    sound.load(tracks, same);
    tellGaps();
    if (grows && partial(record)) {
      // The same picture under another mask, which is drawn by what follows.
      refresh();
      redraw();
      return arrived(record);
    }
    picture.load(record.payload.clip, level, mask);
    overlay.key = null;
    page.mark?.(record.payload.target);
    root.dataset.ready = "yes";
    if (!same) forgetSpan();
    const { prompts, target, evidence, verdict } = record.payload;
    announce(label(record.method) + " explains " + prompts[target] + (evidence === "absent" ? ". " + verdict.words : ""));
    refresh();
    redraw();
    if (followAddress()) return arrived(record);
    if (!back) remember(record);
    writeAddress();
    arrived(record);
    if (!pending) askMore();
  } catch {
    arrived(record);
    if (turn === mine) announce("The explanation could not be loaded: press its prompt to make it again.", true);
  }
};

// The last answer of a request may have come before what it brought could be shown.
const arrived = (record) => {
  if (arriving !== record) return;
  arriving = null;
  if (!pending && root.dataset.busy === "yes") settle();
};

const clear = () => {
  halt();
  shown = question = area = null;
  tellArea();
  tellGaps();
  forgetMarks();
  sound.clear();
  lanes.clear();
  picture.clear();
  root.dataset.ready = "empty";
  tellPast();
  refresh();
  return turn;
};

// The sound stays, and so do its prompts' rows; what was found about another sound goes. Undo brings it back.
const emptyStage = () => {
  clear();
  page.redraw?.(null);
};
// Gradio answers whatever began: this is what has nothing to do.
const passOver = () => {
  pending++;
  return -1;
};

publish({
  ask: (prompts, target) => {
    page.say?.("");
    if (shown) {
      // A method with a closed set has nothing to say to other prompts: the default one answers then.
      const fits = closed[baseOf(shown.method)]?.includes(prompts[target]) ?? true;
      const method = fits ? shown.method : keyed(Object.keys(methods[question.domain])[0]);
      return askFor({ ...question, prompts, target }, method);
    }
    // The first answer names the recording.
    return request({ clip: null, domain: "stft", prompts, target }, [null], "first");
  },
  analyse: (recording, typed) => {
    const other = recording?.path !== past.came?.[0]?.path;
    past.came = [recording, typed];
    page.named?.(recording?.orig_name);
    if (!recording || !typed.trim()) {
      // What is on screen is not about this sound.
      if (recording && other) emptyStage();
      return passOver();
    }
    page.pressed = true;
    page.say?.("");
    area = null;
    tellArea();
    newTurn();
    wanted = "first";
    work = null;
    began();
    return turn;
  },
  asked: () => past.came?.[1],
  coming: () => {
    if (sound.playing) sound.pause();
    newTurn();
    wanted = "first";
    work = null;
    leaveExample();
    root.dataset.busy = "yes";
    refresh();
  },
  report,
  idle,
  offer: (offered, recording, typed) => {
    // Of the stored example, unless the visitor was quicker.
    past.came ||= [recording, typed];
    page.named?.(past.came[0]?.orig_name);
    page.typed?.(past.came[1]);
    for (const state of past.states.values()) state.came ||= past.came;
    if (Object.keys(offered.methods).length) ({ methods, closed } = offered);
    refresh();
    openAddress();
    // The stored example comes with the default method only.
    if (!pending) askMore();
  },
  failed: () => {
    idle();
    announce("Something went wrong on the server: try it again.", true);
  },
  refused: (message, ofSound) => {
    setText(find("blank-words"), message || BLANK);
    const state = past.states.get(past.at);
    if (!message || !shown || !state?.came) return;
    if (ofSound) keepSound(state);
    else if (past.came[0]?.path !== state.came[0]?.path) emptyStage();
  },
  former: () => past.coming,
  forget: () => forgetPast(),
  pause: () => sound.playing && sound.pause(),
  rated: (kept) => blind.say(find("blind-told").textContent + (kept ? " Your ratings are kept." : " Your ratings could not be kept.")),
  clear: () => {
    clear();
    leaveExample();
    for (const empty of page.emptied) empty();
    return turn;
  },
  turn: () => turn,
});
atTheEnd(() => sound.release());
atTheEnd(() => blind.sound.release());

// For the tests.
root.state = () => ({
  playing: sound.playing,
  pos: sound.position,
  dur: sound.duration,
  active: sound.active,
  turn,
  pending,
  gains: sound.gains(),
  tab: root.dataset.tab,
  domain: question && question.domain,
  method: shown && shown.method,
  prompt: shown && shown.payload.prompts[shown.payload.target],
  methods: Object.fromEntries(rows().map(({ method, state }) => [method, state])),
  metrics: Object.fromEntries(
    [...rows(), ...controls().map(([method]) => ({ method }))]
      .map(({ method }) => [method, library.find(question, method)?.payload.metrics])
      .filter(([, metrics]) => metrics),
  ),
  look: { ...picture.look },
  boxes: marks.boxes.length,
  layers: picture.layers?.map(({ name }) => name) ?? null,
  zoom: span.zoom,
  region: sound.region,
  blind: blind.pair && blind.pair.map(({ method, value }) => ({ method, value })),
  area,
  verdict: shown && shown.payload.verdict,
});

root.samples = () =>
  Object.fromEntries(Object.entries(sound.tracks).map(([name, buffer]) => [name, buffer.getChannelData(0)]));

// Loudness of what a blind comparison plays, by name.
root.blindSound = () =>
  Object.fromEntries(
    Object.keys(blind.sound.tracks).map((name) => {
      const { rms, peak } = blind.sound.level({ [name]: 1 });
      const factor = blind.sound.factor({ [name]: 1 });
      return [name, { rms: factor * rms, peak: factor * peak }];
    }),
  );

watch("value", receive);
recallLook();
listen();
listenToExamples();
listenToHistory();
openTab("explain");
tellArea();
// The stored example.
if (props.value) {
  wanted = "first";
  address.example = 1;
}
receive();
render();
