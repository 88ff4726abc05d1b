// What the visitor does with pointer and keys.
import { gone, whenResized } from "../bus.js";
import { keyed, setArea, tellArea } from "./beside.js";
import { listenToMarks, mark, markFromKeys, marks, saveMarks } from "./marks.js";
import { baseOf } from "./method_key.js";
import { overlay, setOverlay } from "./overlay.js";
import { askAll, askFor, askForArchive, askForReport, stop } from "./requests.js";
import { savePicture } from "./snapshot.js";
import { ZOOM_STEP, listenToSpan, loopPart, span, zoomTo } from "./span.js";
import { blind, lanes, picture, sound } from "./stage.js";
import { facts, find, root, state } from "./state.js";
import { numbersAsCsv } from "./trust.js";
import { choose, openTab, redraw, setLook } from "./view.js";
import { fileName, judged, refresh, rows, saveBlob, saveMix, saveTrack } from "./words.js";

const toggle = () => (sound.playing ? sound.pause() : play());
export const play = () => {
  // One sound at a time.
  blind.sound.pause();
  sound.play();
};

export const listen = () => {
  listenToPicture(find("canvas"));
  listenToButtons();
  listenToSpan();
  for (const tab of find("tabs").children) tab.addEventListener("click", () => openTab(tab.dataset.tab));
  document.addEventListener("keydown", pressKey, { signal: gone });
};

const listenToPicture = (canvas) => {
  const shareAt = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height].map((share) =>
      Math.min(Math.max(share, 0), 1),
    );
  };
  canvas.addEventListener("pointermove", (event) => {
    if (!state.shown) return;
    const [across, up] = shareAt(event);
    find("readout").textContent = readout(picture.read(across, up));
    find("cross-x").style.left = 100 * across + "%";
    find("cross-y").style.bottom = 100 * up + "%";
    find("cross-x").hidden = find("cross-y").hidden = event.pointerType === "touch";
  });
  canvas.addEventListener("pointerleave", () => {
    find("cross-x").hidden = find("cross-y").hidden = true;
    find("readout").textContent = "";
  });
  listenToMarks(canvas, shareAt);
  whenResized(canvas, () => state.shown && redraw());
};

const readout = ({ time, hz, db, mask }) => {
  const pitch = hz >= 1000 ? (hz / 1000).toFixed(2) + " kHz" : Math.round(hz) + " Hz";
  const level = db <= state.shown.payload.clip.floor_db + 0.2 ? "below " + state.shown.payload.clip.floor_db : db.toFixed(0);
  return time.toFixed(2) + " s  ·  " + pitch + "  ·  " + level.replace("-", "−") + " dB  ·  mask " + mask.toFixed(2);
};

const listenToButtons = () => {
  find("to-prompts").addEventListener("click", () => document.querySelector("#lz-rail").scrollIntoView());
  find("play").addEventListener("click", () => toggle());
  for (const button of find("tracks").children) {
    button.addEventListener("click", () => choose(button.dataset.track));
  }
  for (const name of ["kept", "removed"]) find("get-" + name).addEventListener("click", () => saveTrack(name));
  find("mix-save").addEventListener("click", () => saveMix(lanes.mix(sound.active), fileName("what-you-hear.wav")));
  find("loop").addEventListener("click", () => sound.loop(!sound.looping));
  find("overlay").addEventListener("click", () => setOverlay(!overlay.on));
  find("match").addEventListener("click", () => sound.match(!sound.matched));
  find("colours").addEventListener("change", (event) => setLook({ colours: event.target.value }));
  find("view").addEventListener("change", (event) => setLook({ view: event.target.value }));
  find("scale").addEventListener("change", (event) => setLook({ scale: event.target.value }));
  find("opacity").addEventListener("input", (event) => setLook({ opacity: event.target.value / 100 }));
  find("range").addEventListener("input", (event) => setLook({ range: event.target.valueAsNumber }));
  find("brightness").addEventListener("input", (event) => setLook({ brightness: event.target.valueAsNumber }));
  find("domain").addEventListener("change", (event) => {
    const domain = event.target.value;
    const base = baseOf(state.shown.method);
    askFor({ ...state.question, domain }, keyed(state.methods[domain][base] ? base : Object.keys(state.methods[domain])[0]));
  });
  // Not while it moves: every place would be asked about.
  find("area").addEventListener("change", (event) => setArea(Number(event.target.value)));
  find("area").addEventListener("input", (event) => tellArea(Number(event.target.value)));
  find("get-csv").addEventListener("click", () => {
    saveBlob(new Blob([numbersAsCsv(judged(), facts.columns)], { type: "text/csv" }), fileName("numbers.csv"));
  });
  find("get-boxes").addEventListener("click", () => saveMarks());
  find("all").addEventListener("click", () => askAll());
  find("stop").addEventListener("click", () => stop());
  find("better").addEventListener("click", () => askFor(state.question, find("better").dataset.method));
  find("get-all").addEventListener("click", () => state.shown && askForArchive());
  find("get-report").addEventListener("click", () => state.shown && askForReport());
  find("get-picture").addEventListener("click", () => state.shown && savePicture());
};

// The next one that is there already: a key press starts no long work.
const nextMethod = () => {
  const ready = rows().filter(({ record }) => record);
  const next = ready[(ready.findIndex(({ method }) => method === state.shown.method) + 1) % ready.length];
  if (next) askFor(state.question, next.method);
};

const KEYS = {
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
  "[": () => loopPart([sound.position, sound.region ? sound.region[1] : sound.duration]),
  "]": () => loopPart([sound.region ? sound.region[0] : 0, sound.position]),
  "+": () => zoomTo(span.zoom * ZOOM_STEP),
  "-": () => zoomTo(span.zoom / ZOOM_STEP),
  e: () => sound.match(!sound.matched),
  p: () => setOverlay(!overlay.on),
  b: () => mark(!marks.on),
  Enter: () => markFromKeys(),
  Escape: () => mark(false),
};

// Arrow keys inside a group of choices move between the choices, as they do in every radio group.
const inGroup = (event) => {
  const group = event.target.closest(".lz-tracks, .lz-methods, .lz-tabs");
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (!group || !step) return false;
  const choices = [...group.children];
  const next = choices[(choices.indexOf(event.target.closest("button")) + step + choices.length) % choices.length];
  next.focus();
  // Long work starts at a press only.
  if (!next.dataset.state || next.dataset.state === "ready") next.click();
  else refresh();
  return true;
};

const pressKey = (event) => {
  if (!state.shown || event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  // Who has just pressed an example goes on with keys.
  const free = target === document.body || target === document.documentElement || target.closest("#lz-tries");
  if (!free && !root.contains(target)) return;
  if (target.matches("input, select, textarea")) return;
  // Space and Enter press the focused button.
  if ([" ", "Enter"].includes(event.key) && target.matches("button, a")) return;
  if (inGroup(event)) return event.preventDefault();
  const action = KEYS[event.key] || KEYS[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action(event);
};
