// An explanation of a long recording comes part by part. Each part is fetched once, and put into one picture and one sound
// as long as the recording; what is not explained yet has no mask, and is silent but in the original.
import { once, readTrack } from "./library.js";
import { readGrey } from "./picture.js";

export const partial = (record) => Boolean(record?.payload.parts);
export const complete = (record) => (partial(record) ? undefined : record);
/**
 * How far a record is.
 * @param {{ payload: import("payload").Explanation }} record
 */
export const stageOf = ({ payload }) => (payload.parts ? payload.parts.length : Infinity);

/**
 * What is begun again after a stop brings parts that are here already.
 * @param {import("payload").Part[]} known
 * @param {import("payload").Part[]} fresh
 */
export const joined = (known, fresh) => [...known, ...fresh.filter(({ start }) => !known.some((part) => part.start === start))];

const pieceOf = (record, { start, mask, kept }) => {
  const { pieces } = record;
  if (!pieces.has(start)) {
    const files = Promise.all([readGrey(mask.url), readTrack(kept, record.payload.clip.sample_rate)]);
    pieces.set(start, once(files, () => pieces.delete(start)));
  }
  return pieces.get(start);
};

const emptyTrack = ({ length, sampleRate }) => new AudioBuffer({ length, sampleRate, numberOfChannels: 1 });

// Two parts may share a column: each has its own frames of it.
const addColumns = (mask, { rows, columns, grey }, first) => {
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const at = row * mask.columns + first + column;
      mask.grey[at] = Math.min(mask.grey[at] + grey[row * columns + column], 255);
    }
  }
};

/**
 * What the parts are put into; `placed`: first samples of those that are in it.
 * @typedef {{ mask: import("./picture.js").Grey, kept: AudioBuffer, removed: AudioBuffer, placed: Set<number> }} Grown
 */
/**
 * The parts of a record that are here, put together.
 * @param {import("./library.js").ExplanationRecord} record
 * @param {[AudioBuffer, import("./picture.js").Grey]} clip the recording, and its level
 * @returns {Promise<Grown>}
 */
export const grown = async (record, [original, { rows, columns }]) => {
  record.pieces ||= new Map();
  record.grown ||= {
    mask: { rows, columns, grey: new Uint8Array(rows * columns) },
    kept: emptyTrack(original),
    removed: emptyTrack(original),
    placed: new Set(),
  };
  const whole = record.grown;
  const { parts } = record.payload;
  const pieces = await Promise.all(parts.map((part) => pieceOf(record, part)));
  parts.forEach(({ start, column }, at) => {
    if (whole.placed.has(start)) return;
    whole.placed.add(start);
    const [picture, sound] = pieces[at];
    // Another picture, so that whoever keeps the former one sees that it is new.
    whole.mask = { ...whole.mask };
    addColumns(whole.mask, picture, column);
    const samples = sound.getChannelData(0);
    const rest = original.getChannelData(0).slice(start, start + samples.length);
    samples.forEach((value, i) => (rest[i] -= value));
    whole.kept.getChannelData(0).set(samples, start);
    whole.removed.getChannelData(0).set(rest, start);
  });
  return whole;
};

export const forgetParts = (record) => (record.pieces = record.grown = null);

/**
 * What is not explained yet.
 * @param {{ payload: import("payload").Explanation }} record
 * @returns {[number, number][]} from, to in s
 */
export const gapsOf = ({ payload: { parts, clip } }) => {
  const spans = parts.map(({ start, samples }) => [start / clip.sample_rate, (start + samples) / clip.sample_rate]);
  const ends = [...spans.sort((a, b) => a[0] - b[0]), [clip.duration_s, clip.duration_s]];
  let before = 0;
  /** @type {[number, number][]} */
  const gaps = ends.map(([from, to]) => {
    /** @type {[number, number]} */
    const gap = [before, from];
    before = Math.max(before, to);
    return gap;
  });
  return gaps.filter(([from, to]) => to - from > 0.01);
};
