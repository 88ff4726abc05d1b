// The share of every cell that each component lets through, from one grey picture with the components' below one another.
// Whatever is heard, its mask is a sum of them: the rest is what they leave.
import { REST } from "./mixing.js";

export class Gains {
  // `parts`: names of the components, in the order of the picture, and of the rest.
  constructor({ rows, columns, grey }, parts) {
    this.parts = parts;
    this.grey = grey;
    this.cells = (rows / (parts.length - 1)) * columns;
  }

  // Part -> 0 or 1 => the mask, 255 = kept.
  sum(gains) {
    const mask = new Uint8Array(this.cells);
    const rest = gains[REST]; // all but the components that are not heard
    if (rest) mask.fill(255);
    this.parts.slice(0, -1).forEach((part, at) => {
      const sign = gains[part] - rest;
      if (!sign) return;
      const own = this.grey.subarray(at * this.cells, (at + 1) * this.cells);
      for (let i = 0; i < mask.length; i++) mask[i] += sign * own[i];
    });
    return mask;
  }
}
