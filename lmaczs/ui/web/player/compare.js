// Methods' pictures of the same sound side by side: same axes, same scale of the mask, one playhead. A panel also says
// how sure the classifier is of each part, and in words whether to believe it.
import { whenResized } from "../bus.js";
import { shownTime } from "./axes.js";
import { setText } from "./nodes.js";
import { Picture } from "./picture.js";

export class Compare {
  // `grid` takes the panels, `bar` the scale of the masks and `extent` the ends of the axes, where there are such;
  // `choose(method)` is called for a panel that is not heard yet, `seek(share)` for the one that is; `say(row)` gives
  // { sentence, parts: [{ name, share }], verdict: { level, short } | null } of a panel.
  /**
   * @param {{ grid: HTMLElement, bar?: HTMLCanvasElement, extent?: HTMLElement, name?: string }} nodes
   * @param {object} look of the large picture, `Picture.look`
   * @param {(method: string) => void} choose
   * @param {(share: number) => void} seek
   * @param {(row: any) => object} say
   */
  constructor({ grid, bar, extent, name = "lz-panel" }, look, choose, seek, say) {
    this.grid = grid;
    this.bar = bar;
    this.extent = extent;
    this.name = name;
    this.say = say;
    // Where masks are on one scale, all have its colours.
    this.coloured = !bar;
    this.look = look;
    this.choose = choose;
    this.seek = seek;
    // Method -> { node, picture, … }
    this.panels = new Map();
    whenResized(grid, () => this.draw());
  }

  // `rows`: [{ method, label, state, note, record }] in the order to show; `chosen`: the method that is heard.
  fill(rows, chosen, library) {
    const names = rows.map(({ method }) => method).join();
    if (names !== this.names) {
      this.names = names;
      this.panels = new Map(rows.map((row) => [row.method, this.panel(row)]));
      this.grid.replaceChildren(...[...this.panels.values()].map(({ node }) => node));
    }
    for (const row of rows) this.update(this.panels.get(row.method), row, row.method === chosen, library);
  }

  panel({ method }) {
    const part = (tag, className) => {
      const node = document.createElement(tag);
      node.className = className;
      return node;
    };
    const node = part("button", this.name);
    node.type = "button";
    node.dataset.method = method;
    const caption = part("span", "lz-caption");
    const name = part("span", "lz-panel-name");
    const note = part("span", "lz-panel-note");
    const frame = part("span", "lz-frame");
    const canvas = part("canvas", "lz-panel-picture");
    const line = part("span", "lz-head-line");
    caption.append(name, note);
    frame.append(canvas, line);
    const sentence = part("span", "lz-panel-sentence");
    const parts = part("span", "lz-panel-parts");
    const verdict = part("span", "lz-panel-verdict");
    node.append(caption, frame, sentence, parts, verdict);
    const picture = new Picture(canvas, this.bar ? [this.bar] : []);
    picture.look = this.look;
    const panel = { node, name, note, frame, picture, sentence, parts, verdict, record: null };
    node.addEventListener("click", (event) => {
      const box = frame.getBoundingClientRect();
      // A key press has no place.
      const inside = event.detail > 0 && event.clientY >= box.top && event.clientY <= box.bottom;
      if (node.getAttribute("aria-pressed") === "true" && inside) this.seek((event.clientX - box.left) / box.width);
      else this.choose(method);
    });
    return panel;
  }

  // What is said of a panel besides its picture.
  tell(panel, row) {
    const { sentence, parts, verdict } = this.say(row);
    setText(panel.sentence, sentence);
    setText(panel.verdict, verdict ? verdict.short : "");
    panel.verdict.dataset.level = verdict ? verdict.level : "";
    const key = JSON.stringify(parts);
    if (panel.parts.dataset.key === key) return;
    panel.parts.dataset.key = key;
    panel.parts.replaceChildren(
      ...parts.map(({ name, share, text }) => {
        const node = document.createElement("span");
        node.className = "lz-part-bar";
        node.style.setProperty("--share", share);
        const value = document.createElement("b");
        value.textContent = text;
        node.append(name, value);
        return node;
      }),
    );
  }

  async update(panel, row, pressed, library) {
    const { label, state, note, record } = row;
    setText(panel.name, label);
    setText(panel.note, note);
    this.tell(panel, row);
    panel.node.dataset.state = state;
    panel.node.setAttribute("aria-pressed", String(pressed));
    panel.node.title = record ? "Hear what counted for " + label : "Explain with " + label;
    if (panel.record === record) return;
    panel.record = record;
    if (!record) return panel.picture.clear();
    try {
      const { level, mask } = await library.picture(record);
      if (panel.record !== record) return;
      const { duration_s, max_hz } = record.payload.clip;
      panel.picture.load(record.payload.clip, level, mask);
      if (this.coloured) this.colourIn(panel, record, library);
      const length = shownTime(duration_s, duration_s) + (duration_s < 60 ? " s" : "");
      if (this.extent) setText(this.extent, "Across 0 to " + length + ", upwards 0 to " + max_hz / 1000 + " kHz");
    } catch {
      if (panel.record === record) panel.record = null; // asked for again with the next answer
    }
  }

  // Components in their own colours, once they are there.
  async colourIn(panel, record, library) {
    const layers = await library.layers(record).catch(() => null);
    if (layers?.length && panel.record === record) panel.picture.setLayers(layers, true);
  }

  draw() {
    for (const { picture } of this.panels.values()) picture.draw();
  }
}
