// What was on screen before: the page's Undo, and the browser's back and forward, lead to the last ten states. A state
// is an explanation with its sound, prompts, boxes and area; nothing is asked of the server to show it again.
import { gone, page } from "../bus.js";
import { address, writeAddress } from "./address.js";
import { leaveBeside, tellArea } from "./beside.js";
import { drawMarks, marks } from "./marks.js";
import { halt } from "./requests.js";
import { show } from "./showing.js";
import { find, state } from "./state.js";
import { announce, refresh } from "./words.js";

const STATES_KEPT = 10;

export const past = {
  states: new Map(), // number -> state
  at: -1, // the state that is on screen, or was the last one there
  came: null, // the recording and the prompts that were classified last, as Gradio's components hold them
  coming: null, // what a return puts into these components
};

const pastIsCleared = () => !state.shown && past.states.has(past.at);
export const tellPast = () => {
  find("undo").hidden = !past.states.has(past.at - 1);
  find("return").hidden = !pastIsCleared();
};

// An explanation came to the screen that was asked for, and not returned to.
export const remember = (record) => {
  const former = {
    record,
    area: state.area,
    came: past.came,
    scores: page.drawn?.(),
    example: address.example,
    boxes: [...marks.boxes],
    before: marks.before,
  };
  const now = past.states.get(past.at);
  // The browser's entry of the first state is there already.
  const way = !now || now.record === record ? "replaceState" : "pushState";
  if (way === "pushState" || past.at < 0) past.at++;
  history[way]({ lmaczs: past.at }, "");
  past.states.set(past.at, former);
  // What was undone before is gone, as in every browser.
  for (const number of past.states.keys()) {
    if (number > past.at || number <= past.at - STATES_KEPT) past.states.delete(number);
  }
  tellPast();
};

export const forgetPast = () => {
  past.states.clear();
  tellPast();
};

// Show a state again, with its sound and prompts in their places.
const goBackTo = async (number) => {
  const former = past.states.get(number);
  if (!former) return announce("What was here is no longer kept: the last " + STATES_KEPT + " states are.", true);
  halt();
  past.at = number;
  if (former.came) {
    past.came = past.coming = former.came;
    page.named?.(former.came[0]?.orig_name);
    trigger("back", {});
  }
  state.area = former.area;
  tellArea();
  address.example = former.example;
  address.wish = { example: null, prompt: null };
  Object.assign(marks, { boxes: [...former.boxes], drawn: null, since: null, before: former.before });
  for (const empty of page.emptied) empty();
  page.redraw?.(former.scores);
  leaveBeside();
  await show(former.record, true);
  refresh();
  drawMarks();
  tellPast();
};

// The new sound was refused: the one on screen is asked about as before.
export const keepSound = (former) => {
  past.came = past.coming = [former.came[0], past.came[1]];
  address.example = former.example;
  writeAddress();
  page.named?.(former.came[0]?.orig_name);
  trigger("back", {});
};

const undo = () => (pastIsCleared() ? goBackTo(past.at) : history.back());

export const listenToHistory = () => {
  const moved = (event) => Number.isInteger(event.state?.lmaczs) && goBackTo(event.state.lmaczs);
  window.addEventListener("popstate", moved, { signal: gone });
  find("undo").addEventListener("click", () => undo());
  find("return").addEventListener("click", () => undo());
};
