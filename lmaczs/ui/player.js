// The player: one question, any number of methods, three tracks. Text from people only ever becomes textContent.
const root = element.querySelector(".lz-player");
const find = (name) => root.querySelector(".lz-" + name);
const page = (window.lmaczs = window.lmaczs || {});
const facts = props.facts;
const PREFIX = "this is the sound of ";
const NAMES = { original: "Original", kept: "What counted", removed: "What was ignored" };

const library = new Library();
let methods = {}; // domain -> key -> name for people
let closed = {}; // key -> prompts that the method knows, if it does not take any
let shown = null; // the explanation on screen
let question = null; // what the chips, the panels and the table are about
let wanted = null; // explanation to show when it comes: its key, "first" for whatever comes first, or null
let turn = 0; // every wish of the visitor is a turn; what comes late, for an older one, is not shown
let pending = 0; // requests whose last answer has not come
let work = null; // what is being done: { list: methods asked for, method, share }

const picture = new Picture(find("picture"), [find("colourbar")]);
const sound = new Sound(() => render(), (choice) => lanes.mix(choice));
const lanes = new Lanes(find, {
  choice: () => sound.active,
  changed: () => remix(),
  seek: (share) => sound.seek(share * sound.duration),
});
const compare = new Compare(
  { grid: find("grid"), bar: find("rampbar"), extent: find("extent") },
  picture.look,
  (method) => hear(method),
  (share) => sound.seek(share * sound.duration),
);
const faithfulness = new Faithfulness(find("numbers"), find("source"), facts);

// ---- what the visitor chose to look at, remembered in this browser only

const STORE = "lmaczs-look";
try {
  Object.assign(picture.look, JSON.parse(localStorage.getItem(STORE) || "{}"));
} catch {
  // private windows may refuse; the defaults do
}
if (!COLOURS[picture.look.colours]) picture.look.colours = "ember";
if (!SCALES[picture.look.scale]) picture.look.scale = "mel";
const setLook = (change) => {
  Object.assign(picture.look, change);
  try {
    localStorage.setItem(STORE, JSON.stringify(picture.look));
  } catch {
    // as above
  }
  redraw();
};

// ---- what comes from the server

// A value holds everything that its request has found so far, so it does not matter if one is passed over.
const receive = () => {
  const value = props.value;
  if (!value) return;
  if (value.methods) ({ methods, closed } = value);
  const records = (value.results || []).map((payload) => library.keep(payload));
  for (const payload of value.controls || []) library.keep(payload);
  if (value.turn === turn) {
    if (value.archive) return save(value.archive.url, fileName("explanation.zip"));
    const next = wanted === "first" ? records[0] : records.find(({ key }) => key === wanted);
    if (next && next !== shown) show(next);
  }
  refresh();
};

const show = async (record) => {
  wanted = record.key;
  const mine = turn;
  try {
    const parts = [library.picture(record), library.sound(record), library.gains(record)];
    const [{ level, mask }, tracks, gains] = await Promise.all(parts);
    if (turn !== mine || wanted !== record.key) return; // the visitor went on meanwhile
    const same = shown && shown.payload.clip.id === record.payload.clip.id;
    shown = record;
    question = record.question;
    lanes.load(record, mask, gains);
    sound.load(tracks, same);
    picture.load(record.payload.clip, level, mask);
    if (page.mark) page.mark(record.payload.target);
    root.dataset.ready = "yes";
    announce(label(record.method) + " explains " + record.payload.prompts[record.payload.target]);
    refresh();
    redraw();
  } catch {
    if (turn === mine) announce("The explanation could not be loaded: press Classify to make it again.", true);
  }
};

const report = (value) => {
  if (value.turn !== turn || !pending) return;
  if (!work) work = { list: [] };
  if (value.method && value.method !== work.method) announce("Explaining with " + label(value.method));
  Object.assign(work, { method: value.method, share: value.share, message: value.message });
  refresh();
};

const clear = () => {
  halt();
  shown = question = null;
  sound.clear();
  lanes.clear();
  picture.clear();
  root.dataset.ready = "empty";
  refresh();
  return turn;
};

// ---- asking for more

// Show an explanation of a question, or ask for it.
const wish = (next, method) => {
  const known = library.find(next, method);
  const same = sameQuestion(next, question);
  if (!known || !known.payload.metrics) {
    const queue = same && pending && work && work.list.length > 1 ? missing().filter((name) => work.list.includes(name)) : [];
    return request(next, [method, ...queue.filter((name) => name !== method)], questionKey(next) + method);
  }
  if (!same) halt();
  question = next;
  return show(known);
};

// Explain a question with a list of methods; `display` says which one to show, as `wanted` does.
const request = (next, list, display) => {
  newTurn();
  question = next;
  wanted = display;
  work = { list, method: list[0], share: 0, message: "" };
  began();
  const { domain, prompts, target } = next;
  trigger("ask", { prompts, target, methods: list, domain, turn });
};

// [key, name for people] of the methods that can explain the question's prompt.
const offered = () =>
  Object.entries(methods[question?.domain] || {}).filter(
    ([name]) => !closed[name] || closed[name].includes(question.prompts[question.target]),
  );

const missing = () => {
  if (!question) return [];
  const names = [...offered().map(([name]) => name), ...Object.keys(facts.controls)];
  return names.filter((name) => !library.find(question, name)?.payload.metrics);
};

const askAll = () => {
  const list = missing();
  // The controls take a moment only, and without them the first numbers cannot be read.
  const quick = list.filter((name) => facts.controls[name]);
  if (list.length) request(question, [...quick, ...list.filter((name) => !facts.controls[name])], null);
};

// Hear what counted for a method, from where the playhead is.
const hear = async (method) => {
  if (!question) return;
  choose("kept");
  await wish(question, method);
  if (shown && shown.method === method) play();
};

// Everything before this turn is void, also on the server.
const newTurn = () => {
  turn++;
  if (pending) trigger("halt", { turn });
};
const began = () => {
  pending++;
  root.dataset.busy = "yes";
  refresh();
};
const halt = () => {
  newTurn();
  wanted = work = null;
  root.dataset.busy = "no";
};
const stop = () => {
  halt();
  settle();
  announce("Stopped. What was finished is still here.");
};
// Nothing more will come: what is on screen is what the page is about.
const settle = () => {
  work = null;
  root.dataset.busy = "no";
  if (shown) {
    question = shown.question;
    if (page.mark) page.mark(shown.payload.target);
  }
  refresh();
};
const idle = () => {
  pending = Math.max(0, pending - 1);
  if (!pending) settle();
};

// ---- writing

const announce = (message, seen) => {
  setText(find("live"), message);
  find("live").classList.toggle("lz-seen", Boolean(seen));
};
const label = (method) => methods[question?.domain || "stft"]?.[method] || facts.controls[method] || method;

// What is known about each method of the question.
const rows = () =>
  offered().map(([method, name]) => {
    const record = library.find(question, method);
    const running = pending > 0 && work && !record?.payload.metrics;
    const state = record ? "ready" : running && work.method === method ? "running" : running && work.list.includes(method) ? "waiting" : "none";
    return { method, label: name, state, record };
  });

const NOTES = { running: "running", waiting: "waiting", none: "not run yet" };
const noteOf = ({ state, record }) => {
  if (state === "running") return Math.round(100 * work.share) + " %";
  if (!record) return NOTES[state];
  const { metrics } = record.payload;
  return metrics ? "keeps " + page.percent(metrics.mm) : "checking";
};

const refresh = () => {
  const found = rows();
  const chosen = shown && sameQuestion(shown.question, question) ? shown.method : null;
  fillChips(found, chosen);
  compare.fill(found.map((row) => ({ ...row, note: noteOf(row) })), chosen, library);
  const controls = Object.entries(facts.controls).map(([method, name]) => ({ method, label: name, control: true }));
  faithfulness.fill(
    [...found, ...controls].map((row) => ({ ...row, note: NOTES[row.state], payload: library.find(question, row.method)?.payload })),
    question?.domain,
  );
  const replaced = root.dataset.busy === "yes" && wanted === "first";
  root.dataset.stale = shown && (replaced || !sameQuestion(shown.question, question)) ? "yes" : "no";
  fillWork();
  if (shown) fill();
};

const fillWork = () => {
  const busy = root.dataset.busy === "yes";
  const left = missing().filter((name) => !facts.controls[name]).length;
  const percent = " · " + Math.round(100 * (work?.share || 0)) + " %";
  let text = capital(work?.message || "listening") + (work?.share ? percent : "…");
  // Which method it is, its chip shows.
  if (work?.method) text = (work.list.length > 1 ? work.list.indexOf(work.method) + 1 + " of " + work.list.length : "Explaining") + percent;
  setText(find("status"), busy ? text : "");
  find("stop").hidden = !busy;
  find("all").hidden = busy || !left || root.dataset.ready === "empty";
  setText(find("all"), "Run all methods");
};
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const fillChips = (found, chosen) => {
  const group = find("methods");
  const names = JSON.stringify(found.map(({ method, label }) => [method, label]));
  if (group.dataset.names !== names) {
    group.dataset.names = names;
    group.replaceChildren(
      ...found.map((row) => {
        const chip = document.createElement("button");
        chip.type = "button";
        chip.dataset.method = row.method;
        chip.setAttribute("role", "radio");
        chip.textContent = row.label;
        chip.addEventListener("click", () => wish(question, row.method));
        return chip;
      }),
    );
  }
  const focus = group.contains(document.activeElement) && document.activeElement.dataset.method;
  const stop = focus || chosen || found[0]?.method; // where Tab enters the group
  for (const row of found) {
    const chip = group.querySelector(`[data-method="${row.method}"]`);
    chip.setAttribute("aria-checked", String(row.method === chosen));
    chip.tabIndex = row.method === stop ? 0 : -1;
    chip.dataset.state = row.state;
    chip.style.setProperty("--share", row.state === "running" ? work.share : 0);
    const note = NOTES[row.state];
    if (note) chip.setAttribute("aria-label", row.label + ", " + note);
    else chip.removeAttribute("aria-label");
    chip.title = note ? capital(note) : "Key M goes to the next method";
  }
};

const fill = () => {
  const { payload } = shown;
  const prompt = payload.prompts[payload.target];
  const title = find("target");
  if (title.textContent !== prompt) {
    title.replaceChildren();
    if (prompt.startsWith(PREFIX) && prompt.length > PREFIX.length) {
      const prefix = document.createElement("span");
      prefix.className = "lz-prefix";
      prefix.textContent = PREFIX;
      title.append(prefix, prompt.slice(PREFIX.length));
    } else {
      title.textContent = prompt;
    }
  }
  const share = payload.probability;
  for (const button of find("tracks").children) {
    const { track } = button.dataset;
    setText(button.querySelector("b"), share && (lanes.asMeasured || track === "original") ? page.percent(share[track]) : "");
  }
  const where = lanes.asMeasured ? "" : " It was asked with the threshold at " + payload.lanes.threshold.toFixed(2) + ".";
  const check = "Percentages: how sure the classifier is of this prompt when it hears only that part." + where;
  setText(find("check"), share ? check : "");
  for (const name of ["kept", "removed"]) {
    const link = find("get-" + name);
    link.href = payload[name].url;
    link.download = fileName(name === "kept" ? "what-counted.wav" : "what-was-ignored.wav");
  }
  const seconds = payload.clip.duration_s;
  setText(find("length"), shownTime(seconds, seconds) + (seconds < 60 ? " s" : ""));
  find("canvas").setAttribute("aria-valuemax", seconds.toFixed(2));
  const domains = Object.keys(methods).filter((domain) => Object.keys(methods[domain]).length);
  find("domain").parentElement.hidden = domains.length < 2;
  find("domain").value = question.domain;
};

const fileName = (ending) => (shown ? shown.payload.clip.name + "-" : "") + ending;

const save = (url, name) => {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
};

const saveMix = (mix, name) => {
  const url = URL.createObjectURL(encodeWav(sound.mixdown(mix), sound.tracks.original.sampleRate));
  save(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser has read it by then
};

// ---- drawing

// The picture of what is heard now.
const paint = () => {
  if (shown) {
    const { mask, track } = lanes.picture();
    picture.setMask(mask);
    picture.track = track;
  }
  picture.draw();
};

// Another part is heard: the sound, the picture and what is said follow.
const remix = () => {
  sound.fade();
  paint();
  if (shown) fill();
};

const choose = (track) => {
  sound.choose(track);
  lanes.choose();
  remix();
};

const redraw = () => {
  paint();
  if (shown) lanes.scale((hz) => picture.share(hz), shown.payload.clip.max_hz);
  compare.draw();
  if (shown && find("canvas").clientWidth) drawAxes(picture, find("hz"), find("seconds"), [80, 20]);
  find("colours").value = picture.look.colours;
  find("opacity").value = Math.round(100 * picture.look.opacity);
  find("view").value = picture.look.view;
  find("scale").value = picture.look.scale;
  render();
};

const render = () => {
  const playing = sound.playing;
  const play = find("play");
  play.classList.toggle("lz-playing", playing);
  play.setAttribute("aria-label", playing ? "Pause" : "Play");
  for (const button of find("tracks").children) {
    const chosen = button.dataset.track === sound.active;
    button.setAttribute("aria-checked", String(chosen));
    button.tabIndex = chosen ? 0 : -1;
    if (chosen && find("tracks").contains(document.activeElement)) button.focus();
  }
  find("loop").setAttribute("aria-pressed", String(sound.looping));
  find("match").setAttribute("aria-pressed", String(sound.matched));
  root.dataset.track = sound.active;
  root.dataset.playing = playing ? "yes" : "no";
  move();
  if (playing && !render.running) {
    render.running = true;
    requestAnimationFrame(frame);
  }
};

const frame = () => {
  move();
  render.running = sound.playing;
  if (render.running) requestAnimationFrame(frame);
};

// One playhead: every line on the page stands where this says.
const move = () => {
  const position = sound.position;
  root.style.setProperty("--head", sound.duration ? position / sound.duration : 0);
  setText(find("now"), shownTime(position, sound.duration));
  const canvas = find("canvas");
  canvas.setAttribute("aria-valuenow", position.toFixed(2));
  canvas.setAttribute("aria-valuetext", position.toFixed(1) + " seconds, " + NAMES[sound.active]);
};

// ---- views

const tabs = [...find("tabs").children];
const openTab = (name) => {
  root.dataset.tab = name;
  for (const tab of tabs) {
    const open = tab.dataset.tab === name;
    tab.setAttribute("aria-selected", String(open));
    tab.tabIndex = open ? 0 : -1;
  }
  redraw();
};
for (const tab of tabs) tab.addEventListener("click", () => openTab(tab.dataset.tab));

// ---- hands

const canvas = find("canvas");
const shareAt = (event) => {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height].map((share) =>
    Math.min(Math.max(share, 0), 1),
  );
};
canvas.addEventListener("pointerdown", (event) => {
  if (shown && event.button === 0) sound.seek(shareAt(event)[0] * sound.duration);
});
canvas.addEventListener("pointermove", (event) => {
  if (!shown) return;
  const [across, up] = shareAt(event);
  const { time, hz, db, mask } = picture.read(across, up);
  const pitch = hz >= 1000 ? (hz / 1000).toFixed(2) + " kHz" : Math.round(hz) + " Hz";
  const level = db <= shown.payload.clip.floor_db + 0.2 ? "below " + shown.payload.clip.floor_db : db.toFixed(0);
  find("readout").textContent =
    time.toFixed(2) + " s  ·  " + pitch + "  ·  " + level.replace("-", "−") + " dB  ·  mask " + mask.toFixed(2);
  find("cross-x").style.left = 100 * across + "%";
  find("cross-y").style.bottom = 100 * up + "%";
  find("cross-x").hidden = find("cross-y").hidden = event.pointerType === "touch";
});
canvas.addEventListener("pointerleave", () => {
  find("cross-x").hidden = find("cross-y").hidden = true;
  find("readout").textContent = "";
});

find("play").addEventListener("click", () => toggle());
const toggle = () => (sound.playing ? sound.pause() : play());
const play = () => {
  document.querySelector('#lz-sound button[aria-label="Pause"]')?.click(); // one sound at a time
  sound.play();
};
for (const button of find("tracks").children) {
  button.addEventListener("click", () => choose(button.dataset.track));
}
// What the page mixed itself is not on the server.
for (const name of ["kept", "removed"]) {
  find("get-" + name).addEventListener("click", (event) => {
    if (lanes.asMeasured) return;
    event.preventDefault();
    saveMix(lanes.mix(name, true), event.currentTarget.download);
  });
}
find("mix-save").addEventListener("click", () => saveMix(lanes.mix(sound.active), fileName("what-you-hear.wav")));
find("loop").addEventListener("click", () => sound.loop(!sound.looping));
find("match").addEventListener("click", () => sound.match(!sound.matched));
find("colours").addEventListener("change", (event) => setLook({ colours: event.target.value }));
find("view").addEventListener("change", (event) => setLook({ view: event.target.value }));
find("scale").addEventListener("change", (event) => setLook({ scale: event.target.value }));
find("opacity").addEventListener("input", (event) => setLook({ opacity: event.target.value / 100 }));
find("domain").addEventListener("change", (event) => {
  const domain = event.target.value;
  const method = methods[domain][shown.method] ? shown.method : Object.keys(methods[domain])[0];
  wish({ ...question, domain }, method);
});
find("all").addEventListener("click", () => askAll());
find("stop").addEventListener("click", () => stop());
find("get-all").addEventListener("click", () => {
  if (!shown) return;
  work ||= { list: [], message: "packing", share: 0 }; // what runs goes on
  began();
  const { prompts, target, method, domain } = shown.payload;
  trigger("archive", { prompts, target, method, domain, turn });
});

// The next one that is there already: a key press starts no long work.
const nextMethod = () => {
  const ready = rows().filter(({ record }) => record);
  const next = ready[(ready.findIndex(({ method }) => method === shown.method) + 1) % ready.length];
  if (next) wish(question, next.method);
};

const keys = {
  " ": () => toggle(),
  1: () => choose("original"),
  2: () => choose("kept"),
  3: () => choose("removed"),
  ArrowLeft: (event) => sound.seek(sound.position - (event.shiftKey ? 0.1 : 1)),
  ArrowRight: (event) => sound.seek(sound.position + (event.shiftKey ? 0.1 : 1)),
  Home: () => sound.seek(0),
  End: () => sound.seek(sound.duration),
  m: () => nextMethod(),
  l: () => sound.loop(!sound.looping),
  e: () => sound.match(!sound.matched),
};

// Arrow keys inside a group of choices move between the choices, as they do in every radio group.
const inGroup = (event) => {
  const group = event.target.closest(".lz-tracks, .lz-methods, .lz-tabs");
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (!group || !step) return false;
  const choices = [...group.children];
  const next = choices[(choices.indexOf(event.target.closest("button")) + step + choices.length) % choices.length];
  next.focus();
  if (!next.dataset.state || next.dataset.state === "ready") next.click(); // long work starts at a press only
  else refresh();
  return true;
};

document.addEventListener("keydown", (event) => {
  if (!shown || !root.isConnected || event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  const free = target === document.body || target === document.documentElement;
  if (!free && !root.contains(target)) return;
  if (target.matches("input, select, textarea")) return;
  if (event.key === " " && target.matches("button, a")) return; // Space presses the focused button
  if (inGroup(event)) return event.preventDefault();
  const action = keys[event.key] || keys[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action(event);
});

new ResizeObserver(() => shown && redraw()).observe(canvas);

// ---- what the rest of the page and the tests may use

page.ask = (prompts, target) => {
  if (shown) return wish({ ...question, prompts, target }, shown.method);
  return request({ clip: null, domain: "stft", prompts, target }, [null], "first"); // the first answer names the recording
};
page.analyse = () => {
  page.pressed = true;
  newTurn();
  wanted = "first";
  work = null;
  began();
  return turn;
};
page.report = report;
page.idle = idle;
page.failed = () => {
  idle();
  announce("Something went wrong on the server: try it again.", true);
};
page.pause = () => sound.playing && sound.pause();
page.clear = () => {
  clear();
  for (const empty of page.empties || []) empty();
  return turn;
};
page.turn = () => turn;
root.state = () => ({
  playing: sound.playing,
  pos: sound.position,
  dur: sound.duration,
  active: sound.active,
  gains: sound.gains(),
  tab: root.dataset.tab,
  domain: question && question.domain,
  method: shown && shown.method,
  prompt: shown && shown.payload.prompts[shown.payload.target],
  methods: Object.fromEntries(rows().map(({ method, state }) => [method, state])),
  metrics: Object.fromEntries(
    [...rows(), ...Object.keys(facts.controls).map((method) => ({ method }))]
      .map(({ method }) => [method, library.find(question, method)?.payload.metrics])
      .filter(([, metrics]) => metrics),
  ),
  look: { ...picture.look },
});

root.samples = () =>
  Object.fromEntries(Object.entries(sound.tracks).map(([name, buffer]) => [name, buffer.getChannelData(0)]));

watch("value", receive);
openTab("explain");
if (props.value) wanted = "first"; // the stored example
receive();
render();
