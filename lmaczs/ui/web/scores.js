// The prompts, each with its score: the most probable on top, and each is a choice of what to explain. A prompt that was just
// typed stands below them until its score comes.
import { gone, page, publish, whenEmptied } from "./bus.js";
import { PREFIX, lines, percent } from "./prompts.js";

const MATCHES = { strong: "fits", weak: "may fit", none: "does not fit" };
/** @returns {any} HTMLElement of a kind that its reader knows */
const find = (name) => element.querySelector(".lz-" + name);
const bars = find("bars");

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

/** @returns {HTMLButtonElement[]} */
const allBars = () => [...bars.querySelectorAll(".lz-bar")];
const mark = (target) => {
  for (const bar of allBars()) {
    const chosen = Number(bar.dataset.index) === target;
    bar.setAttribute("aria-checked", String(chosen));
    bar.tabIndex = chosen ? 0 : -1;
  }
};

// Prompt -> its colour on the picture, of those that have one.
let tints = {};
const tint = (colours) => {
  tints = colours;
  for (const bar of allBars()) colourIn(bar);
};
const colourIn = (bar) => {
  const colour = tints[bar.dataset.prompt];
  bar.toggleAttribute("data-tinted", Boolean(colour));
  bar.style.setProperty("--tint", colour || "");
};

// Whether it fits by itself, too: the percentages only compare the prompts with each other.
const words = (value, index, share) => {
  if (index < 0) return "";
  const match = value.match ? MATCHES[value.match[index]] : "";
  return (match ? match + " · " : "") + percent(share);
};

// Show what the classifier says to the part that is heard; no shares: to the whole sound.
const heard = (prompts, shares, part) => {
  const value = drawn;
  if (!value?.prompts || !value.prompts.every((prompt) => prompts.includes(prompt))) return;
  for (const bar of allBars()) {
    const index = Number(bar.dataset.index);
    if (index < 0) continue;
    const own = part && shares ? shares[prompts.indexOf(value.prompts[index])] : null;
    const share = own ?? value.probabilities[index];
    /** @type {HTMLElement} */ (bar.querySelector(".lz-fill")).style.setProperty("--share", share);
    bar.querySelector(".lz-percent").textContent = own === null ? words(value, index, share) : percent(own);
  }
  find("part").textContent = part && shares ? "As the classifier hears: " + part.toLowerCase() : "";
};

const nameOf = (prompt) => {
  const name = make("span", "lz-name");
  name.dir = "auto";
  if (prompt.startsWith(PREFIX) && prompt.length > PREFIX.length) {
    name.append(make("span", "lz-prefix", PREFIX), prompt.slice(PREFIX.length));
  } else {
    name.textContent = prompt;
  }
  return name;
};

const remove = (prompt) => {
  change(typed.filter((other) => other !== prompt));
  find("add-words").focus();
};

// `index` of the prompt in the scores; -1: it has none yet.
const row = (value, prompt, index) => {
  const whole = make("div", "lz-row");
  const bar = make("button", "lz-bar");
  bar.type = "button";
  bar.dataset.index = index;
  bar.dataset.prompt = prompt;
  bar.setAttribute("aria-keyshortcuts", "Delete");
  bar.setAttribute("role", "radio");
  bar.disabled = index < 0;
  colourIn(bar);
  const fill = make("span", "lz-fill");
  bar.append(nameOf(prompt), make("span", "lz-percent", words(value, index, value?.probabilities[index])), fill);
  if (index >= 0) {
    const unit = value.unit === "logit" ? "logit " : "cosine similarity ";
    bar.title = prompt + " · " + unit + value.similarities[index].toFixed(2);
    fill.style.setProperty("--share", value.probabilities[index]);
    bar.addEventListener("click", () => {
      mark(index);
      page.ask?.(value.prompts, index);
    });
  }
  const away = make("button", "lz-remove", "×");
  away.type = "button";
  away.setAttribute("aria-label", "Remove " + prompt);
  away.title = "Remove";
  // By keys it is the Delete key on the prompt: fifty labels are not fifty more stops.
  away.tabIndex = -1;
  away.addEventListener("click", () => remove(prompt));
  whole.append(bar, away);
  return whole;
};

bars.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  const choices = allBars().filter((bar) => !bar.disabled);
  const at = choices.indexOf(/** @type {any} */ (document.activeElement));
  if (event.key === "Delete" && at >= 0) return remove(choices[at].dataset.prompt);
  if (!step || at < 0) return;
  event.preventDefault();
  event.stopPropagation();
  const next = choices[(at + step + choices.length) % choices.length];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
});

// As typed, one after the other, and the newest scores.
let typed = [];
/** @type {import("payload").ScoresValue | null} */
let drawn = null;

const hint = () => {
  if (!typed.length) return "Type what the sound might be.";
  if (!drawn) return "Scores appear here once there are a sound and a prompt.";
  if (typed.length > 1) return "Relative to each other. Press one to hear what speaks for it.";
  return "A single prompt always gets 100 %: add others for the classifier to choose between.";
};

const fill = () => {
  const scored = drawn ? drawn.prompts.map((_, index) => index) : [];
  scored.sort((a, b) => drawn.probabilities[b] - drawn.probabilities[a]);
  const old = scored.filter((index) => typed.includes(drawn.prompts[index]));
  const fresh = typed.filter((prompt) => !drawn?.prompts.includes(prompt));
  bars.replaceChildren(
    ...old.map((index) => row(drawn, drawn.prompts[index], index)),
    ...fresh.map((prompt) => row(drawn, prompt, -1)),
  );
  find("part").textContent = "";
  find("hint").textContent = hint();
  if (drawn) mark(drawn.target);
};

// New scores say how the server reads the prompts; no value: they are gone, the prompts stay.
/** @param {import("payload").ScoresValue | null} value */
const draw = (value) => {
  drawn = value?.prompts ? value : null;
  if (drawn) typed = [...drawn.prompts];
  fill();
  bars.scrollTop = 0;
  if (drawn && page.pressed && window.innerWidth < 760) element.scrollIntoView({ behavior: "smooth", block: "start" });
  page.pressed = false;
};

// Other prompts: they are scored at once.
const change = (next) => {
  typed = next;
  fill();
  trigger("score", {});
};
const add = (text) => {
  const next = [...new Set([...typed, ...lines(text)])];
  if (next.length > typed.length) change(next);
};

find("add").addEventListener("submit", (event) => {
  event.preventDefault();
  add(find("add-words").value);
  find("add-words").value = "";
});
// What may be typed: the labels of a classifier that knows no others, or what is often asked.
const suggest = (sentence) => {
  const option = document.createElement("option");
  option.value = sentence;
  return option;
};
element.querySelector("#lz-suggested").append(...props.facts.suggested.map(suggest));
// A list that is pasted is a prompt on each line.
find("add-words").addEventListener("paste", (event) => {
  const text = event.clipboardData.getData("text/plain");
  if (!text.includes("\n")) return;
  event.preventDefault();
  add(text);
});

// All of them as text: Gradio's own field, which holds what is sent to the server.
/** @returns {HTMLTextAreaElement} */
const text = () => document.querySelector("#lz-prompts textarea");
const rail = () => element.closest("#lz-rail");
const showText = (yes) => {
  rail().classList.toggle("lz-texting", yes);
  find("as-text").setAttribute("aria-pressed", String(yes));
  find("as-text").textContent = yes ? "Done" : "Edit as text";
  if (yes) text()?.focus();
};
find("as-text").addEventListener("click", () => showText(!rail().classList.contains("lz-texting")));
const finish = (event) => {
  if (event.target === text() && event.key === "Enter" && (event.ctrlKey || event.metaKey)) text().blur();
};
document.addEventListener("keydown", finish, { signal: gone });
// What was changed there is scored when the field is left. If a press leaves it, what was pressed must not move away under
// the finger: nothing changes before that press is over.
let pressing = false;
let afterPress = null;
const press = (event) => {
  pressing = event.type === "pointerdown";
  if (pressing || !afterPress) return;
  // After the click that belongs to it.
  setTimeout(afterPress);
  afterPress = null;
};
for (const type of ["pointerdown", "pointerup", "pointercancel"]) {
  document.addEventListener(type, press, { capture: true, signal: gone });
}
const leave = (event) => {
  if (event.target !== text()) return;
  const left = () => {
    const next = lines(text().value);
    if (next.join("\n") !== lines(page.asked?.() || "").join("\n")) change(next);
  };
  if (pressing) afterPress = left;
  else left();
};
document.addEventListener("focusout", leave, { signal: gone });

publish({
  mark, heard, add, tint,
  drawn: () => drawn,
  redraw: (value) => draw(value),
  prompts: () => typed.join("\n"),
  score: () => trigger("score", {}),
  typed: (words) => {
    typed = lines(words);
    fill();
  },
});
whenEmptied(() => draw(null));
watch("value", () => page.turn && props.value && props.value.turn === page.turn() && draw(props.value));
draw(props.value);
