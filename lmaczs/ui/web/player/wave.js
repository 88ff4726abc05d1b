// The waveform under the picture: the original, and in front of it what is heard.
import { envelope } from "./envelope.js";
import { lanes, sound } from "./stage.js";
import { find, root } from "./state.js";

const WIDEST_WAVE = 4000; // pixels
// Mixes of longer recordings are not worked out for a drawing.
const MIX_S = 60;
// Sound -> its envelope, so that a redraw costs nothing.
const envelopes = new WeakMap();

const envelopeOf = (samples, columns) => {
  const known = envelopes.get(samples);
  if (known?.length === 2 * columns) return known;
  const found = envelope(samples, columns);
  envelopes.set(samples, found);
  return found;
};

// What is heard, where it is not the original.
const heardSamples = () => {
  if (sound.active === "original" && !lanes.mixing?.overruled("original")) return null;
  const track = sound.tracks[sound.active];
  if (track && !lanes.mixing) return track.getChannelData(0);
  return sound.duration <= MIX_S ? sound.mixdown(sound.mix(sound.active)) : null;
};

/** Draw what is heard now. */
export const drawWave = () => {
  const canvas = find("wave");
  const columns = Math.min(Math.round(canvas.clientWidth * Math.min(window.devicePixelRatio || 1, 2)), WIDEST_WAVE);
  if (!columns) return;
  canvas.width = columns;
  canvas.height = Math.round(canvas.clientHeight * Math.min(window.devicePixelRatio || 1, 2));
  if (!sound.duration) return;
  const context = canvas.getContext("2d");
  const style = getComputedStyle(root);
  const original = sound.tracks.original.getChannelData(0);
  const whole = envelopeOf(original, columns);
  const top = whole.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
  const draw = (values, name, alpha) => {
    context.fillStyle = style.getPropertyValue(name);
    context.globalAlpha = alpha;
    const middle = canvas.height / 2;
    for (let column = 0; column < columns; column++) {
      const [high, low] = [values[2 * column + 1], values[2 * column]].map((value) => middle - (value / top) * (middle - 1));
      context.fillRect(column, high, 1, Math.max(low - high, 1));
    }
  };
  const heard = heardSamples();
  // Fainter, but seen in the dark, too.
  draw(whole, "--lz-quiet", heard ? 0.5 : 1);
  if (heard) draw(envelopeOf(heard, columns), "--lz-ember", 1);
};
