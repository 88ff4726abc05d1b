// The picture on screen as a file: with its axes, and with what it is said to show. Text is drawn, never parsed.
import { HERTZ, clock, niceStep } from "./axes.js";
import { Picture } from "./picture.js";
import { picture, sound } from "./stage.js";
import { state } from "./state.js";
import { fileName, label, saveBlob, trackName } from "./words.js";

const WIDTH = 1600;
const HEIGHT = 900;
const MARGINS = { left: 110, top: 120, right: 40, bottom: 70 };
const PAPER = "#ffffff";
const INK = "#1c1917";
const QUIET = "#57534e";
const FONT = "sans-serif";

/** A line of text in the space that it has; what does not fit is cut, with a sign. */
const write = (context, text, x, y, width) => {
  let shown = text;
  while (shown.length > 1 && context.measureText(shown).width > width) shown = shown.slice(0, -2).trimEnd() + "…";
  context.fillText(shown, x, y);
};

const drawTicks = (context, clip, share, width, height) => {
  context.font = "20px " + FONT;
  context.fillStyle = QUIET;
  context.textAlign = "right";
  let last = -1;
  for (const hertz of HERTZ) {
    const up = share(hertz);
    if (hertz > clip.max_hz * 1.001 || up < -1e-6 || (up - last) * height < 26) continue;
    context.fillText(hertz >= 1000 ? hertz / 1000 + " kHz" : hertz + " Hz", MARGINS.left - 10, MARGINS.top + (1 - up) * height + 7);
    last = up;
  }
  context.textAlign = "center";
  const step = niceStep(clip.duration_s, 12);
  for (let at = 0; at <= clip.duration_s + 1e-6; at += step) {
    const text = clock(at, step, clip.duration_s) + (clip.duration_s < 60 ? " s" : "");
    context.fillText(text, MARGINS.left + (at / clip.duration_s) * width, MARGINS.top + height + 30);
  }
};

/** What is seen, on a sheet of its own: (WIDTH x HEIGHT). */
const sheet = () => {
  const { payload } = state.shown;
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext("2d");
  context.fillStyle = PAPER;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  const [width, height] = [WIDTH - MARGINS.left - MARGINS.right, HEIGHT - MARGINS.top - MARGINS.bottom];
  // The same cells in the same colours, at this size.
  const drawn = new OffscreenCanvas(width, height);
  const copy = new Picture(drawn);
  Object.assign(copy, { look: picture.look, clip: picture.clip, level: picture.level, mask: picture.mask });
  Object.assign(copy, { ends: picture.ends, layers: picture.layers, track: picture.track });
  copy.drawOn(drawn, width, height);
  context.drawImage(drawn, MARGINS.left, MARGINS.top);
  context.fillStyle = INK;
  context.font = "bold 36px " + FONT;
  write(context, payload.prompts[payload.target], MARGINS.left, 56, width);
  context.font = "22px " + FONT;
  context.fillStyle = QUIET;
  const part = sound.active === "original" ? "" : " · " + trackName(sound.active);
  const verdict = payload.verdict ? " · " + payload.verdict.short : "";
  write(context, label(state.shown.method) + part + verdict + " · " + payload.clip.name, MARGINS.left, 94, width);
  drawTicks(context, payload.clip, (hertz) => picture.share(hertz), width, height);
  return canvas;
};

/** Keep the picture on screen as a PNG. */
export const savePicture = () => sheet().toBlob((blob) => saveBlob(blob, fileName("picture.png")));
