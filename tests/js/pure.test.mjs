// What the player's modules work out without a page.
import assert from "node:assert/strict";
import { test } from "node:test";

import { lines, percent } from "../../lmaczs/ui/web/prompts.js";
import { clock, niceStep, shownTime } from "../../lmaczs/ui/web/player/axes.js";
import { COLOURS, lookup } from "../../lmaczs/ui/web/player/colours.js";
import { asHertz, sayLane } from "../../lmaczs/ui/web/player/lane_words.js";
import { baseOf, isMarked, keyOf } from "../../lmaczs/ui/web/player/method_key.js";
import { stretchesOf } from "../../lmaczs/ui/web/player/strip.js";
import { lostWithout, numbersAsCsv, spread } from "../../lmaczs/ui/web/player/trust.js";

test("a probability is never written as certain, or as nothing", () => {
  const written = [0, 0.0004, 0.012, 0.5, 0.994, 0.9996, 1].map(percent);
  assert.deepEqual(written, ["< 0.1 %", "< 0.1 %", "1.2 %", "50 %", "99.4 %", "> 99.9 %", "100.0 %"]);
});

test("typed lines are prompts, each once, with plain spaces", () => {
  assert.deepEqual(lines("  a dog \n\na   dog\nrain\n"), ["a dog", "rain"]);
});

test("times are seconds, and minutes from a minute on", () => {
  assert.equal(shownTime(4.239, 5), "4.24");
  assert.equal(shownTime(59.96, 600), "0:59.9");
  assert.equal(shownTime(60, 600), "1:00.0");
  assert.equal(clock(75, 15, 600), "1:15");
  assert.equal(clock(2.5, 0.5, 5), "2.5");
});

test("a ruler has no more ticks than there is room for", () => {
  for (const length of [0.3, 5, 47, 600, 3600]) {
    for (const most of [3, 8, 20]) {
      const step = niceStep(length, most);
      assert.ok(length / step <= most || step === 600, `${length} s, ${most} ticks`);
    }
  }
});

test("the key of a method holds its area or its boxes", () => {
  assert.equal(baseOf("grad-cam++@10"), "grad-cam++");
  assert.equal(baseOf("grad-cam++"), "grad-cam++");
  const key = keyOf([{ from: 0.5, to: 1, low: 100, high: 2000 }, { from: 2, to: 2.25, low: 0, high: 16000 }]);
  assert.equal(key, "boxes:0.500-1.000@100.0-2000.0;2.000-2.250@0.0-16000.0");
  assert.ok(isMarked(key));
  assert.equal(baseOf(key), key);
  assert.ok(!isMarked(undefined));
});

test("every colour map goes from its first to its last stop", () => {
  for (const [name, stops] of Object.entries(COLOURS)) {
    const table = lookup(name);
    const hex = (at) => [...table.slice(3 * at, 3 * at + 3)].map((value) => value.toString(16).padStart(2, "0")).join("");
    assert.equal(hex(0), stops[0]);
    assert.equal(hex(255), stops.at(-1));
  }
});

test("labels keep their gap and stay in the frame", () => {
  const places = spread([50, 51, 52, 299, 300], 13, 10, 300);
  const sorted = [...places].sort((a, b) => a - b);
  sorted.slice(1).forEach((place, at) => assert.ok(place - sorted[at] >= 13));
  assert.ok(sorted[0] >= 10 && sorted.at(-1) <= 300);
});

test("what is lost without a part is never less than nothing", () => {
  assert.equal(lostWithout({ original: 0.8, removed: 0.2 }), 0.75);
  assert.equal(lostWithout({ original: 0.8, removed: 0.9 }), 0);
  assert.equal(lostWithout({ original: 0, removed: 0.5 }), 0);
});

test("a table's cell that holds a comma or a quote stays one cell", () => {
  const payload = { metrics: { ad: 1.5, ai: null }, probability: { original: 0.9, kept: 0.8, removed: 0.1 } };
  const rows = [{ method: 'a,"b"', payload }, { method: "not run", payload: undefined }];
  const csv = numbersAsCsv(rows, [{ key: "ad" }, { key: "ai" }]);
  assert.equal(csv.split("\n")[1], '"a,""b""",1.5,,0.9,0.8,0.1');
  assert.equal(csv.split("\n").length, 3);
});

test("a line of scores breaks where nothing sounds", () => {
  const plain = (value) => value;
  assert.deepEqual(stretchesOf([0, 1, 2, 3], [0.1, null, 0.3, 0.4], plain, plain), [[[0, 0.1]], [[2, 0.3], [3, 0.4]]]);
  assert.deepEqual(stretchesOf([0, 1], [null, null], plain, plain), []);
});

const curve = (points, at) => Array.from({ length: points }, (_, i) => at(i / (points - 1)));
const clip = { max_hz: 16000, duration_s: 5 };

test("a component is named by its frequencies and by when it sounds", () => {
  const tone = curve(128, (share) => (Math.abs(16000 * share - 1300) < 130 ? 1 : 0.02));
  const steady = curve(100, () => 0.8);
  assert.equal(sayLane({ pattern: tone, activation: steady }, clip), "tone near 1.3 kHz, all through");
  const hiss = curve(128, (share) => (share > 0.12 && share < 0.8 ? 0.9 : 0));
  const twice = curve(100, (share) => (Math.abs(share - 0.2) < 0.05 || Math.abs(share - 0.7) < 0.05 ? 1 : 0));
  assert.match(sayLane({ pattern: hiss, activation: twice }, clip), /^noise from (1\.9|2) kHz to 12\.\d kHz, 2 times$/);
  const band = curve(128, (share) => (16000 * share > 1000 && 16000 * share < 2500 ? 1 : 0));
  const once = curve(100, (share) => (Math.abs(share - 0.42) < 0.05 ? 1 - Math.abs(share - 0.42) : 0));
  assert.match(sayLane({ pattern: band, activation: once }, clip), /^band from 9\d0 Hz to 2\.\d kHz, near 2\.1 s$/);
  const hum = curve(128, (share) => (share === 0 ? 1 : 0));
  assert.match(sayLane({ pattern: hum, activation: steady }, clip), /^tone near \d+ Hz, all through$/);
  assert.equal(asHertz(996), "1000 Hz");
  assert.equal(asHertz(12000), "12 kHz");
});
