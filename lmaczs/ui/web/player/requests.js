// What the player asks the server for, and how far that is.
import { page } from "../bus.js";
import { keyed, leaveBeside } from "./beside.js";
import { play } from "./hands.js";
import { questionKey, sameQuestion } from "./library.js";
import { baseOf } from "./method_key.js";
import { askMore, leaveOverlay } from "./overlay.js";
import { partial, stageOf } from "./parts.js";
import { show } from "./showing.js";
import { sound } from "./stage.js";
import { facts, library, root, state } from "./state.js";
import { choose } from "./view.js";
import { announce, label, refresh, rows } from "./words.js";

/**
 * Show an explanation of a question, or ask for it.
 * @param {import("./library.js").Question} next
 * @param {string} method
 */
export const askFor = (next, method) => {
  const known = library.find(next, method);
  const same = sameQuestion(next, state.question);
  if (!known || !known.payload.metrics) {
    const queue = same && state.pending && state.work && state.work.list.length > 1 ? missing().filter((name) => state.work.list.includes(name)) : [];
    return request(next, [method, ...queue.filter((name) => name !== method)], questionKey(next) + method);
  }
  if (!same) halt();
  state.question = next;
  return show(known);
};

// Explain a question with a list of methods; `display` says which one to show, as `wanted` does. `also`: indices of other
// prompts that the first of them explains then.
export const request = (next, list, display, also = []) => {
  newTurn();
  state.question = next;
  state.wanted = display;
  state.work = { list, method: list[0], share: 0, message: "" };
  began();
  const { domain, prompts, target } = next;
  trigger("ask", { prompts, target, methods: list, domain, turn: state.turn, at: sound.position, also });
};

// [key, name for people] of the methods that can explain the question's prompt; all of them at the chosen area.
export const offered = () =>
  Object.entries(state.methods[state.question?.domain] || {})
    .filter(([name]) => !state.closed[name] || state.closed[name].includes(state.question.prompts[state.question.target]))
    .map(([name, text]) => [keyed(name), text]);
export const controls = () => Object.entries(facts.controls).map(([name, text]) => [keyed(name), text]);

export const missing = () => {
  if (!state.question) return [];
  const names = [...offered(), ...controls()].map(([name]) => name);
  return names.filter((name) => !library.find(state.question, name)?.payload.metrics);
};

export const askAll = () => {
  const list = missing();
  // The controls take a moment only, and without them the first numbers cannot be read.
  const quick = list.filter((name) => facts.controls[baseOf(name)]);
  if (list.length) request(state.question, [...quick, ...list.filter((name) => !quick.includes(name))], null);
};

// Hear what counted for a method, from where the playhead is.
export const hear = async (method) => {
  if (!state.question) return;
  choose("kept");
  await askFor(state.question, method);
  if (state.shown && state.shown.method === method) play();
};

// The pages of `lmaczs report`, with every method that has explained the prompt; masks as they come.
export const askForReport = () => {
  state.work ||= { list: [], message: "writing", share: 0 };
  began();
  const { prompts, target, domain } = state.shown.payload;
  const known = rows().filter(({ record }) => record?.payload.metrics).map(({ method }) => baseOf(method));
  trigger("report", { prompts, target, methods: known, domain, turn: state.turn });
};

export const askForArchive = () => {
  // What runs goes on.
  state.work ||= { list: [], message: "packing", share: 0 };
  began();
  const { prompts, target, method, domain } = state.shown.payload;
  trigger("archive", { prompts, target, method, domain, turn: state.turn });
};

// Everything before this turn is void, also on the server.
export const newTurn = () => {
  state.turn++;
  if (state.pending) trigger("halt", { turn: state.turn });
};
export const began = () => {
  state.pending++;
  root.dataset.busy = "yes";
  refresh();
};
export const halt = () => {
  newTurn();
  state.wanted = state.work = null;
  root.dataset.busy = "no";
};
export const stop = () => {
  leaveBeside();
  leaveOverlay();
  halt();
  settle();
  announce("Stopped. What was finished is still here.");
};
// Nothing more will come: what is on screen is what the page is about.
export const settle = () => {
  state.work = null;
  root.dataset.busy = "no";
  if (state.shown) {
    state.question = state.shown.question;
    page.mark?.(state.shown.payload.target);
    // A part that came just before a stop is still to be put into the picture.
    if (partial(state.shown) && stageOf(state.shown) !== state.shown.stage) show(state.shown);
  }
  refresh();
};
export const idle = () => {
  state.pending = Math.max(0, state.pending - 1);
  if (state.pending || state.arriving) return;
  settle();
  askMore();
};

/**
 * What the server says of the work.
 * @param {import("payload").ProgressValue} value
 */
export const report = (value) => {
  if (value.turn !== state.turn || !state.pending) return;
  if (!state.work) state.work = { list: [] };
  if (value.method && value.method !== state.work.method) announce("Explaining with " + label(value.method));
  Object.assign(state.work, { method: value.method, share: value.share, message: value.message });
  refresh();
};
