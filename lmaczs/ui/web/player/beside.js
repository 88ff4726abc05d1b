// Three methods beside each other, explained without a press; and the slider that puts all of them at equal area.
import { percent } from "../prompts.js";
import { questionKey } from "./library.js";
import { baseOf, isMarked } from "./method_key.js";
import { setText } from "./nodes.js";
import { askFor, offered, request } from "./requests.js";
import { facts, find, library, state } from "./state.js";
import { refresh } from "./words.js";

const BESIDE = ["grad-cam++", "l2i"];
// Longer recordings wait for a press: who only wants the default method does not wait for the others.
const BESIDE_SECONDS = 60;

export const keyed = (method) => (state.area ? method + "@" + state.area : method);

// The default method and the two others, as far as they can explain the question's prompt.
export const trio = () => {
  const names = offered().map(([method]) => method);
  const first = names.find((method) => !BESIDE.includes(baseOf(method)));
  return [first, ...BESIDE.map(keyed).filter((method) => names.includes(method))].filter(Boolean);
};

// What a panel says of its method: what it is, and what the classifier says to both parts.
export const sayOf = ({ method, record }) => {
  const { probability, verdict } = record?.payload || {};
  const bar = (name, track) => ({ name, share: probability[track], text: percent(probability[track]) });
  return {
    sentence: facts.sentences[baseOf(method)] || "",
    parts: probability ? [bar("Alone", "kept"), bar("Without it", "removed")] : [],
    verdict: verdict ? { level: verdict.level, short: facts.verdicts[verdict.key] } : null,
  };
};

// Explain with those of the three that are missing; true if something was asked for. Once for each question: what was
// stopped, or failed, waits for a press.
export const askBeside = () => {
  // While another explanation is on its way to the screen, the question is going to be another one.
  if (!state.shown || state.wanted !== state.shown.key || state.shown.payload.clip.duration_s > BESIDE_SECONDS) return false;
  const left = trio().filter((method) => !library.find(state.question, method)?.payload.metrics);
  const key = questionKey(state.question) + "@" + state.area;
  if (!left.length || state.asked.has(key)) return false;
  state.asked.add(key);
  request(state.question, left, state.shown.key);
  return true;
};
export const leaveBeside = () => state.question && state.asked.add(questionKey(state.question) + "@" + state.area);

export const tellArea = (percent = state.area) => {
  const words = percent ? percent + " % of each" : "masks as they come";
  find("area").value = percent || 0;
  setText(find("area-value"), words);
  find("area").setAttribute("aria-valuetext", words);
};

export const setArea = (percent) => {
  state.area = percent || null;
  tellArea();
  if (!state.shown) return;
  if (!isMarked(state.shown.method)) askFor(state.question, keyed(baseOf(state.shown.method)));
  if (!state.pending && !askBeside()) refresh();
};
