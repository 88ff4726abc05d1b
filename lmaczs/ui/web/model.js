// The choice of the classifier. What is chosen is in use once the server says so; until then everything goes on as before.
import { atTheEnd, gone, page, publish } from "./bus.js";

/** @type {HTMLElement} */
const root = element.querySelector(".lz-model");
/** @returns {any} HTMLElement of a kind that its reader knows */
const find = (name) => root.querySelector(".lz-model-" + name);
const { choices, embedded } = props.facts;
const known = (key) => choices.find((choice) => choice.key === key);

let current = props.facts.default;
// What is being loaded.
let wanted = null;
// Of the choices: what comes late, for an older one, is not shown.
let turn = 0;

const size = (mb) => (mb >= 1000 ? (mb / 1000).toFixed(1) + " GB" : mb + " MB");
const origin = ({ download_mb }) => (download_mb ? size(download_mb) + ", fetched at the first use" : "embedded");
const about = (choice) =>
  choice.labels ? "takes its own " + choice.labels + " labels only" : origin(choice) + " · " + choice.licence;

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

const item = (choice) => {
  const button = make("button", "lz-model-item");
  button.type = "button";
  button.dataset.key = choice.key;
  button.setAttribute("role", "radio");
  const explained = choice.decoder ? "with LMAC-ZS" : "with Universal LMAC";
  button.append(make("b", "", choice.label), make("span", "", about(choice)), make("span", "", explained));
  button.addEventListener("click", () => choose(choice.key));
  return button;
};
find("list").append(...choices.map(item));

const open = (yes) => {
  find("list").hidden = !yes;
  find("open").setAttribute("aria-expanded", String(yes));
};

const fill = () => {
  const choice = known(current);
  root.querySelector("#lz-model-name").textContent = choice.label;
  find("about").textContent = about(choice);
  find("about").hidden = Boolean(wanted);
  find("work").hidden = !wanted;
  for (const button of find("list").children) {
    const chosen = button.dataset.key === current;
    button.setAttribute("aria-checked", String(chosen));
    button.tabIndex = chosen ? 0 : -1;
    button.classList.toggle("lz-model-coming", button.dataset.key === wanted);
  }
  root.dataset.key = current;
  root.dataset.state = wanted ? "loading" : "ready";
  page.averages = current === embedded;
  const decoder = find("decoder");
  decoder.hidden = choice.decoder || current === embedded;
  decoder.textContent =
    "No decoder was trained for " + choice.label + " alone: Universal LMAC explains it, one decoder for every classifier.";
};

const say = (message) => {
  find("failed").textContent = message;
  find("failed").hidden = !message;
};

const work = (share, message) => {
  find("share").value = share;
  const percent = share > 0 && share < 1 ? " · " + Math.floor(100 * share) + " %" : "";
  find("message").textContent = message ? message.charAt(0).toUpperCase() + message.slice(1) + percent : "";
};

const choose = (key) => {
  open(false);
  find("open").focus();
  say("");
  if (key === (wanted || current)) return;
  turn++;
  wanted = key === current ? null : key;
  work(0, "");
  fill();
  trigger("choose", { key, turn });
};

const receive = () => {
  const value = props.value;
  if (!value || value.turn !== turn) return;
  if (value.state === "loading") return work(value.share, value.message);
  const before = current;
  wanted = null;
  if (value.state === "failed") say(value.message);
  if (value.state === "ready") current = value.key;
  fill();
  if (current === before || !page.clear) return;
  // The sound and the prompts stay; what was found about them was another classifier's work.
  page.clear();
  page.forget?.();
  page.score?.();
};

publish({
  modelFailed: () => {
    wanted = null;
    fill();
    say("Something went wrong on the server: try it again.");
  },
});

find("open").addEventListener("click", () => {
  open(find("list").hidden);
  if (!find("list").hidden) find("list").querySelector('[aria-checked="true"]').focus();
});
find("cancel").addEventListener("click", () => choose(current));
find("list").addEventListener("keydown", (event) => {
  const items = [...find("list").children];
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (event.key === "Escape") {
    open(false);
    find("open").focus();
  } else if (step) {
    items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
  } else return;
  event.preventDefault();
  event.stopPropagation();
});
document.addEventListener("pointerdown", (event) => root.contains(/** @type {Node} */ (event.target)) || open(false), { signal: gone });

atTheEnd(() => delete page.averages);
watch("value", receive);
fill();
