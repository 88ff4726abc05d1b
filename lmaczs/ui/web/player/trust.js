// One chart of what can be believed: a dot for each method, the further to the upper right the better. Across: how
// much of the probability is lost without what it keeps; upwards: what the classifier says to that part alone. Here
// are only words and places; nothing of it is made of text that a person typed.
import { SVG } from "./nodes.js";

const FRAME = { width: 640, height: 310, left: 46, right: 24, top: 30, bottom: 40 };
const LABEL_GAP = 13;

// How much of the whole's probability is lost without a part: in [0, 1].
export const lostWithout = ({ original, removed }) => (original > 0 ? Math.min(Math.max(1 - removed / original, 0), 1) : 0);

// Places of labels in one column, top to bottom, so that none covers another: [wanted y] -> [y], within the frame.
export const spread = (wanted, gap, low, high) => {
  const order = wanted.map((_, at) => at).sort((a, b) => wanted[a] - wanted[b]);
  const found = [...wanted];
  let last = low - gap;
  for (const at of order) last = found[at] = Math.max(found[at], last + gap);
  let next = high + gap;
  for (const at of order.reverse()) next = found[at] = Math.min(found[at], next - gap);
  return found;
};

export class Trust {
  // `limits`: { enough, needed }, of verdict.py.
  constructor(node, limits) {
    this.node = node;
    this.limits = limits;
  }

  // `rows`: [{ label, method, control, payload }]; `chosen`: the method that is heard.
  fill(rows, chosen) {
    const dots = rows
      .filter(({ payload }) => payload?.probability)
      .map(({ label, method, control, payload: { probability } }) => ({
        label, method, control, x: lostWithout(probability), y: probability.kept, whole: probability.original,
      }));
    const key = JSON.stringify([dots, chosen]);
    if (key === this.key) return;
    this.key = key;
    this.node.toggleAttribute("hidden", !dots.length);
    if (dots.length) this.draw(dots, chosen);
  }

  draw(dots, chosen) {
    const { width, height, left, right, top, bottom } = FRAME;
    const across = (share) => left + share * (width - left - right);
    const up = (share) => height - bottom - share * (height - top - bottom);
    const make = (name, values, text) => {
      const node = document.createElementNS(SVG, name);
      for (const [key, value] of Object.entries(values)) node.setAttribute(key, value);
      if (text !== undefined) node.textContent = text;
      return node;
    };
    const { enough, needed } = this.limits;
    const least = enough * dots[0].whole;
    const good = [across(needed), up(1), across(1) - across(needed), up(least) - up(1)];
    const parts = [
      make("rect", { class: "lz-trust-good", x: good[0], y: good[1], width: good[2], height: good[3], rx: 4 }),
      make("text", { class: "lz-trust-word", x: across(1) - 8, y: up(least) - 8, "text-anchor": "end" }, "believe it"),
      make("path", { class: "lz-trust-axes", d: `M${across(0)} ${up(1)}V${up(0)}H${across(1)}` }),
    ];
    for (const share of [0, 0.5, 1]) {
      const percent = 100 * share + " %";
      parts.push(make("text", { x: across(0) - 8, y: up(share) + 4, "text-anchor": "end" }, percent));
      parts.push(make("text", { x: across(share), y: up(0) + 16, "text-anchor": "middle" }, percent));
    }
    parts.push(make("text", { class: "lz-trust-name", x: 4, y: 14 }, "Said of what is kept alone"));
    parts.push(make("text", { class: "lz-trust-name", x: across(1), y: height - 6, "text-anchor": "end" }, "Lost without it"));
    // Labels stand to the right of their dots where there is room, and to the left elsewhere; no dot lies over one.
    const labels = [];
    for (const side of [true, false]) {
      const group = dots.filter(({ x }) => x < 0.7 === side);
      const places = spread(group.map(({ y }) => up(y)), LABEL_GAP, up(1) + 4, up(0) - 4);
      group.forEach((dot, at) => {
        const kind = dot.control ? "lz-trust-control" : dot.method === chosen ? "lz-trust-chosen" : "lz-trust-method";
        const x = across(dot.x);
        const away = side ? 10 : -10;
        parts.push(make("circle", { class: kind, cx: x, cy: up(dot.y), r: dot.method === chosen ? 6 : 4.5, "data-method": dot.method }));
        labels.push(make("text", { class: kind, x: x + away, y: places[at] + 4, "text-anchor": side ? "start" : "end" }, dot.label));
      });
    }
    this.node.replaceChildren(...parts, ...labels);
    const percent = (share) => Math.round(100 * share) + " %";
    const told = dots.map(({ label, x, y }) => label + ": alone " + percent(y) + ", lost without it " + percent(x));
    this.node.setAttribute("aria-label", "What can be believed. " + told.join("; ") + ".");
  }
}

// The table as it stands: a line for each method, a column for each number.
export const numbersAsCsv = (rows, columns) => {
  const cell = (value) => (/[",\n]/.test(value) ? '"' + value.replaceAll('"', '""') + '"' : value);
  const head = ["method", ...columns.map(({ key }) => key), "probability_original", "probability_kept", "probability_removed"];
  const lines = rows
    .filter(({ payload }) => payload?.metrics)
    .map(({ method, payload: { metrics, probability } }) =>
      [method, ...columns.map(({ key }) => metrics[key] ?? ""), probability.original, probability.kept, probability.removed].map((value) => cell(String(value))),
    );
  return [head, ...lines].map((line) => line.join(",")).join("\n") + "\n";
};
