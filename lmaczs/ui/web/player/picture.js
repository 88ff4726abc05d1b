// The spectrogram and the mask, as two grey pictures, coloured here: another colour, opacity, scale or track costs no
// round trip. Row 0 of a picture is the highest frequency.
import { lookup } from "./colours.js";

const NIGHT = [13, 12, 14];
const ASH = [150, 155, 166];
const WIDEST = 16000; // pixels
// The same for all pictures of a sound; each takes some 10 ms to make.
const palettes = new Map();
const PALETTES_KEPT = 16;
const CONTRAST = 1.25; // of the drawing only; the read-out tells the level itself

export const SCALES = {
  mel: { to: (hz) => 2595 * Math.log10(1 + hz / 700), from: (value) => 700 * (10 ** (value / 2595) - 1), low: 0 },
  lin: { to: (hz) => hz, from: (value) => value, low: 0 },
  log: { to: (hz) => Math.log2(Math.max(hz, 1)), from: (value) => 2 ** value, low: 40 },
};

/** A grey picture, highest frequency on top. @typedef {{ rows: number, columns: number, grey: Uint8Array }} Grey */

/** @param {string} url @returns {Promise<Grey>} */
export const readGrey = async (url) => {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error("picture " + answer.status);
  const bitmap = await createImageBitmap(await answer.blob());
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const grey = new Uint8Array(bitmap.width * bitmap.height);
  for (let i = 0; i < grey.length; i++) grey[i] = data[4 * i];
  return { rows: bitmap.height, columns: bitmap.width, grey };
};

export class Picture {
  // `bars`: canvases for the scale of the mask, upright or lying.
  constructor(canvas, bars = []) {
    this.canvas = canvas;
    this.bars = bars;
    this.look = { scale: "mel", colours: "ember", opacity: 0.9, view: "sound", range: 70, brightness: 0 };
    this.track = "original";
  }

  load(clip, level, mask) {
    const same = level === this.level;
    this.clip = clip;
    this.level = level;
    this.layers = null;
    if (same) this.setMask(mask);
    else {
      this.mask = mask;
      this.stretched = null;
      this.ends = this.contrast(level.grey);
    }
    this.draw();
  }

  // Several masks at once, [{ name, mask, rgb }]: each cell has the colour of its largest one. null: the mask alone.
  // `together`: they are parts of the mask, which says how strong a colour is.
  setLayers(layers, together = false) {
    if (!layers && !this.layers) return;
    this.layers = layers;
    this.together = together;
    this.draw();
  }

  // Another mask on the same sound; whoever calls this draws.
  setMask(mask) {
    if (mask === this.mask) return;
    this.mask = mask;
    if (this.stretched) this.stretched.mask = null;
  }

  // The levels that are drawn black and white: the quietest and the loudest few cells would leave the rest grey.
  contrast(grey) {
    const counts = new Float64Array(256);
    for (const value of grey) counts[value]++;
    const at = (share) => {
      let sum = 0;
      for (let value = 0; value < 256; value++) if ((sum += counts[value]) >= share * grey.length) return value / 255;
      return 1;
    };
    const black = Math.min(at(0.08), 0.45);
    return [black, Math.max(at(0.998), black + 0.2)];
  }

  // The same with the range and the brightness that the visitor chose.
  shownEnds() {
    const [black, white] = this.ends;
    const { range, brightness } = this.look;
    const darkest = Math.max(black, 1 + range / this.clip.floor_db);
    return [darkest, Math.max(white * (1 - brightness / 100), darkest + 0.05)];
  }

  clear() {
    this.clip = this.level = this.mask = this.layers = this.stretched = null;
    this.draw();
  }

  // Share of the height from the bottom -> Hz, and back.
  hz(share) {
    const { to, from, low } = SCALES[this.look.scale];
    const floor = to(low);
    return from(floor + share * (to(this.clip.max_hz) - floor));
  }

  share(hz) {
    const { to, low } = SCALES[this.look.scale];
    const floor = to(low);
    return (to(hz) - floor) / (to(this.clip.max_hz) - floor);
  }

  // Frequency rows of a picture on the chosen scale: linear between rows where stretched, mean of rows where squeezed.
  stretch({ rows, columns, grey }, height) {
    const out = new Uint8Array(height * columns);
    const rowOf = (share) => (1 - this.hz(Math.min(Math.max(share, 0), 1)) / this.clip.max_hz) * (rows - 1);
    for (let y = 0; y < height; y++) {
      const top = rowOf(1 - y / height);
      const bottom = rowOf(1 - (y + 1) / height);
      const target = y * columns;
      if (bottom - top <= 1) {
        const middle = (top + bottom) / 2;
        const upper = Math.min(Math.floor(middle), rows - 2);
        const part = middle - upper;
        for (let x = 0; x < columns; x++) {
          const a = grey[upper * columns + x];
          out[target + x] = a + part * (grey[(upper + 1) * columns + x] - a) + 0.5;
        }
      } else {
        const first = Math.round(top);
        const last = Math.max(first, Math.min(Math.round(bottom), rows - 1));
        for (let x = 0; x < columns; x++) {
          let sum = 0;
          for (let row = first; row <= last; row++) sum += grey[row * columns + x];
          out[target + x] = sum / (last - first + 1) + 0.5;
        }
      }
    }
    return out;
  }

  // Brightness is loudness of what is heard, colour is the mask.
  colour(level, mask, table) {
    const { opacity, view } = this.look;
    const alpha = (opacity * mask) / 255;
    const colour = [];
    for (let c = 0; c < 3; c++) {
      const hue = table[3 * mask + c];
      colour.push(
        view === "sound"
          ? NIGHT[c] + level * (ASH[c] + alpha * (hue - ASH[c]) - NIGHT[c])
          : (NIGHT[c] + level * (ASH[c] - NIGHT[c])) * (1 - alpha) + hue * alpha,
      );
    }
    return colour;
  }

  // 256 mask values x 256 levels -> colour, so that a redraw is two look-ups per cell; `name`: of the table.
  palette(table, name, track = this.track) {
    const { opacity, view } = this.look;
    const key = [name, opacity, view, track, ...this.shownEnds(), this.clip.floor_db].join();
    if (!palettes.has(key)) {
      if (palettes.size >= PALETTES_KEPT) palettes.delete(palettes.keys().next().value);
      palettes.set(key, this.mixColours(table, track));
    }
    return palettes.get(key);
  }

  mixColours(table, track) {
    const colours = new Uint32Array(65536);
    const [black, white] = this.shownEnds();
    for (let mask = 0; mask < 256; mask++) {
      const share = mask / 255;
      const gain = track === "kept" ? share : track === "removed" ? 1 - share : 1;
      const cut = gain > 0 ? (20 * Math.log10(gain)) / -this.clip.floor_db : -1;
      for (let grey = 0; grey < 256; grey++) {
        const level = Math.min(Math.max((grey / 255 + cut - black) / (white - black), 0), 1) ** CONTRAST;
        const [r, g, b] = this.colour(level, mask, table);
        colours[(mask << 8) | grey] = (255 << 24) | (b << 16) | (g << 8) | r;
      }
    }
    return colours;
  }

  draw() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    // Browsers draw no wider canvas; the rest is stretched.
    const width = Math.min(Math.round(this.canvas.clientWidth * ratio), WIDEST);
    const height = Math.round(this.canvas.clientHeight * ratio);
    if (!width || !height) return;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.drawOn(this.canvas, width, height);
    if (this.clip) for (const bar of this.bars) this.drawBar(bar, lookup(this.look.colours));
  }

  /**
   * Draw on a canvas of this size, in pixels.
   * @param {HTMLCanvasElement | OffscreenCanvas} canvas
   * @param {number} width
   * @param {number} height
   */
  drawOn(canvas, width, height) {
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.fillStyle = "rgb(" + NIGHT + ")";
    context.fillRect(0, 0, width, height);
    if (!this.clip) return;
    const key = this.look.scale + height;
    if (!this.stretched || this.stretched.key !== key) {
      this.stretched = { key, level: this.stretch(this.level, height), mask: null };
    }
    const table = lookup(this.look.colours);
    const columns = this.level.columns;
    const cells = this.layers?.length ? this.layered(height) : this.masked(table, height);
    const sheet = new OffscreenCanvas(columns, height);
    sheet.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(cells.buffer), columns, height), 0, 0);
    const perSecond = width / this.clip.duration_s;
    context.imageSmoothingQuality = "high";
    context.drawImage(
      sheet,
      this.clip.first_column_s * perSecond,
      0,
      columns * this.clip.column_s * perSecond,
      height,
    );
  }

  // The cells of the picture, coloured by the mask.
  masked(table, height) {
    const colours = this.palette(table, this.look.colours);
    this.stretched.mask ||= this.stretch(this.mask, height);
    const { level, mask } = this.stretched;
    const cells = new Uint32Array(level.length);
    for (let i = 0; i < cells.length; i++) cells[i] = colours[(mask[i] << 8) | level[i]];
    return cells;
  }

  // The same by the largest of several masks, of the whole sound.
  layered(height) {
    const { level } = this.stretched;
    const parts = this.layers.map(({ mask, rgb }) => ({
      mask: this.stretch(mask, height),
      colours: this.palette(Uint8Array.from({ length: 3 * 256 }, (_, i) => rgb[i % 3]), String(rgb), "original"),
    }));
    if (this.together) this.stretched.mask ||= this.stretch(this.mask, height);
    const whole = this.together ? this.stretched.mask : null;
    const cells = new Uint32Array(level.length);
    for (let i = 0; i < cells.length; i++) {
      let best = parts[0];
      for (const part of parts) if (part.mask[i] > best.mask[i]) best = part;
      cells[i] = best.colours[((whole || best.mask)[i] << 8) | level[i]];
    }
    return cells;
  }

  drawBar(bar, table) {
    const context = bar.getContext("2d");
    const lying = bar.clientWidth > bar.clientHeight;
    bar.width = lying ? 256 : 1;
    bar.height = lying ? 1 : 256;
    for (let mask = 0; mask < 256; mask++) {
      const level = this.look.view === "sound" ? 1 : 0.45;
      context.fillStyle = "rgb(" + this.colour(level, mask, table).map(Math.round) + ")";
      context.fillRect(lying ? mask : 0, lying ? 0 : 255 - mask, 1, 1);
    }
  }

  // What lies at a share of width and of height from the bottom.
  read(across, up) {
    const hz = this.hz(up);
    const time = across * this.clip.duration_s;
    const at = ({ rows, columns, grey }) => {
      const row = Math.round((1 - hz / this.clip.max_hz) * (rows - 1));
      const column = Math.floor((time - this.clip.first_column_s) / this.clip.column_s);
      return grey[Math.min(Math.max(row, 0), rows - 1) * columns + Math.min(Math.max(column, 0), columns - 1)] / 255;
    };
    return { time, hz, db: (1 - at(this.level)) * this.clip.floor_db, mask: at(this.mask) };
  }
}
