// A blind comparison of two methods: what each kept of the same sound, under the names A and B, as loud as each other,
// on one clock. Who is who is said after both are rated.
import { questionKey, readTrack } from "./library.js";
import { setText } from "./nodes.js";
import { Sound } from "./sound.js";
import { library } from "./state.js";

const LETTERS = ["A", "B"];
const LISTENER = "lmaczs-listener";

// A random number that tells two ratings of one browser from those of two.
export const listener = () => {
  let token = localStorage.getItem(LISTENER);
  if (!token) {
    const bytes = crypto.getRandomValues(new Uint8Array(12));
    token = btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
    localStorage.setItem(LISTENER, token);
  }
  return token;
};

export class Blind {
  // `find(name)`: a node of the page. `label(method)`: its name for people. `begins()`: another player has to be silent.
  // `keep({ clip, prompt, ratings })`: give what was rated to the page's study.
  constructor(find, facts, { label, begins, keep }) {
    this.find = find;
    this.label = label;
    this.begins = begins;
    this.keep = keep;
    this.keeps = facts.keeps;
    // [{ method, record }] in the order A, B; null while nothing is compared.
    this.pair = null;
    this.told = false;
    // The question that the pair answers.
    this.key = "";
    this.sound = new Sound(() => this.draw(), (name) => ({ [name]: 1 }));
    this.sound.matched = true;
    setText(find("blind-question"), facts.question);
    this.rows = LETTERS.map((letter, at) => this.row(letter, at));
    find("blind-rows").replaceChildren(...this.rows.map(({ node }) => node));
    find("blind-consent").hidden = !this.keeps;
    find("blind-begin").addEventListener("click", () => this.begin());
    find("blind-original").addEventListener("click", () => this.hear("original"));
    find("blind-reveal").addEventListener("click", () => this.reveal());
    find("blind-end").addEventListener("click", () => this.end());
  }

  row(letter, at) {
    const node = document.createElement("li");
    const play = document.createElement("button");
    const slider = document.createElement("input");
    const value = document.createElement("output");
    const name = document.createElement("span");
    play.type = "button";
    play.className = "lz-blind-play";
    play.textContent = "Play " + letter;
    Object.assign(slider, { type: "range", min: 0, max: 100, step: 1, value: 50, disabled: true });
    slider.setAttribute("aria-label", "Rating of " + letter);
    name.className = "lz-blind-name";
    play.addEventListener("click", () => this.hear(letter));
    const rated = () => {
      this.pair[at].value = Number(slider.value);
      this.draw();
    };
    slider.addEventListener("input", rated);
    // Where it stands already is an answer, too.
    slider.addEventListener("click", rated);
    node.append(play, slider, value, name);
    return { node, play, slider, value, name, letter };
  }

  // What can be compared: [{ method, record }]; the choice of a pair stays as long as it can.
  fill(rows, question) {
    this.ready = rows;
    this.asked = question;
    this.find("blind").hidden = rows.length < 2;
    const names = JSON.stringify(rows.map(({ method }) => method));
    if (this.names !== names) {
      this.names = names;
      for (const [place, name] of ["blind-first", "blind-second"].entries()) {
        const select = this.find(name);
        const before = select.value;
        select.replaceChildren(...rows.map(({ method }) => new Option(this.label(method), method)));
        const stays = rows.some(({ method }) => method === before);
        select.value = stays ? before : rows[place]?.method || "";
      }
    }
    if (this.pair && this.key !== questionKey(question)) this.end();
  }

  async begin() {
    const chosen = ["blind-first", "blind-second"].map((name) => this.find(name).value);
    const rows = chosen.map((method) => this.ready.find((row) => row.method === method));
    if (chosen[0] === chosen[1]) return this.say("Choose two different methods.");
    if (crypto.getRandomValues(new Uint8Array(1))[0] % 2) rows.reverse();
    const pair = rows.map(({ method, record }) => ({ method, record, value: null, heard: false }));
    const key = questionKey(this.asked);
    this.say("Fetching both sounds…");
    try {
      const [[original], ...kept] = await Promise.all([
        library.clip(pair[0].record),
        ...pair.map(({ record }) => readTrack(record.payload.kept, record.payload.clip.sample_rate)),
      ]);
      if (key !== questionKey(this.asked)) return;
      this.sound.load({ original, A: kept[0], B: kept[1] }, false);
    } catch {
      return this.say("The sounds could not be loaded: try it again.");
    }
    Object.assign(this, { pair, key, told: false });
    const { prompts, target } = pair[0].record.payload;
    setText(this.find("blind-prompt"), prompts[target]);
    for (const { slider } of this.rows) slider.value = "50";
    this.say("");
    this.draw();
    this.rows[0].play.focus();
  }

  hear(name) {
    const same = this.sound.playing && this.sound.active === name;
    this.begins();
    this.sound.choose(name);
    const row = this.pair.find((_, at) => LETTERS[at] === name);
    if (row) row.heard = true;
    if (same) this.sound.pause();
    else this.sound.play();
    this.draw();
  }

  reveal() {
    this.told = true;
    this.sound.pause();
    const { payload } = this.pair[0].record;
    if (this.keeps && this.find("blind-agreed").checked) {
      const ratings = Object.fromEntries(this.pair.map(({ method, value }) => [method, value]));
      this.keep({ clip: payload.clip.id, prompt: payload.prompts[payload.target], ratings });
    }
    this.say("You heard " + this.pair.map(({ method }, at) => LETTERS[at] + ": " + this.label(method)).join(", ") + ".");
    this.draw();
  }

  end() {
    this.sound.clear();
    this.pair = null;
    this.say("");
    this.draw();
  }

  say(words) {
    setText(this.find("blind-told"), words);
  }

  draw() {
    const { pair, told, sound } = this;
    this.find("blind-trial").hidden = !pair;
    this.find("blind-choice").hidden = Boolean(pair);
    if (!pair) return;
    const heard = (name) => sound.playing && sound.active === name;
    this.find("blind-original").setAttribute("aria-pressed", String(heard("original")));
    this.rows.forEach(({ play, slider, value, name, letter }, at) => {
      play.textContent = (heard(letter) ? "Pause " : "Play ") + letter;
      play.setAttribute("aria-pressed", String(heard(letter)));
      // Only what was heard can be rated, and not any more when one knows.
      slider.disabled = told || !pair[at].heard;
      value.textContent = pair[at].value ?? "–";
      name.textContent = told ? this.label(pair[at].method) : "";
    });
    this.find("blind-reveal").disabled = told || pair.some(({ value }) => value === null);
  }
}
