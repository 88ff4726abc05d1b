// What stands on the stage: one picture, one sound, and everything that is drawn beside them.
import { sayOf } from "./beside.js";
import { Blind, listener } from "./blind.js";
import { Compare } from "./compare.js";
import { Faithfulness } from "./faithfulness.js";
import { Lanes } from "./lanes.js";
import { Picture } from "./picture.js";
import { hear } from "./requests.js";
import { Sound } from "./sound.js";
import { facts, find } from "./state.js";
import { Strip } from "./strip.js";
import { Trust } from "./trust.js";
import { remix, render } from "./view.js";
import { label } from "./words.js";

const seekTo = (share) => sound.seek(share * sound.duration);

export const picture = new Picture(find("picture"), [find("colourbar")]);
export const sound = new Sound(() => render(), (choice) => lanes.mix(choice));
export const lanes = new Lanes(find, {
  choice: () => sound.active,
  changed: () => remix(),
  seek: (share) => seekTo(share),
});
export const compare = new Compare(
  { grid: find("grid"), bar: find("rampbar"), extent: find("extent") },
  picture.look,
  (method) => hear(method),
  seekTo,
  (row) => sayOf(row),
);
export const beside = new Compare({ grid: find("cards"), name: "lz-card" }, picture.look, (method) => hear(method), seekTo, (row) => sayOf(row));
export const blind = new Blind(find, facts.blind, {
  label: (method) => label(method),
  begins: () => sound.playing && sound.pause(),
  keep: (rated) => trigger("rate", { listener: listener(), ...rated }),
});
export const trust = new Trust(find("trust"), facts.limits);
export const strip = new Strip(find("strip-lines"), find("strip-words"));
export const faithfulness = new Faithfulness(find("numbers"), find("source"), facts);
