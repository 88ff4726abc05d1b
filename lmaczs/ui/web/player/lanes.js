// A lane for each component of an explanation: how much it speaks for the prompt, which frequencies it holds, when it
// sounds, and buttons to hear it alone, without it, or on top. The threshold above which components count acts at once.
import { TINTS } from "./colours.js";
import { Gains } from "./gains.js";
import { sayLane } from "./lane_words.js";
import { MORE, Mixing, REST, componentAt, partName } from "./mixing.js";
import { SVG, capital, setText } from "./nodes.js";

const WORDS = { original: "the original", kept: "what counted", removed: "what was ignored" };
const ASIDE = {
  [MORE]: "Components without a lane that counted when the classifier was asked.",
  [REST]: "All that no lane holds: with it, the lanes add up to the original.",
};

export class Lanes {
  // `find(name)`: the part of the player called that; `changed()`: another mix is heard; `seek(share)`: of the length;
  // `choice()`: the track that is chosen.
  constructor(find, { changed, seek, choice }) {
    this.find = find;
    this.changed = changed;
    this.seek = seek;
    this.choice = choice;
    this.mixing = null;
    this.nodes = new Map(); // part -> { node, solo, hand }
    find("tau").addEventListener("input", (event) => this.act(() => (this.mixing.threshold = event.target.valueAsNumber)));
    find("mix-reset").addEventListener("click", () => {
      this.act(() => this.mixing.reset());
      find("tracks").querySelector('[aria-checked="true"]').focus(); // this button is gone
    });
  }

  // Show the lanes of an explanation, as the visitor left them; most explanations have none.
  // `mask`: of the explanation, `gains`: of its components.
  load(record, mask, gains) {
    this.mask = mask;
    const payload = record.payload.lanes;
    this.clip = record.payload.clip;
    if (payload?.lanes) record.mixing ||= new Mixing(payload);
    this.mixing = record.mixing;
    this.gains = gains && new Gains(gains, this.mixing.parts);
    this.find("lanes").hidden = !payload;
    this.build(payload || {}, record.payload.clip);
    this.update();
  }

  clear() {
    this.mixing = null;
    this.find("lanes").hidden = this.find("mix").hidden = true;
  }

  act(change) {
    change();
    this.update();
    this.changed();
  }

  // Whether what counts is what the server measured.
  get asMeasured() {
    return !this.mixing || this.mixing.asMeasured;
  }

  // Choice -> gain of each track, for the player of sounds; `pure`: of the choice itself, whatever was overruled.
  mix(choice, pure) {
    return this.mixing ? this.mixing.gains(choice, pure) : { [choice]: 1 };
  }

  // Another track was chosen: it is not heard through one component only.
  choose() {
    this.mixing?.solo.clear();
    this.update();
  }

  // What the picture shows: a mask, and which side of it is heard.
  picture() {
    const choice = this.choice();
    const { mask } = this;
    if (!this.mixing) return { mask, track: choice };
    const overruled = this.mixing.overruled(choice);
    const gains = overruled ? this.mixing.gains(choice) : this.mixing.gains("kept", true);
    return { mask: { ...mask, grey: this.gains.sum(gains) }, track: overruled ? "kept" : choice };
  }

  // ---- drawing

  build({ lanes, more, most_s }, clip) {
    this.nodes.clear();
    const rows = (lanes || []).map((lane, at) => this.lane(componentAt(at), lane, clip));
    if (more) rows.push(this.lane(MORE, null, clip));
    if (lanes) rows.push(this.lane(REST, null, clip));
    this.find("lane-list").replaceChildren(...rows);
    this.find("lanes").dataset.empty = lanes ? "no" : "yes";
    const refused = "Components can be heard one by one in recordings of up to " + most_s + " seconds: cut out the part that you want to hear.";
    setText(this.find("lanes-refused"), most_s ? refused : "");
    setText(this.find("lane-hz"), "Frequencies, 0 to " + clip.max_hz / 1000 + " kHz");
  }

  lane(part, lane, clip) {
    const make = (tag, className, parent) => {
      const node = document.createElement(tag);
      node.className = className;
      parent?.append(node);
      return node;
    };
    const name = partName(part);
    const node = make("div", "lz-lane");
    node.setAttribute("role", "group");
    node.dataset.part = part;
    const title = make("p", "lz-lane-name", node);
    title.textContent = capital(name);
    if (lane) {
      title.title = "Number " + lane.index + " of the dictionary";
      make("span", "lz-lane-what", title).textContent = sayLane(lane, clip);
    }
    const hands = make("div", "lz-lane-hands", node);
    const [solo, hand] = ["lz-lane-solo", "lz-lane-hand"].map((className) => {
      const button = make("button", className, hands);
      button.type = "button";
      return button;
    });
    solo.textContent = "Solo";
    solo.title = "Hear only " + name;
    solo.setAttribute("aria-label", "Solo " + name);
    solo.addEventListener("click", () => this.act(() => this.mixing.alone(part)));
    hand.addEventListener("click", () => this.act(() => this.mixing.overrule(this.choice(), part)));
    if (lane) {
      const bar = make("div", "lz-lane-bar", node);
      bar.setAttribute("aria-hidden", "true"); // the group's name says it
      bar.style.setProperty("--relevance", lane.relevance);
      make("span", "lz-lane-value", node).textContent = lane.relevance.toFixed(2);
      node.append(this.pattern(lane, clip), this.activation(lane, clip));
    } else {
      make("p", "lz-lane-note", node).textContent = ASIDE[part];
    }
    this.nodes.set(part, { node, solo, hand, lane });
    return node;
  }

  pattern({ pattern }, { max_hz }) {
    const hz = (max_hz * highest(pattern)) / (pattern.length - 1);
    const said = hz >= 1000 ? (hz / 1000).toFixed(1) + " kHz" : Math.round(hz / 10) * 10 + " Hz";
    return curve("lz-lane-pattern", "Frequencies, strongest at " + said);
  }

  activation({ activation }, { duration_s }) {
    const seconds = (duration_s * highest(activation)) / (activation.length - 1);
    const said = "Over time, strongest at " + seconds.toFixed(1) + " s";
    const frame = document.createElement("div");
    frame.className = "lz-lane-frame";
    const line = document.createElement("span");
    line.className = "lz-head-line";
    const picture = curve("lz-lane-activation", said);
    trace(picture, activation, (share) => share);
    frame.append(picture, line);
    frame.addEventListener("pointerdown", (event) => {
      const box = frame.getBoundingClientRect();
      if (event.button === 0) this.seek((event.clientX - box.left) / box.width);
    });
    return frame;
  }

  // Draw the frequencies on the scale of the large picture; `place(hz)`: share of its axis.
  scale(place, max_hz) {
    for (const { node, lane } of this.nodes.values()) {
      if (lane) trace(node.querySelector(".lz-lane-pattern"), lane.pattern, (share) => place(share * max_hz));
    }
  }

  update() {
    const { mixing } = this;
    const choice = this.choice();
    this.find("mix").hidden = !mixing;
    if (!mixing) return;
    this.find("mix").dataset.overruled = mixing.overruled(choice) ? "yes" : "no";
    const words = "You hear " + mixing.sentence(choice, WORDS) + ".";
    setText(this.find("mix-words"), words);
    this.find("mix-words").title = words; // a long one is cut
    const tally = mixing.tally + " of " + mixing.relevance.size + " count";
    const slider = this.find("tau");
    slider.value = mixing.threshold;
    slider.setAttribute("aria-valuetext", mixing.threshold.toFixed(2) + ", " + tally);
    setText(this.find("tau-value"), mixing.threshold.toFixed(2));
    setText(this.find("tally"), tally);
    this.find("lane-list").style.setProperty("--tau", mixing.threshold);
    for (const part of mixing.parts) this.updateLane(part, this.nodes.get(part), choice);
  }

  updateLane(part, { node, solo, hand, lane }, choice) {
    const { mixing } = this;
    const name = partName(part);
    const held = mixing.holds(choice, part);
    const heard = mixing.hears(choice, part);
    const counts = mixing.counts(part);
    node.dataset.counts = counts ? "yes" : "no";
    // As on the picture of the components.
    const tint = TINTS[mixing.parts.indexOf(part)];
    node.style.setProperty("--tint", lane && counts && tint ? "#" + tint[1] : "transparent");
    node.dataset.heard = heard ? "yes" : "no";
    const relevance = lane ? ", " + sayLane(lane, this.clip) + ", relevance " + lane.relevance.toFixed(2) + (counts ? ", counts" : ", does not count") : "";
    node.setAttribute("aria-label", name + relevance + (heard ? ", heard" : ", not heard"));
    solo.setAttribute("aria-pressed", String(mixing.solo.has(part)));
    hand.setAttribute("aria-pressed", String((held ? mixing.muted : mixing.added).has(part)));
    setText(hand, held ? "Mute" : "Add");
    hand.title = held ? "Hear " + WORDS[choice] + " without " + name : "Add " + name + " to what you hear";
    hand.setAttribute("aria-label", held ? "Mute " + name : "Add " + name + " to what you hear");
  }
}

const highest = (values) => values.indexOf(Math.max(...values));

const curve = (className, label) => {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("class", className);
  picture.setAttribute("viewBox", "0 0 100 100");
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", label);
  picture.append(document.createElementNS(SVG, "path"));
  return picture;
};

// Numbers >= 0 as a filled curve, as high as the largest of them; `place(share)`: where a share of the list lies across.
const trace = (picture, values, place) => {
  const top = Math.max(...values) || 1;
  const points = values.map((value, at) => {
    const across = 100 * Math.min(Math.max(place(at / (values.length - 1)), 0), 1);
    return across.toFixed(2) + "," + (99 - (94 * value) / top).toFixed(2);
  });
  picture.firstChild.setAttribute("d", "M0,100 L" + points.join(" ") + " L100,100 Z");
};
