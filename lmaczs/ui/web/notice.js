// One sentence about what did not work; `refused` says what of the request it was: "sound", "question", or nothing where the
// sentence is only worth knowing.
import { page, publish, whenEmptied } from "./bus.js";

/** @type {HTMLElement} */
const line = element.querySelector(".lz-notice");
const say = (message) => {
  line.textContent = message;
  line.hidden = !message;
};
publish({ say });
whenEmptied(() => say(""));
watch("value", () => {
  /** @type {import("payload").NoticeValue} */
  const value = props.value;
  if (!page.turn || !value || value.turn !== page.turn()) return;
  say(value.message);
  page.refused?.(value.refused ? value.message : "", value.refused === "sound");
});
