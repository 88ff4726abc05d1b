// What a component is, in words: which frequencies it holds, and when it sounds.

// Of the strongest frequency, and of the loudest moment: what is weaker does not count.
const HEARD = 0.5;
const SOUNDS = 0.3;
// Width in octaves up to which a component is a tone, and from which it is a noise.
const TONE = 0.5;
const NOISE = 2;
const THROUGH = 0.6;

/** 1300 -> "1.3 kHz", 440 -> "440 Hz". @param {number} hz */
export const asHertz = (hz) => (hz >= 1000 ? Number((hz / 1000).toFixed(1)) + " kHz" : Math.round(hz / 10) * 10 + " Hz");

/**
 * @param {number[]} pattern over frequencies from 0 to max_hz
 * @param {number} max_hz
 */
const sayFrequencies = (pattern, max_hz) => {
  const most = Math.max(...pattern);
  const heard = pattern.flatMap((value, at) => (value >= HEARD * most ? [(max_hz * at) / (pattern.length - 1)] : []));
  const step = max_hz / (pattern.length - 1);
  const [low, high] = [Math.max(heard[0] - step / 2, step / 4), heard.at(-1) + step / 2];
  const peak = asHertz(Math.max((max_hz * pattern.indexOf(most)) / (pattern.length - 1), step / 2));
  const octaves = Math.log2(high / low);
  // Two narrow places far from one another are tones, too.
  const filled = (heard.length * step) / (high - low);
  if (octaves <= TONE || heard.length <= 2 || (filled < 0.4 && heard.length <= 4)) return "tone near " + peak;
  return (octaves >= NOISE ? "noise" : "band") + " from " + asHertz(low) + " to " + asHertz(high);
};

/**
 * @param {number[]} activation over time
 * @param {number} duration_s
 */
const sayTimes = (activation, duration_s) => {
  const most = Math.max(...activation);
  const sounds = activation.map((value) => value >= SOUNDS * most);
  const share = sounds.filter(Boolean).length / sounds.length;
  if (share >= THROUGH) return "all through";
  const bursts = sounds.filter((on, at) => on && !sounds[at - 1]).length;
  if (bursts > 1) return bursts + " times";
  return "near " + ((duration_s * activation.indexOf(most)) / (activation.length - 1)).toFixed(1) + " s";
};

/**
 * "tone near 1.3 kHz, all through"
 * @param {{ pattern: number[], activation: number[] }} lane
 * @param {{ max_hz: number, duration_s: number }} clip
 */
export const sayLane = ({ pattern, activation }, { max_hz, duration_s }) =>
  sayFrequencies(pattern, max_hz) + ", " + sayTimes(activation, duration_s);
