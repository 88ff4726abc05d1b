// Every explanation that came in, so that going back to one costs nothing. What is said about an explanation is kept at
// once; its pictures and sounds are fetched when they are first wanted, each of them once. Whichever of two answers is
// fetched sooner, the newest words about an explanation stay.
const REMEMBER = 64;
const SOUND_SECONDS = 300; // of decoded explanations kept in memory

const readTrack = async (file) => {
  const answer = await fetch(file.url);
  if (!answer.ok) throw new Error("sound " + answer.status);
  return decodeWav(await answer.arrayBuffer());
};

// What an explanation answers; its method comes on top.
const sameQuestion = (a, b) => Boolean(a && b) && questionKey(a) === questionKey(b);
const questionKey = ({ clip, domain, prompts, target }) => JSON.stringify([clip, domain, prompts, target]);

class Library {
  constructor() {
    this.records = new Map();
    this.clips = new Map();
  }

  // Keep an answer of the server; a later one about the same explanation may know more.
  keep(payload) {
    const question = { clip: payload.clip.id, domain: payload.domain, prompts: payload.prompts, target: payload.target };
    const key = questionKey(question) + payload.method;
    const known = this.records.get(key);
    if (known) {
      known.payload = payload.metrics ? payload : { ...payload, probability: known.payload.probability, metrics: known.payload.metrics };
      return known;
    }
    const record = { key, question, method: payload.method, payload };
    this.records.set(key, record);
    if (this.records.size > REMEMBER) this.records.delete(this.records.keys().next().value);
    return record;
  }

  find(question, method) {
    return question ? this.records.get(questionKey(question) + method) : undefined;
  }

  // -> { level, mask }
  async picture(record) {
    record.mask ||= once(readGrey(record.payload.mask.url), () => (record.mask = null));
    const [[, level], mask] = await Promise.all([this.clip(record), record.mask]);
    return { level, mask };
  }

  // -> { original, kept, removed }
  async sound(record) {
    const { kept, removed } = record.payload;
    record.sound ||= once(Promise.all([readTrack(kept), readTrack(removed)]), () => (record.sound = null));
    this.forget(record);
    const [[original], tracks] = await Promise.all([this.clip(record), record.sound]);
    return { original, kept: tracks[0], removed: tracks[1] };
  }

  // The recording itself, the same for all prompts and methods of a domain.
  clip({ payload: { clip, domain } }) {
    const key = clip.id + domain;
    if (!this.clips.has(key)) {
      if (this.clips.size > 3) this.clips.delete(this.clips.keys().next().value);
      const parts = Promise.all([readTrack(clip.original), readGrey(clip.spectrogram.url)]);
      this.clips.set(key, once(parts, () => this.clips.delete(key)));
    }
    return this.clips.get(key);
  }

  forget(newest) {
    let seconds = 0;
    for (const record of [...this.records.values()].reverse()) {
      if (!record.sound) continue;
      seconds += record.payload.clip.duration_s;
      if (seconds > SOUND_SECONDS && record !== newest) record.sound = null;
    }
  }
}

// A promise that may be asked for again when it failed.
const once = (promise, failed) => {
  promise.catch(failed);
  return promise;
};
