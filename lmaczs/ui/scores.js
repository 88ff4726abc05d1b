// One bar per prompt, the most probable on top; each is a choice of what to explain.
const MATCHES = { strong: "fits", weak: "may fit", none: "does not fit" };
const PREFIX = "this is the sound of ";
const empty = element.querySelector(".lz-empty");
const ranking = element.querySelector(".lz-ranking");
const bars = element.querySelector(".lz-bars");

const percent = (share) => {
  if (share < 0.001) return "< 0.1 %";
  if (share > 0.999 && share < 1) return "> 99.9 %";
  return (100 * share).toFixed(share < 0.1 || share > 0.99 ? 1 : 0) + " %";
};

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

const mark = (target) => {
  for (const bar of bars.children) {
    const chosen = Number(bar.dataset.index) === target;
    bar.setAttribute("aria-checked", String(chosen));
    bar.tabIndex = chosen ? 0 : -1;
  }
};

// Whether it fits by itself, too: the percentages only compare the prompts with each other.
const words = (value, index, share) => {
  const match = value.match ? MATCHES[value.match[index]] : "";
  return (match ? match + " · " : "") + percent(share);
};

// Show what the classifier says to the part that is heard; no shares: to the whole sound.
const heard = (prompts, shares, part) => {
  const value = drawn;
  if (!value?.prompts || !value.prompts.every((prompt) => prompts.includes(prompt))) return;
  for (const bar of bars.children) {
    const index = Number(bar.dataset.index);
    const own = part && shares ? shares[prompts.indexOf(value.prompts[index])] : null;
    const share = own ?? value.probabilities[index];
    bar.querySelector(".lz-fill").style.setProperty("--share", share);
    bar.querySelector(".lz-percent").textContent = own === null ? words(value, index, share) : percent(own);
  }
  element.querySelector(".lz-part").textContent = part && shares ? "As the classifier hears: " + part.toLowerCase() : "";
};

const row = (value, index) => {
  const prompt = value.prompts[index];
  const share = value.probabilities[index];
  const bar = make("button", "lz-bar");
  bar.type = "button";
  bar.dataset.index = index;
  bar.setAttribute("role", "radio");
  const name = make("span", "lz-name");
  name.dir = "auto";
  if (prompt.startsWith(PREFIX) && prompt.length > PREFIX.length) {
    name.append(make("span", "lz-prefix", PREFIX), prompt.slice(PREFIX.length));
  } else {
    name.textContent = prompt;
  }
  const unit = value.unit === "logit" ? "logit " : "cosine similarity ";
  bar.title = prompt + " · " + unit + value.similarities[index].toFixed(2);
  const fill = make("span", "lz-fill");
  fill.style.setProperty("--share", share);
  bar.append(name, make("span", "lz-percent", words(value, index, share)), fill);
  bar.addEventListener("click", () => {
    mark(index);
    page.ask?.(value.prompts, index);
  });
  return bar;
};

bars.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  const rows = [...bars.children];
  const at = rows.indexOf(document.activeElement);
  if (!step || at < 0) return;
  event.preventDefault();
  event.stopPropagation();
  const next = rows[(at + step + rows.length) % rows.length];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
});

let drawn = null;
const draw = (value) => {
  drawn = value;
  element.querySelector(".lz-part").textContent = "";
  const some = Boolean(value && value.prompts);
  empty.hidden = some;
  ranking.hidden = !some;
  if (!some) return bars.replaceChildren();
  const order = value.prompts.map((_, index) => index);
  order.sort((a, b) => value.probabilities[b] - value.probabilities[a]);
  bars.replaceChildren(...order.map((index) => row(value, index)));
  ranking.querySelector(".lz-hint").textContent =
    value.prompts.length > 1
      ? "Relative to each other. Press one to hear what speaks for it."
      : "A single prompt always gets 100 %: add others for the classifier to choose between.";
  mark(value.target);
  bars.scrollTop = 0;
  if (page.pressed && window.innerWidth < 760) element.scrollIntoView({ behavior: "smooth", block: "start" });
  page.pressed = false;
};
publish({ mark, percent, heard, drawn: () => drawn, redraw: (value) => draw(value) });
whenEmptied(() => draw(null));
watch("value", () => page.turn && props.value && props.value.turn === page.turn() && draw(props.value));
draw(props.value);
