// How the scores change within a recording that is longer than a window, or from frame to frame of a model that has
// frames: a line for each prompt under the picture, on its time axis. The prompt that is explained stands out.
import { percent } from "../prompts.js";
import { SVG, setText } from "./nodes.js";

const STRIP = { width: 1000, height: 60 };

// The longest stretches of places that have a value: [[x, y], …] each.
export const stretchesOf = (times, values, x, y) => {
  const found = [[]];
  values.forEach((value, at) => {
    if (value === null) found.push([]);
    else found.at(-1).push([x(times[at]), y(value)]);
  });
  return found.filter((points) => points.length);
};

export class Strip {
  constructor(node, words) {
    this.node = node;
    this.words = words;
    this.known = new Map();
    this.tints = {};
  }

  // Prompt -> its colour on the picture, of those that have one.
  tint(tints) {
    this.tints = tints;
    for (const line of this.node.children) this.colourIn(line);
  }

  colourIn(line) {
    line.style.stroke = this.tints[line.dataset.prompt] || "";
    line.style.opacity = line.style.stroke ? 1 : "";
  }

  key(clip, prompts) {
    return JSON.stringify([clip, prompts]);
  }

  /** @param {import("payload").OverTime} value */
  keep(value) {
    this.known.set(this.key(value.clip, value.prompts), value);
    if (this.known.size > 16) this.known.delete(this.known.keys().next().value);
  }

  // `target`: index of the prompt that is explained; `duration`: of the recording, s.
  fill(question, duration) {
    const value = question && this.known.get(this.key(question.clip, question.prompts));
    this.node.parentElement.hidden = !value;
    const state = value && JSON.stringify([question, duration]);
    if (!value || state === this.state) return;
    this.state = state;
    const { width, height } = STRIP;
    const x = (time) => (width * time) / duration;
    const y = (share) => height - 3 - share * (height - 6);
    const { times, probabilities, prompts } = value;
    const order = prompts.map((_, at) => at).filter((at) => at !== question.target);
    this.node.replaceChildren(...[...order, question.target].flatMap((at) => this.lines(prompts[at], times, probabilities[at], at === question.target, x, y)));
    const own = probabilities[question.target];
    const most = own.reduce((best, share, at) => (share !== null && (best < 0 || share > own[best]) ? at : best), -1);
    const told = most < 0 ? "" : prompts[question.target] + " over time: most likely at " + times[most].toFixed(1) + " s, " + percent(own[most]);
    this.node.setAttribute("aria-label", told);
    setText(this.words, told);
  }

  lines(prompt, times, values, own, x, y) {
    return stretchesOf(times, values, x, y).map((points) => {
      const node = document.createElementNS(SVG, "polyline");
      // A single place is a short line.
      const all = points.length > 1 ? points : [[points[0][0] - 4, points[0][1]], [points[0][0] + 4, points[0][1]]];
      node.setAttribute("points", all.map((point) => point.map((value) => value.toFixed(1)).join(",")).join(" "));
      node.setAttribute("class", own ? "lz-strip-own" : "lz-strip-other");
      node.dataset.prompt = prompt;
      this.colourIn(node);
      return node;
    });
  }
}
