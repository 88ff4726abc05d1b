// What is said and drawn of an explanation that is not whole yet.
import { shownTime } from "./axes.js";
import { gapsOf, partial } from "./parts.js";
import { sound } from "./stage.js";
import { find, root, state } from "./state.js";

// The server is told of larger ways only.
const NEAR_S = 1;

// Hatch the picture where nothing is explained yet.
export const tellGaps = () => {
  const gaps = partial(state.shown) ? gapsOf(state.shown) : [];
  const share = (seconds) => (100 * seconds) / state.shown.payload.clip.duration_s + "%";
  find("gaps").replaceChildren(
    ...gaps.map(([from, to]) => {
      const gap = document.createElement("span");
      gap.style.left = share(from);
      gap.style.width = share(to - from);
      return gap;
    }),
  );
};

// Where the server last heard the visitor to be: of which request, and s.
let told = { turn: -1, at: 0 };

/** Have the part under the playhead explained next, if it is not explained yet. */
export const tellPlace = () => {
  const at = sound.position;
  if (!partial(state.shown) || root.dataset.busy !== "yes") return;
  if (told.turn === state.turn && Math.abs(at - told.at) < NEAR_S) return;
  if (!gapsOf(state.shown).some(([from, to]) => at >= from && at < to)) return;
  told = { turn: state.turn, at };
  trigger("move", told);
};

/**
 * What is said of a partial explanation.
 * @param {{ payload: import("payload").Explanation }} record
 */
export const sayParts = ({ payload: { parts, clip } }) => {
  const done = parts.reduce((sum, { samples }) => sum + samples, 0) / clip.sample_rate;
  const time = (seconds) => shownTime(seconds, clip.duration_s);
  const goOn = root.dataset.busy === "yes" ? "" : " Press the prompt to go on.";
  return "Explained so far: " + time(done) + " of " + time(clip.duration_s) + "; the hatched part is not." + goOn;
};
