// Everything that the player writes: title, chips, percentages, progress.
import { page } from "../bus.js";
import { PREFIX, percent } from "../prompts.js";
import { encodeWav } from "../wav.js";
import { shownTime } from "./axes.js";
import { trio } from "./beside.js";
import { sayParts } from "./gaps.js";
import { sameQuestion } from "./library.js";
import { baseOf, isMarked } from "./method_key.js";
import { capital, setText } from "./nodes.js";
import { overlay, sayOverlay, tellOverlay } from "./overlay.js";
import { complete, partial } from "./parts.js";
import { askFor, controls, missing, offered } from "./requests.js";
import { beside, blind, compare, faithfulness, lanes, sound, strip, trust } from "./stage.js";
import { NAMES, facts, find, library, root, state } from "./state.js";

export const announce = (message, seen) => {
  setText(find("live"), message);
  find("live").classList.toggle("lz-seen", Boolean(seen));
};
export const label = (method) => {
  if (isMarked(method)) return "What you marked";
  const base = baseOf(method);
  const name = state.methods[state.question?.domain || "stft"]?.[base] || facts.controls[base] || base;
  return base === method ? name : name + ", the strongest " + method.slice(base.length + 1) + " %";
};
// What a track is, of an explanation or of boxes.
const MARKED = { kept: "Only this", removed: "Without this" };
export const trackName = (track) => (isMarked(state.shown?.method) && MARKED[track]) || NAMES[track];

// What is known about each method of the question.
export const rows = () =>
  offered().map(([method, name]) => {
    const record = complete(library.find(state.question, method));
    const running = state.pending > 0 && state.work && !record?.payload.metrics;
    const progress = record ? "ready" : running && state.work.method === method ? "running" : running && state.work.list.includes(method) ? "waiting" : "none";
    return { method, label: name, state: progress, record };
  });

// Methods and controls with what is known of them.
export const judged = () => {
  const others = controls().map(([method, name]) => ({ method, label: name, control: true, state: "" }));
  return [...rows(), ...others].map((row) => ({ ...row, note: NOTES[row.state], payload: complete(library.find(state.question, row.method))?.payload }));
};

const NOTES = { running: "running", waiting: "waiting", none: "not run yet" };
const noteOf = ({ state: progress, record }) => {
  if (progress === "running") return Math.round(100 * state.work.share) + " %";
  if (!record) return NOTES[progress];
  const { metrics } = record.payload;
  return metrics ? "keeps " + percent(metrics.mm) : "checking";
};

export const refresh = () => {
  const found = rows();
  const chosen = state.shown && sameQuestion(state.shown.question, state.question) ? state.shown.method : null;
  fillChips(found, chosen);
  const noted = found.map((row) => ({ ...row, note: noteOf(row) }));
  compare.fill(noted, chosen, library);
  beside.fill(trio().map((method) => noted.find((row) => row.method === method)), chosen, library);
  // Of the classifier's methods: what a person marked has no rival.
  blind.fill(found.filter(({ record }) => record && !isMarked(record.method)), state.question);
  find("trio").hidden = isMarked(state.shown?.method);
  const numbers = judged();
  faithfulness.fill(numbers, state.question?.domain);
  trust.fill(numbers, chosen);
  strip.fill(state.shown && sameQuestion(state.shown.question, state.question) ? state.question : null, state.shown?.payload.clip.duration_s);
  find("strip-words").hidden = find("strip").hidden;
  const replaced = root.dataset.busy === "yes" && state.wanted === "first";
  root.dataset.stale = state.shown && (replaced || !sameQuestion(state.shown.question, state.question)) ? "yes" : "no";
  fillWork();
  tellOverlay();
  if (state.shown) fill();
};

const fillWork = () => {
  const busy = root.dataset.busy === "yes";
  const left = missing().filter((name) => !facts.controls[baseOf(name)]).length;
  const percent = " · " + Math.round(100 * (state.work?.share || 0)) + " %";
  let text = capital(state.work?.message || "listening") + (state.work?.share ? percent : "…");
  // Which method it is, its chip shows.
  if (state.work?.method) text = (state.work.list.length > 1 ? state.work.list.indexOf(state.work.method) + 1 + " of " + state.work.list.length : "Explaining") + percent;
  setText(find("status"), busy ? text : "");
  find("stop").hidden = !busy;
  find("all").hidden = busy || !left || root.dataset.ready === "empty";
  setText(find("all"), "Run all methods");
};

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
        chip.addEventListener("click", () => askFor(state.question, row.method));
        return chip;
      }),
    );
  }
  const focus = group.contains(document.activeElement) && /** @type {HTMLElement} */ (document.activeElement).dataset.method;
  // Where Tab enters the group: what is drawn by hand has no chip.
  const stop = focus || (found.find(({ method }) => method === chosen) || found[0])?.method;
  for (const row of found) {
    const chip = group.querySelector(`[data-method="${row.method}"]`);
    chip.setAttribute("aria-checked", String(row.method === chosen));
    chip.tabIndex = row.method === stop ? 0 : -1;
    chip.dataset.state = row.state;
    chip.style.setProperty("--share", row.state === "running" ? state.work.share : 0);
    const note = NOTES[row.state];
    if (note) chip.setAttribute("aria-label", row.label + ", " + note);
    else chip.removeAttribute("aria-label");
    chip.title = note ? capital(note) : "Key M goes to the next method";
  }
};

// Whether to believe what is shown, as Python says it; where it did not work, what worked better on this sound.
const LEVELS = { good: 2, partly: 1, bad: 0, none: -1 };
const gainOf = ({ payload }) => payload.probability.kept - payload.probability.removed;

const betterThan = (verdict) =>
  rows()
    .map(({ record }) => record)
    .filter((record) => record?.payload.verdict && LEVELS[record.payload.verdict.level] > LEVELS[verdict.level])
    .sort((a, b) => LEVELS[b.payload.verdict.level] - LEVELS[a.payload.verdict.level] || gainOf(b) - gainOf(a))[0];

const fillVerdict = ({ verdict }) => {
  // A mask that was changed by hand is not the one that was judged.
  find("verdict").hidden = !verdict || !lanes.asMeasured;
  if (!verdict) return;
  find("verdict").dataset.level = verdict.level;
  setText(find("verdict-words"), verdict.words);
  const better = verdict.level === "none" ? undefined : betterThan(verdict);
  find("better").hidden = !better;
  if (!better) return;
  setText(find("better"), "Hear " + label(better.method) + " instead");
  find("better").dataset.method = better.method;
};

export const fill = () => {
  const { payload } = state.shown;
  fillVerdict(payload);
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
  setText(find("eyebrow"), isMarked(payload.method) ? "What if: asked for" : "What speaks for");
  for (const button of find("tracks").children) {
    const { track } = button.dataset;
    setText(button.querySelector("span"), trackName(track));
    setText(button.querySelector("b"), share && (lanes.asMeasured || track === "original") ? percent(share[track]) : "");
  }
  const where = lanes.asMeasured ? "" : " It was asked with the threshold at " + lanes.mixing.measured.toFixed(2) + ".";
  const check = "Percentages: how sure the classifier is of this prompt when it hears only that part." + where;
  setText(find("check"), partial(state.shown) ? sayParts(state.shown) : overlay.layers ? sayOverlay() : share ? check : "");
  const heard = lanes.asMeasured && payload.shares?.[sound.active];
  page.heard?.(payload.prompts, heard || null, sound.active === "original" ? "" : trackName(sound.active));
  for (const name of ["kept", "removed"]) {
    const button = find("get-" + name);
    button.hidden = partial(state.shown);
    setText(button, trackName(name));
  }
  const alternative = "Spectrogram coloured by the mask. " + payload.where;
  if (find("picture").getAttribute("aria-label") !== alternative) find("picture").setAttribute("aria-label", alternative);
  const seconds = payload.clip.duration_s;
  setText(find("length"), shownTime(seconds, seconds) + (seconds < 60 ? " s" : ""));
  find("canvas").setAttribute("aria-valuemax", seconds.toFixed(2));
  const domains = Object.keys(state.methods).filter((domain) => Object.keys(state.methods[domain]).length);
  find("domain").parentElement.hidden = domains.length < 2;
  find("domain").value = state.question.domain;
};

export const fileName = (ending) => (state.shown ? state.shown.payload.clip.name + "-" : "") + ending;

const save = (url, name) => {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
};

export const saveBlob = (blob, name) => {
  const url = URL.createObjectURL(blob);
  save(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser has read it by then
};
export const saveMix = (mix, name) => saveBlob(encodeWav(sound.mixdown(mix), sound.tracks.original.sampleRate), name);
/**
 * Keep what counted, or what was ignored, as a sound.
 * @param {string} name of the track
 */
export const saveTrack = (name) =>
  saveMix(lanes.mix(name, true), fileName(trackName(name).toLowerCase().replaceAll(" ", "-") + ".wav"));
