// The player: one decision, any number of methods, three tracks. Text from people only ever becomes textContent.
const root = element.querySelector(".lz-player");
const find = (name) => root.querySelector(".lz-" + name);
const page = (window.lmaczs = window.lmaczs || {});
const REMEMBER = 16; // explanations kept in the browser, so that going back costs nothing
const PREFIX = "this is the sound of ";
const NAMES = { original: "Original", kept: "What counted", removed: "What was ignored" };

const kept = new Map(); // key -> loaded explanation
let shown = null; // the explanation on screen
let turn = 0; // every wish of the visitor is a turn; what comes late, for an older one, is dropped
let wanted = null; // method of the next request

const picture = new Picture(find("picture"), find("colourbar"));
const sound = new Sound(() => render());

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

// ---- loading

const keyOf = (clip, prompts, target, method) => JSON.stringify([clip, prompts, target, method]);

const readTrack = async (file) => {
  const answer = await fetch(file.url);
  if (!answer.ok) throw new Error("sound " + answer.status);
  return decodeWav(await answer.arrayBuffer());
};

const shared = new Map(); // clip id -> original sound and spectrogram, equal for all methods and prompts
const readClip = (clip) => {
  if (!shared.has(clip.id)) {
    if (shared.size > 3) shared.delete(shared.keys().next().value);
    const parts = Promise.all([readTrack(clip.original), readGrey(clip.spectrogram.url)]);
    parts.catch(() => shared.delete(clip.id));
    shared.set(clip.id, parts);
  }
  return shared.get(clip.id);
};

const keyOfPayload = ({ clip, prompts, target, method }) => keyOf(clip.id, prompts, target, method);

const loadOne = async (payload) => {
  const key = keyOfPayload(payload);
  const known = kept.get(key);
  if (known) {
    known.payload = { ...payload, probability: payload.probability || known.payload.probability };
    return known;
  }
  const [[original, level], mask, keptTrack, removedTrack] = await Promise.all([
    readClip(payload.clip),
    readGrey(payload.mask.url),
    readTrack(payload.kept),
    readTrack(payload.removed),
  ]);
  const found = { key, payload, level, mask, tracks: { original, kept: keptTrack, removed: removedTrack } };
  kept.set(key, found);
  while (kept.size > REMEMBER) kept.delete(kept.keys().next().value);
  return found;
};

const show = (found) => {
  const before = shown;
  shown = found;
  wanted = found.payload.method;
  if (before !== found) {
    const same = before && before.payload.clip.id === found.payload.clip.id;
    sound.load(found.tracks, same);
    picture.load(found.payload.clip, found.level, found.mask);
  }
  if (page.mark) page.mark(found.payload.target);
  root.dataset.ready = "yes";
  root.dataset.busy = "no";
  say("");
  fill();
  redraw();
};

const receive = async () => {
  const value = props.value;
  if (!value || value.turn !== turn) return;
  if (value.progress !== undefined) return report(value.progress, value.message);
  if (value.archive) return save(value.archive.url, fileName("explanation.zip"));
  try {
    const found = await Promise.all(value.show.map(loadOne));
    if (value.turn === turn) show(found[0]);
  } catch (error) {
    if (value.turn === turn) say("The explanation could not be loaded: press Classify to make it again.");
  }
};

const clear = () => {
  turn++;
  shown = null;
  sound.clear();
  picture.clear();
  root.dataset.ready = "empty";
  root.dataset.busy = "no";
  say("");
};

// ---- asking for more

const ask = (prompts, target, method) => {
  const clip = shown && shown.payload.clip.id;
  const name = method || wanted;
  const known = clip && kept.get(keyOf(clip, prompts, target, name));
  turn++;
  if (known && known.payload.probability) return show(known);
  busy("Explaining…");
  trigger("ask", { prompts, target, method: name, turn });
};

let pending = 0; // requests whose last answer has not come
const busy = (message) => {
  pending++;
  root.dataset.busy = "yes";
  say(message);
};
const idle = () => {
  pending = Math.max(0, pending - 1);
  if (pending) return;
  root.dataset.busy = "no";
  say("");
  // A request that failed leaves the old explanation: mark what is on screen again.
  if (shown) {
    if (page.mark) page.mark(shown.payload.target);
    fill();
  }
};
const say = (message) => {
  setText(find("status"), message);
};
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const report = (share, message) => {
  if (root.dataset.busy === "yes" && message) say(capital(message) + " · " + Math.round(100 * share) + " %");
};

// ---- writing

const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

const fill = () => {
  if (!shown) return;
  const { payload } = shown;
  const prompt = payload.prompts[payload.target];
  const title = find("target");
  title.replaceChildren();
  if (prompt.startsWith(PREFIX) && prompt.length > PREFIX.length) {
    const prefix = document.createElement("span");
    prefix.className = "lz-prefix";
    prefix.textContent = PREFIX;
    title.append(prefix, prompt.slice(PREFIX.length));
  } else {
    title.textContent = prompt;
  }
  const chips = Object.entries(payload.methods).map(([name, label]) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.dataset.method = name;
    chip.setAttribute("role", "radio");
    chip.setAttribute("aria-checked", String(name === payload.method));
    chip.tabIndex = name === payload.method ? 0 : -1;
    chip.title = "Key M goes to the next method";
    chip.textContent = label;
    chip.addEventListener("click", () => ask(payload.prompts, payload.target, name));
    return chip;
  });
  const focused = find("methods").contains(document.activeElement);
  find("methods").replaceChildren(...chips);
  if (focused) find("methods").querySelector("[aria-checked=true]").focus();
  const share = payload.probability;
  for (const button of find("tracks").children) {
    button.querySelector("b").textContent = share ? page.percent(share[button.dataset.track]) : "";
  }
  find("check").textContent = share
    ? "Percentages: how sure the classifier is of this prompt when it hears only that part."
    : "";
  for (const name of ["kept", "removed"]) {
    const link = find("get-" + name);
    link.href = payload[name].url;
    link.download = fileName(name === "kept" ? "what-counted.wav" : "what-was-ignored.wav");
  }
  setText(find("length"), shownTime(payload.clip.duration_s) + (payload.clip.duration_s < 60 ? " s" : ""));
  const canvas = find("canvas");
  canvas.setAttribute("aria-valuemax", payload.clip.duration_s.toFixed(2));
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

// ---- drawing

const niceStep = (length, most) => {
  const steps = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300];
  return steps.find((step) => length / step <= most) || 600;
};

const clock = (seconds, step) => {
  if (sound.duration < 60) return String(Number(seconds.toFixed(step < 1 ? 2 : 0)));
  const rest = Math.round(seconds % 60);
  return Math.floor(seconds / 60) + ":" + String(rest).padStart(2, "0");
};

const shownTime = (seconds) => {
  if (sound.duration < 60) return seconds.toFixed(2);
  const tenths = Math.floor(10 * seconds);
  return Math.floor(tenths / 600) + ":" + String(Math.floor(tenths / 10) % 60).padStart(2, "0") + "." + (tenths % 10);
};

const tick = (className, place, share, text) => {
  const node = document.createElement("span");
  node.className = className;
  node.style[place] = 100 * share + "%";
  node.textContent = text;
  return node;
};

const axes = () => {
  const { duration_s, max_hz } = shown.payload.clip;
  const canvas = find("canvas");
  const step = niceStep(duration_s, Math.max(3, canvas.clientWidth / 80));
  const seconds = [];
  for (let at = 0; at <= duration_s + 1e-6; at += step) {
    if (at / duration_s < 0.95) seconds.push(tick("lz-tick", "left", at / duration_s, clock(at, step)));
  }
  seconds.push(tick("lz-tick lz-unit", "left", 1, duration_s < 60 ? "s" : "min:s"));
  find("seconds").replaceChildren(...seconds);
  const hertz = [];
  let last = -1;
  for (const hz of [0, 50, 100, 200, 500, 1000, 2000, 3000, 4000, 5000, 6000, 8000, 12000, 16000, 20000]) {
    const share = picture.share(hz);
    if (hz > max_hz * 1.001 || share < -1e-6 || (share - last) * canvas.clientHeight < 20) continue;
    hertz.push(tick("lz-tick", "bottom", share, hz >= 1000 ? hz / 1000 + " k" : String(hz)));
    last = share;
  }
  hertz[hertz.length - 1].textContent += "Hz";
  find("hz").replaceChildren(...hertz);
};

const redraw = () => {
  picture.track = sound.active;
  picture.draw();
  if (shown) axes();
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
  if (picture.track !== sound.active) {
    picture.track = sound.active;
    picture.draw();
  }
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

const move = () => {
  const position = sound.position;
  const share = sound.duration ? position / sound.duration : 0;
  find("head-line").style.left = 100 * share + "%";
  setText(find("now"), shownTime(position));
  const canvas = find("canvas");
  canvas.setAttribute("aria-valuenow", position.toFixed(2));
  canvas.setAttribute("aria-valuetext", position.toFixed(1) + " seconds, " + NAMES[sound.active]);
};

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
const toggle = () => {
  if (sound.playing) return sound.pause();
  document.querySelector('#lz-sound button[aria-label="Pause"]')?.click(); // one sound at a time
  sound.play();
};
for (const button of find("tracks").children) {
  button.addEventListener("click", () => sound.choose(button.dataset.track));
}
find("loop").addEventListener("click", () => sound.loop(!sound.looping));
find("match").addEventListener("click", () => sound.match(!sound.matched));
find("colours").addEventListener("change", (event) => setLook({ colours: event.target.value }));
find("view").addEventListener("change", (event) => setLook({ view: event.target.value }));
find("scale").addEventListener("change", (event) => setLook({ scale: event.target.value }));
find("opacity").addEventListener("input", (event) => setLook({ opacity: event.target.value / 100 }));
find("get-all").addEventListener("click", () => {
  if (!shown) return;
  busy("Packing…");
  const { prompts, target, method } = shown.payload;
  trigger("archive", { prompts, target, method, turn });
});

const nextMethod = () => {
  const names = Object.keys(shown.payload.methods);
  const next = names[(names.indexOf(shown.payload.method) + 1) % names.length];
  ask(shown.payload.prompts, shown.payload.target, next);
};

const keys = {
  " ": () => toggle(),
  1: () => sound.choose("original"),
  2: () => sound.choose("kept"),
  3: () => sound.choose("removed"),
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
  const group = event.target.closest(".lz-tracks, .lz-methods");
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (!group || !step) return false;
  const choices = [...group.children];
  const next = choices[(choices.indexOf(event.target.closest("button")) + step + choices.length) % choices.length];
  next.focus();
  next.click();
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

page.ask = ask;
page.busy = () => {
  page.pressed = true;
  busy("Listening…");
  return ++turn;
};
page.idle = idle;
page.pause = () => sound.playing && sound.pause();
page.clear = () => {
  clear();
  for (const empty of page.empties || []) empty();
};
page.turn = () => turn;
root.state = () => ({
  playing: sound.playing,
  pos: sound.position,
  dur: sound.duration,
  active: sound.active,
  gains: sound.gains(),
  method: shown && shown.payload.method,
  prompt: shown && shown.payload.prompts[shown.payload.target],
  look: { ...picture.look },
});

root.samples = () =>
  Object.fromEntries(Object.entries(sound.tracks).map(([name, buffer]) => [name, buffer.getChannelData(0)]));

watch("value", receive);
receive();
render();
