// Sounds, masks and what is kept of them, with as much of a browser as they need.
import assert from "node:assert/strict";
import { before, test } from "node:test";

import { encodeWav } from "../../lmaczs/ui/web/wav.js";
import { envelope } from "../../lmaczs/ui/web/player/envelope.js";
import { Gains } from "../../lmaczs/ui/web/player/gains.js";
import { Library } from "../../lmaczs/ui/web/player/library.js";
import { Mixing } from "../../lmaczs/ui/web/player/mixing.js";
import { gapsOf, grown, joined, stageOf } from "../../lmaczs/ui/web/player/parts.js";
import { Picture, SCALES } from "../../lmaczs/ui/web/player/picture.js";
import { Sound } from "../../lmaczs/ui/web/player/sound.js";

before(() => {
  globalThis.AudioBuffer = class {
    constructor({ length, sampleRate }) {
      Object.assign(this, { length, sampleRate, duration: length / sampleRate, samples: new Float32Array(length) });
    }
    getChannelData() {
      return this.samples;
    }
  };
});

const track = (samples, sampleRate = 1000) => {
  const buffer = new AudioBuffer({ length: samples.length, sampleRate, numberOfChannels: 1 });
  buffer.getChannelData(0).set(samples);
  return buffer;
};

test("a mix is written with 16 bits", async () => {
  const samples = Float32Array.from({ length: 500 }, (_, at) => Math.sin(at / 7));
  const view = new DataView(await encodeWav(samples, 32000).arrayBuffer());
  assert.deepEqual([20, 22, 34].map((at) => view.getUint16(at, true)), [1, 1, 16]);
  assert.equal(view.getUint32(24, true), 32000);
  assert.equal(view.byteLength, 44 + 1000);
  samples.forEach((value, at) => assert.ok(Math.abs(view.getInt16(44 + 2 * at, true) / 32768 - value) <= 1 / 32768));
});

test("what is louder than full scale is written as it is", async () => {
  const view = new DataView(await encodeWav(Float32Array.from([1.5, -0.25]), 8000).arrayBuffer());
  assert.deepEqual([20, 34].map((at) => view.getUint16(at, true)), [3, 32]);
  assert.deepEqual([0, 4].map((at) => view.getFloat32(44 + at, true)), [1.5, -0.25]);
});

test("every scale of frequencies can be read backwards", () => {
  for (const { to, from } of Object.values(SCALES)) {
    for (const hz of [40, 440, 16000]) assert.ok(Math.abs(from(to(hz)) - hz) < 1e-6 * hz);
  }
});

test("a picture says where a frequency stands, and which one stands there", () => {
  const picture = new Picture(null);
  picture.clip = { max_hz: 16000 };
  for (const scale of Object.keys(SCALES)) {
    picture.look.scale = scale;
    assert.ok(Math.abs(picture.share(16000) - 1) < 1e-9);
    assert.ok(Math.abs(picture.hz(picture.share(1000)) - 1000) < 1e-6);
  }
});

test("colours are mixed once for all pictures that look alike", () => {
  const made = [new Picture(null), new Picture(null)].map((picture) => {
    Object.assign(picture, { clip: { floor_db: -70 }, ends: [0.1, 0.9] });
    return (track, name = "grey") => picture.palette(new Uint8Array(768).fill(200), name, track);
  });
  const [one, other] = made;
  assert.equal(one("original"), other("original"));
  assert.notEqual(one("original"), one("kept"));
  // A cell that is not kept is not heard: as dark as the quietest one.
  assert.equal(one("kept")[255], one("kept")[0]);
  assert.notEqual(one("kept")[(255 << 8) | 255], one("kept")[0]);
  for (let number = 0; number < 20; number++) one("original", "name " + number);
  assert.notEqual(one("original"), undefined);
});

test("an envelope holds the ends of each part, and no part is left out", () => {
  const samples = Float32Array.from([0, 0.5, -0.25, 1, -1, 0.125]);
  assert.deepEqual([...envelope(samples, 3)], [0, 0.5, -0.25, 1, -1, 0.125]);
  // More columns than samples: each shows the one that it stands for.
  const wide = envelope(Float32Array.from([0.5, -0.5]), 4);
  assert.deepEqual([...wide], [0, 0.5, 0, 0.5, -0.5, 0, -0.5, 0]);
});

test("a loop stays within its part", () => {
  const sound = new Sound(() => {}, () => ({}));
  sound.tracks = { original: track(new Float32Array(4000)) };
  sound.region = [1, 2];
  sound.looping = true;
  sound.context = { currentTime: 0, outputLatency: 0 };
  sound.voice = { when: 0, from: 1.5 };
  for (const [now, position] of [[0.25, 1.75], [0.5, 1], [3.75, 1.25]]) {
    sound.context.currentTime = now;
    assert.ok(Math.abs(sound.position - position) < 1e-9, `${sound.position} after ${now} s`);
  }
});

test("every mix is as loud as the original, and never clipped", () => {
  const sound = new Sound(() => {}, (choice) => ({ [choice]: 1 }));
  sound.tracks = { original: track(Float32Array.from([0.5, -0.5])), kept: track(Float32Array.from([0.05, -0.05])), removed: track(Float32Array.from([0.9, 0])) };
  sound.levels = new Map();
  assert.ok(Math.abs(sound.factor({ kept: 1 }) - 10) < 1e-5);
  assert.ok(0.9 * sound.factor({ removed: 1 }) <= 1 + 1e-6);
});

test("masks of components add up to the mask of all", () => {
  const mixing = new Mixing({ threshold: 0.2, more: null, lanes: [{ relevance: 0.5 }, { relevance: 0.1 }] });
  const gains = new Gains({ rows: 2, columns: 2, grey: Uint8Array.from([100, 50, 20, 30]) }, mixing.parts);
  assert.deepEqual([...gains.sum(mixing.gains("kept"))], [100, 50]);
  assert.deepEqual([...gains.sum(mixing.gains("removed"))], [155, 205]);
  mixing.alone("component-2");
  assert.deepEqual([...gains.sum(mixing.gains("kept"))], [20, 30]);
});

const explained = (parts, seconds = 4) => ({
  payload: { parts, clip: { id: "a", duration_s: seconds, sample_rate: 1000 }, domain: "stft", prompts: ["rain"], target: 0, method: "lmac-any" },
});

test("what is not explained yet lies between the parts, in whichever order they came", () => {
  const record = explained([{ start: 2000, samples: 1000 }, { start: 0, samples: 1000 }]);
  assert.deepEqual(gapsOf(record), [[1, 2], [3, 4]]);
  assert.equal(stageOf(record), 2);
  assert.equal(stageOf({ payload: {} }), Infinity);
  assert.deepEqual(joined([{ start: 2000 }], [{ start: 2000 }, { start: 0 }]).map(({ start }) => start), [2000, 0]);
});

test("parts come into one mask and one sound, and the rest is what they leave", async () => {
  const original = track(Float32Array.from({ length: 4 }, (_, at) => (at + 1) / 8));
  const record = explained([{ start: 2, samples: 2, column: 1, mask: {}, kept: {} }]);
  const piece = [{ rows: 1, columns: 1, grey: Uint8Array.of(200) }, track(Float32Array.of(0.125, 0.25))];
  record.pieces = new Map([[2, Promise.resolve(piece)]]);
  const { mask, kept, removed } = await grown(record, [original, { rows: 1, columns: 2 }]);
  assert.deepEqual([...mask.grey], [0, 200]);
  assert.deepEqual([...kept.getChannelData(0)], [0, 0, 0.125, 0.25]);
  assert.deepEqual([...removed.getChannelData(0)], [0, 0, 0.25, 0.25]);
});

test("what is known of an explanation is never forgotten by an older answer", () => {
  const library = new Library();
  const { payload } = explained(undefined);
  library.keep({ ...payload, metrics: { ad: 1 }, probability: { kept: 1 }, verdict: { key: "both" } });
  const record = library.keep({ ...payload, metrics: null, probability: null, verdict: null });
  assert.deepEqual(record.payload.metrics, { ad: 1 });
  assert.equal(library.records.size, 1);
  const whole = library.keep({ ...payload, parts: [] });
  assert.equal(whole.payload.parts, undefined);
});
