// The key of a method says whether it is a person's own boxes, and the area that it is cut to.
const BOXES = "boxes:"; // as in drawn_mask.py

export const isMarked = (method) => Boolean(method?.startsWith(BOXES));
export const keyOf = (boxes) =>
  BOXES + boxes.map(({ from, to, low, high }) => [from, to].map((s) => s.toFixed(3)).join("-") + "@" + [low, high].map((hz) => hz.toFixed(1)).join("-")).join(";");

// "grad-cam++@10" is the strongest 10 % of the cells of "grad-cam++", as in area_key.py.
export const baseOf = (method) => (isMarked(method) || !method ? method : method.replace(/@\d+$/, ""));
