// What speaks for each prompt, on one picture: a colour for each.
import { page } from "../bus.js";
import { askBeside } from "./beside.js";
import { TINTS, rgbOf } from "./colours.js";
import { questionKey, sameQuestion } from "./library.js";
import { baseOf, isMarked } from "./method_key.js";
import { complete } from "./parts.js";
import { request } from "./requests.js";
import { picture, strip } from "./stage.js";
import { find, library, root, state } from "./state.js";
import { announce, fill, refresh } from "./words.js";

export const overlay = {
  on: false,
  layers: null, // [{ prompt, name, hex, record }] that are drawn
  key: "", // of what is drawn, or is being fetched to be drawn
  asked: new Set(), // questions whose other prompts were asked for
};

// Indices of the most probable prompts and of the one that is shown, as many as there are colours.
const overlaid = () => {
  const { prompts, target } = state.question;
  const scores = page.drawn?.();
  const share = (index) => scores?.probabilities[scores.prompts.indexOf(prompts[index])] ?? 0;
  // A method with a closed set has nothing to say to other prompts.
  const known = state.closed[baseOf(state.shown.method)];
  const fit = prompts.map((_, index) => index).filter((index) => known?.includes(prompts[index]) ?? true);
  const order = fit.sort((a, b) => share(b) - share(a) || a - b);
  const first = order.slice(0, TINTS.length);
  return first.includes(target) ? first : [...first.slice(0, TINTS.length - 1), target];
};

// { index, prompt, name, hex, record } of each of them; what is not explained yet has no record.
const tinted = () =>
  overlaid().map((index, at) => ({
    index,
    prompt: state.question.prompts[index],
    name: TINTS[at][0],
    hex: TINTS[at][1],
    record: complete(library.find({ ...state.question, target: index }, state.shown.method)),
  }));

const canOverlay = () => Boolean(overlay.on && state.shown && !isMarked(state.shown.method) && sameQuestion(state.shown.question, state.question));

// Draw what is there; asked for again with every answer.
export const tellOverlay = async () => {
  find("overlay").setAttribute("aria-pressed", String(overlay.on));
  find("overlay").disabled = isMarked(state.shown?.method);
  const there = canOverlay() ? tinted().filter(({ record }) => record) : [];
  const key = there.map(({ hex, record }) => hex + record.key).join() + (there.length ? state.shown.key : "");
  if (key === overlay.key) return;
  overlay.key = key;
  const masks = await Promise.all(there.map(({ record }) => library.picture(record).catch(() => null)));
  if (overlay.key !== key) return;
  overlay.layers = there.length ? there : null;
  const layers = there.map(({ name, hex }, at) => ({ name, mask: masks[at]?.mask, rgb: rgbOf(hex) })).filter(({ mask }) => mask);
  picture.setLayers(layers.length ? layers : null);
  root.dataset.overlay = layers.length ? "yes" : "no";
  const tints = Object.fromEntries(there.map(({ prompt, hex }) => [prompt, "#" + hex]));
  page.tint?.(tints);
  strip.tint(tints);
  if (state.shown) fill();
};

const overlayKey = () => questionKey({ ...state.question, target: null }) + state.shown.method;
// What was stopped waits for a press.
export const leaveOverlay = () => state.shown && overlay.asked.add(overlayKey());

// Explain the prompts that are missing; true if something was asked for. Once for each question, as `askBeside`.
const askOverlay = () => {
  // While another explanation is on its way to the screen, the question is going to be another one.
  if (!canOverlay() || (state.wanted && state.wanted !== state.shown.key)) return false;
  const left = tinted().filter(({ record }) => !record?.payload.metrics);
  const key = overlayKey();
  if (!left.length || overlay.asked.has(key)) return false;
  overlay.asked.add(key);
  request(state.question, [state.shown.method], state.shown.key, left.map(({ index }) => index));
  return true;
};

export const setOverlay = (on) => {
  if (!state.shown || isMarked(state.shown.method)) return;
  overlay.on = on;
  overlay.asked.clear();
  if (!on || state.pending || !askOverlay()) refresh();
  announce(on ? "Each prompt in a colour of its own." : "The mask of one prompt.");
};

// What is explained without a press: the methods beside each other, then the other prompts.
export const askMore = () => askBeside() || askOverlay();

export const sayOverlay = () => {
  const names = overlay.layers.map(({ name, prompt, record }) => name + ": " + prompt + (record.payload.evidence === "absent" ? " (nothing)" : ""));
  return "Each cell has the colour of the prompt that it speaks for most. " + names.join(", ") + ".";
};
