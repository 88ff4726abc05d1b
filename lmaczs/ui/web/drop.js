// A file, or a piece of text, may be dropped anywhere on the page: a sound goes the way of a chosen one, the lines of a
// text become prompts. `take(file)`: what a sound is given to.
import { gone, page } from "./bus.js";

const MOST_TEXT = 100_000; // bytes
const isText = (file) => file.type === "text/plain" || /\.txt$/i.test(file.name);
const mayDrop = (event) => ["Files", "text/plain"].some((kind) => event.dataTransfer?.types.includes(kind));
// Fields take text themselves; a file that is let go there would open in the place of the page.
const isForField = (event) =>
  !event.dataTransfer.types.includes("Files") && Boolean(event.target.closest?.("textarea, input"));

const receiveDrop = async (carried, take) => {
  const file = carried.files[0];
  if (!file) return page.add?.(carried.getData("text/plain"));
  if (!isText(file)) return take(file);
  if (file.size > MOST_TEXT) return page.say?.(file.name + " is no list of prompts: it has more than 100 kB.");
  page.add?.(await file.text());
};

export const listenToDrops = (show, take) => {
  const on = (kind, action) => document.addEventListener(kind, action, { signal: gone });
  on("dragover", (event) => {
    if (!mayDrop(event) || isForField(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    show(event.dataTransfer.types.includes("Files"));
  });
  on("dragleave", (event) => event.relatedTarget || show(false));
  on("drop", (event) => {
    show(false);
    if (!mayDrop(event) || isForField(event)) return;
    event.preventDefault();
    receiveDrop(event.dataTransfer, take);
  });
};
