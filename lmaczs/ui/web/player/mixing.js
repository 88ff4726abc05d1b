// Which parts of a sound are heard. The parts are the components, most relevant first, those that count without a lane of
// their own, where there are any, and the rest of the sound; they add up to the original. A choice (original, what counted, what was ignored) says which parts it holds; the visitor may
// overrule it part by part. Nothing is drawn here.
export const MORE = "more";
export const REST = "rest";
const NAMELESS = { [MORE]: "the others that count", [REST]: "the rest" };

export class Mixing {
  /** @param {Extract<import("payload").Lanes, { threshold: number }>} payload */
  constructor({ threshold, more, lanes }) {
    this.measured = threshold; // what the server called "what counted"
    this.threshold = threshold;
    this.relevance = new Map(lanes.map(({ relevance }, at) => [componentAt(at), relevance]));
    this.parts = [...this.relevance.keys(), ...(more ? [MORE] : []), REST];
    this.reset();
  }

  reset() {
    this.solo = new Set();
    this.muted = new Set();
    this.added = new Set();
  }

  counts(part, threshold = this.threshold) {
    if (part === MORE) return threshold <= this.measured; // nothing else is known of them
    return this.relevance.get(part) > threshold; // false for the rest, which has none
  }

  // How many lanes count.
  get tally() {
    return [...this.relevance.keys()].filter((part) => this.counts(part)).length;
  }

  // Whether what counts is still what the server measured.
  get asMeasured() {
    return this.parts.every((part) => this.counts(part) === this.counts(part, this.measured));
  }

  // Whether a choice holds a part, before anything is overruled.
  holds(choice, part) {
    return choice === "original" || this.counts(part) === (choice === "kept");
  }

  hears(choice, part) {
    if (this.solo.size) return this.solo.has(part);
    return this.holds(choice, part) ? !this.muted.has(part) : this.added.has(part);
  }

  overruled(choice) {
    return this.parts.some((part) => this.hears(choice, part) !== this.holds(choice, part));
  }

  alone(part) {
    flip(this.solo, part);
  }

  // Mute a part that the choice holds; add one that it does not hold.
  overrule(choice, part) {
    flip(this.holds(choice, part) ? this.muted : this.added, part);
  }

  // Part -> gain; `pure` is the choice itself, whatever was overruled.
  gains(choice, pure = false) {
    return Object.fromEntries(this.parts.map((part) => [part, Number(pure ? this.holds(choice, part) : this.hears(choice, part))]));
  }

  // What is heard, in words; `names`: choice -> name in a sentence.
  sentence(choice, names) {
    if (this.solo.size) return "only " + listed(this.parts.filter((part) => this.solo.has(part)));
    const changed = this.parts.filter((part) => this.hears(choice, part) !== this.holds(choice, part));
    const [without, withToo] = [true, false].map((held) => listed(changed.filter((part) => this.holds(choice, part) === held)));
    return names[choice] + (without && ", without " + without) + (withToo && ", with " + withToo);
  }
}

// Name of a part by its place among the components.
export const componentAt = (at) => "component-" + (at + 1);

const flip = (set, value) => set.delete(value) || set.add(value);

export const partName = (part) => NAMELESS[part] || part.replace("-", " ");

// "components 3, 7 and 9"
const listed = (parts) => {
  const numbers = parts.filter((part) => !NAMELESS[part]).map((part) => part.split("-")[1]);
  const names = [...numbers, ...parts.filter((part) => NAMELESS[part]).map(partName)];
  const noun = numbers.length > 1 ? "components " : numbers.length ? "component " : "";
  const last = names.length > 1 ? " and " + names.pop() : "";
  return noun + names.join(", ") + last;
};
