// Every explanation that came in, so that going back to one costs nothing. What is said about an explanation is kept at
// once; its pictures and sounds are fetched when they are first wanted, each of them once. Whichever of two answers is
// fetched sooner, the newest words about an explanation stay.
import { TINTS, rgbOf } from "./colours.js";
import { MORE, REST, componentAt } from "./mixing.js";
import { forgetParts, grown, joined, partial } from "./parts.js";
import { readGrey } from "./picture.js";

/**
 * What is explained: one prompt, by its index, of a recording, by its id (null: not named yet).
 * @typedef {{ clip: string | null, domain: string, prompts: string[], target: number }} Question
 */
/**
 * An explanation and what was fetched of it; what was not, or is no longer kept, is missing or null.
 * @typedef {object} ExplanationRecord
 * @property {string} key
 * @property {Question} question
 * @property {string} method
 * @property {import("payload").Explanation} payload
 * @property {Promise<import("./picture.js").Grey> | null} [mask]
 * @property {Promise<Record<string, AudioBuffer>> | null} [sound]
 * @property {Promise<import("./picture.js").Grey> | null} [gains] of its components
 * @property {import("./mixing.js").Mixing} [mixing] as the visitor left it
 * @property {number} [stage] how much of it is on screen, as `stageOf`
 * @property {Map<number, Promise<any>> | null} [pieces] of parts, by their first samples
 * @property {import("./parts.js").Grown | null} [grown] what the parts are put into
 */

const REMEMBER = 64;
const SOUND_SECONDS = 300; // of decoded explanations of two tracks kept in memory

/**
 * A sound of the server, as it is: what the browser knows to read, at the rate that it has.
 * @param {import("payload").ServedFile} file
 * @param {number} sampleRate
 * @returns {Promise<AudioBuffer>}
 */
export const readTrack = async (file, sampleRate) => {
  const answer = await fetch(file.url);
  if (!answer.ok) throw new Error("sound " + answer.status);
  // Unlike one that plays, it needs no click before.
  const reader = new OfflineAudioContext({ numberOfChannels: 1, length: 1, sampleRate });
  return reader.decodeAudioData(await answer.arrayBuffer());
};

// What an explanation answers; its method comes on top.
export const sameQuestion = (a, b) => Boolean(a && b) && questionKey(a) === questionKey(b);
export const questionKey = ({ clip, domain, prompts, target }) => JSON.stringify([clip, domain, prompts, target]);

const hasLanes = ({ payload }) => Boolean(payload.lanes?.lanes);

// What is played of an explanation besides the recording: [name, file].
const partsOf = (record) => {
  const { kept, lanes } = record.payload;
  if (!hasLanes(record)) return [["kept", kept]];
  const parts = lanes.lanes.map(({ sound }, at) => [componentAt(at), sound]);
  return lanes.more ? [...parts, [MORE, lanes.more]] : parts;
};

// What no part holds: with it they add up to the original.
const restOf = (original, components) => {
  const { length, sampleRate } = original;
  const rest = new AudioBuffer({ length, sampleRate, numberOfChannels: 1 });
  const samples = rest.getChannelData(0);
  samples.set(original.getChannelData(0));
  for (const component of components) component.getChannelData(0).forEach((value, i) => (samples[i] -= value));
  return rest;
};

export class Library {
  constructor() {
    /** @type {Map<string, ExplanationRecord>} */
    this.records = new Map();
    /** @type {Map<string, Promise<[AudioBuffer, import("./picture.js").Grey]>>} */
    this.clips = new Map();
  }

  /**
   * Keep an answer of the server; a later one about the same explanation may know more.
   * @param {import("payload").Explanation | import("payload").Control} answer
   * @returns {ExplanationRecord}
   */
  keep(answer) {
    // A control has no files, and is never shown.
    const payload = /** @type {import("payload").Explanation} */ (answer);
    const question = { clip: payload.clip.id, domain: payload.domain, prompts: payload.prompts, target: payload.target };
    const key = questionKey(question) + payload.method;
    const known = this.records.get(key);
    if (known) {
      const { probability, metrics, verdict, parts } = known.payload;
      if (payload.parts) {
        if (parts) known.payload = { ...payload, parts: joined(parts, payload.parts) };
        return known;
      }
      if (parts) forgetParts(known);
      known.payload = payload.metrics ? payload : { ...payload, probability, metrics, verdict };
      return known;
    }
    const record = { key, question, method: payload.method, payload };
    this.records.set(key, record);
    if (this.records.size > REMEMBER) this.records.delete(this.records.keys().next().value);
    return record;
  }

  /**
   * @param {Question | null} question
   * @param {string} method
   */
  find(question, method) {
    return question ? this.records.get(questionKey(question) + method) : undefined;
  }

  // -> { level, mask }
  async picture(record) {
    if (partial(record)) {
      const clip = await this.clip(record);
      return { level: clip[1], mask: (await grown(record, clip)).mask };
    }
    record.mask ||= once(readGrey(record.payload.mask.url), () => (record.mask = null));
    const [[, level], mask] = await Promise.all([this.clip(record), record.mask]);
    return { level, mask };
  }

  // -> { original, kept, removed }, or the original and its parts where the explanation has components
  async sound(record) {
    if (partial(record)) {
      const clip = await this.clip(record);
      const { kept, removed } = await grown(record, clip);
      this.forget(record);
      return { original: clip[0], kept, removed };
    }
    record.sound ||= once(this.parts(record), () => (record.sound = null));
    this.forget(record);
    const [[original], parts] = await Promise.all([this.clip(record), record.sound]);
    return { original, ...parts };
  }

  async parts(record) {
    const files = partsOf(record);
    const { sample_rate } = record.payload.clip;
    const buffers = await Promise.all(files.map(([, file]) => readTrack(file, sample_rate)));
    const parts = Object.fromEntries(files.map(([name], at) => [name, buffers[at]]));
    parts[hasLanes(record) ? REST : "removed"] = restOf((await this.clip(record))[0], buffers);
    return parts;
  }

  // Gains of the components, below one another; null where there are none.
  async gains(record) {
    if (!hasLanes(record)) return null;
    record.gains ||= once(readGrey(record.payload.lanes.gains.url), () => (record.gains = null));
    return record.gains;
  }

  /**
   * A mask in a colour of its own for each of the most relevant components that count; null where there are none.
   * @param {ExplanationRecord} record
   * @returns {Promise<{ mask: import("./picture.js").Grey, rgb: number[] }[] | null>}
   */
  async layers(record) {
    const stacked = await this.gains(record);
    if (!stacked) return null;
    const { lanes, more, threshold } = /** @type {any} */ (record.payload.lanes);
    const rows = stacked.rows / (lanes.length + (more ? 1 : 0));
    const cells = rows * stacked.columns;
    const counted = lanes.filter(({ relevance }) => relevance > threshold).length;
    return TINTS.slice(0, counted).map(([, hex], at) => ({
      mask: { rows, columns: stacked.columns, grey: stacked.grey.subarray(at * cells, (at + 1) * cells) },
      rgb: rgbOf(hex),
    }));
  }

  // The recording itself, the same for all prompts and methods of a domain.
  clip({ payload: { clip, domain } }) {
    const key = clip.id + domain;
    if (!this.clips.has(key)) {
      if (this.clips.size > 3) this.clips.delete(this.clips.keys().next().value);
      const parts = Promise.all([readTrack(clip.original, clip.sample_rate), readGrey(clip.spectrogram.url)]);
      this.clips.set(key, once(parts, () => this.clips.delete(key)));
    }
    return this.clips.get(key);
  }

  forget(newest) {
    let seconds = 0;
    for (const record of [...this.records.values()].reverse()) {
      if (!record.sound && !record.grown) continue;
      seconds += record.payload.clip.duration_s * (partsOf(record).length + 1) / 2; // two tracks, if it has no components
      if (seconds <= SOUND_SECONDS || record === newest) continue;
      record.sound = record.gains = null;
      forgetParts(record);
    }
  }
}

// A promise that may be asked for again when it failed.
export const once = (promise, failed) => {
  promise.catch(failed);
  return promise;
};
