// From what the server answers to what is on screen, and back to an empty page.
import { page } from "../bus.js";
import { address, followAddress, writeAddress } from "./address.js";
import { tellArea } from "./beside.js";
import { tellGaps } from "./gaps.js";
import { play } from "./hands.js";
import { remember, tellPast } from "./history.js";
import { forgetMarks } from "./marks.js";
import { askMore, overlay } from "./overlay.js";
import { partial, stageOf } from "./parts.js";
import { halt, settle } from "./requests.js";
import { forgetSpan } from "./span.js";
import { lanes, picture, sound, strip } from "./stage.js";
import { library, root, state } from "./state.js";
import { redraw } from "./view.js";
import { announce, fileName, label, refresh, saveBlob } from "./words.js";

/**
 * Keep a file of the server, under a name that tells the recording.
 * @param {import("payload").ServedFile} file
 */
const saveFile = async ({ url, path }) => {
  const answer = await fetch(url).catch(() => null);
  if (answer?.ok) saveBlob(await answer.blob(), fileName(path.split("/").pop()));
  else announce("The file could not be fetched: try it again.", true);
};

// A value holds everything that its request has found so far, so it does not matter if one is passed over.
export const receive = () => {
  /** @type {import("payload").PlayerValue} */
  const value = props.value;
  if (!value) return;
  if (value.methods && !value.stored) ({ methods: state.methods, closed: state.closed } = value);
  const records = (value.results || []).map((payload) => library.keep(payload));
  for (const payload of value.controls || []) library.keep(payload);
  if (value.over_time) strip.keep(value.over_time);
  if (value.stored) {
    // It is shown once Gradio has the sound, too.
    state.stored = { turn: value.turn, record: records[0] };
  } else if (value.turn === state.turn) {
    if (value.archive) return saveFile(value.archive);
    const next = state.wanted === "first" ? records[0] : records.find(({ key }) => key === state.wanted);
    if (next && (next !== state.shown || stageOf(next) !== next.stage)) show(next);
  }
  refresh();
};

// `back`: it is returned to, and is in the history already.
export const show = async (record, back = false) => {
  state.wanted = record.key;
  state.arriving = record;
  const mine = state.turn;
  const stage = stageOf(record);
  try {
    const parts = [library.picture(record), library.sound(record), library.gains(record)];
    const [{ level, mask }, tracks, gains] = await Promise.all(parts);
    // The visitor may have gone on meanwhile.
    if (state.turn !== mine || state.wanted !== record.key) return arrived(record);
    const grows = record === state.shown && !back;
    // What has more parts may have been fetched sooner.
    if (grows && stage < record.stage) return arrived(record);
    const same = state.shown && state.shown.payload.clip.id === record.payload.clip.id;
    // Boxes belong to a sound; those of a state that is returned to are there already.
    if (!same && !back) forgetMarks();
    state.shown = record;
    record.stage = stage;
    state.question = record.question;
    lanes.load(record, mask, gains);
    sound.load(tracks, same);
    tellGaps();
    if (grows && partial(record)) {
      // The same picture under another mask, which is drawn by what follows.
      refresh();
      redraw();
      return arrived(record);
    }
    picture.load(record.payload.clip, level, mask);
    overlay.key = null;
    page.mark?.(record.payload.target);
    root.dataset.ready = "yes";
    if (!same) forgetSpan();
    const { prompts, target, evidence, verdict } = record.payload;
    announce(label(record.method) + " explains " + prompts[target] + (evidence === "absent" ? ". " + verdict.words : ""));
    refresh();
    redraw();
    if (followAddress()) return arrived(record);
    if (address.plays) play();
    address.plays = false;
    if (!back) remember(record);
    writeAddress();
    arrived(record);
    if (!state.pending) askMore();
  } catch {
    arrived(record);
    if (state.turn === mine) announce("The explanation could not be loaded: press its prompt to make it again.", true);
  }
};

// The last answer of a request may have come before what it brought could be shown.
const arrived = (record) => {
  if (state.arriving !== record) return;
  state.arriving = null;
  if (!state.pending && root.dataset.busy === "yes") settle();
};

export const clear = () => {
  halt();
  state.shown = state.question = state.area = null;
  tellArea();
  tellGaps();
  forgetMarks();
  sound.clear();
  lanes.clear();
  picture.clear();
  root.dataset.ready = "empty";
  tellPast();
  refresh();
  return state.turn;
};

// The sound stays, and so do its prompts' rows; what was found about another sound goes. Undo brings it back.
export const emptyStage = () => {
  clear();
  page.redraw?.(null);
};
// Gradio answers whatever began: this is what has nothing to do.
export const passOver = () => {
  state.pending++;
  return -1;
};
