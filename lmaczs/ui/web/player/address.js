// Which example and prompt are on screen stands in the address, so that a link leads to them. A visitor's own sound
// and words never get there.
import { gone, page } from "../bus.js";
import { isMarked } from "./method_key.js";
import { find, state } from "./state.js";
import { announce } from "./words.js";

/** @returns {HTMLButtonElement[]} */
const examples = () => [.../** @type {any} */ (document.querySelectorAll("#lz-tries button"))];
// Numbers as people count; null: not an example, or not said. `plays`: it was pressed by hand, and is played once it is there.
export const address = { example: null, pressed: null, plays: false, wish: { example: null, prompt: null } };

const readAddress = () => {
  const said = new URLSearchParams(location.search);
  const number = (name) => (/^[1-9]\d?$/.test(said.get(name) || "") ? Number(said.get(name)) : null);
  return { example: number("example"), prompt: number("prompt") };
};

export const writeAddress = () => {
  const target = new URL(location.href);
  const own = address.example !== null && state.shown && !isMarked(state.shown.method);
  const values = { example: address.example, prompt: own ? state.shown.payload.target + 1 : null };
  for (const [name, value] of Object.entries(values)) {
    if (value === null) target.searchParams.delete(name);
    else target.searchParams.set(name, value);
  }
  if (target.href !== location.href) history.replaceState(history.state, "", target);
  find("get-link").hidden = address.example === null;
};

// Another sound is coming: that of the example that was just pressed, or the visitor's own.
export const leaveExample = () => {
  address.example = address.pressed;
  address.plays = address.plays && address.pressed !== null;
  address.pressed = null;
  if (address.example !== address.wish.example) address.wish = { example: null, prompt: null };
  writeAddress();
};

// What the address asked for, once it can be answered; true if the prompt is another one.
export const followAddress = () => {
  const { example, prompt } = address.wish;
  if (example === null || example !== address.example || !state.shown) return false;
  address.wish = { example: null, prompt: null };
  const { prompts, target } = state.shown.payload;
  if (prompt === null || prompt > prompts.length || prompt - 1 === target) return false;
  page.ask(prompts, prompt - 1);
  return true;
};

export const openAddress = () => {
  const { example } = address.wish;
  if (example === null || example === address.example) return;
  if (examples()[example - 1]) examples()[example - 1].click();
  else address.wish = { example: null, prompt: null };
};

const copyLink = async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    announce("The link to this example was copied.", true);
  } catch {
    announce("The link is in the address line: copy it there.", true);
  }
};

export const listenToExamples = () => {
  address.wish = readAddress();
  // Before Gradio hears of it.
  const press = (event) => {
    const number = examples().indexOf(event.target.closest("#lz-tries button")) + 1;
    if (!number) return;
    address.pressed = number;
    // A link does not sound by itself.
    address.plays = event.isTrusted;
  };
  document.addEventListener("click", press, { capture: true, signal: gone });
  find("get-link").addEventListener("click", () => copyLink());
};
