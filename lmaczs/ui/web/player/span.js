// How much of the time is seen, and which part of it is looped.
import { shownTime } from "./axes.js";
import { marks } from "./marks.js";
import { setText } from "./nodes.js";
import { sound } from "./stage.js";
import { find, state } from "./state.js";
import { announce } from "./words.js";

const PIXELS_A_SECOND = 600; // at the closest
export const ZOOM_STEP = 1.5;
const LEAST_PART_S = 0.05;

export const span = { zoom: 1, drag: null };
const scroller = () => find("scroller");

// Share of the time at a pixel of the page.
const shareAtPixel = (x) => {
  const box = find("wide").getBoundingClientRect();
  return Math.min(Math.max((x - box.left) / box.width, 0), 1);
};

// Zoom, so that a share of the time stays where it is seen.
export const zoomTo = (zoom, share = sound.duration ? sound.position / sound.duration : 0) => {
  const view = scroller().clientWidth;
  const most = Math.max(1, (sound.duration * PIXELS_A_SECOND) / Math.max(view, 1));
  const before = view * span.zoom;
  const seen = share * before - scroller().scrollLeft;
  // What is not in view comes to its middle.
  const place = seen >= 0 && seen <= view ? seen : view / 2;
  span.zoom = Math.min(Math.max(zoom, 1), most);
  find("wide").style.setProperty("--zoom", span.zoom);
  scroller().scrollLeft = share * view * span.zoom - place;
  find("zoom-in").disabled = span.zoom >= most;
  find("zoom-out").disabled = span.zoom <= 1;
};

// The playhead does not leave the view while it moves.
export const follow = () => {
  if (span.zoom === 1 || !sound.playing || span.drag) return;
  const view = scroller().clientWidth;
  const head = (sound.position / sound.duration) * view * span.zoom - scroller().scrollLeft;
  if (head < 0 || head > 0.97 * view) scroller().scrollLeft += head - 0.05 * view;
};

const tellRegion = () => {
  const { region, duration } = sound;
  find("region").hidden = !region;
  const [from, to] = region || [0, 0];
  find("region").style.left = (100 * from) / (duration || 1) + "%";
  find("region").style.width = (100 * (to - from)) / (duration || 1) + "%";
  const shortly = (seconds) => (duration < 60 ? seconds.toFixed(1) : shownTime(seconds, duration));
  const part = " " + shortly(from) + "–" + shortly(to) + (duration < 60 ? " s" : "");
  setText(find("loop"), region ? "Loop" + part : "Loop");
};

// [from, to] in s, in any order; too short a part is none.
export const loopPart = (part) => {
  const region = part && part.sort((a, b) => a - b);
  sound.loopPart(region && region[1] - region[0] >= LEAST_PART_S ? region : null);
  tellRegion();
  if (sound.region) announce(find("loop").textContent);
};

export const forgetSpan = () => {
  sound.region = null;
  zoomTo(1);
  tellRegion();
};

// Pressed, a place is gone to; dragged over, a part is looped.
const LEAST_DRAG = 6; // pixels
const listenToPart = (node, on) => {
  const at = (event) => shareAtPixel(event.clientX) * sound.duration;
  node.addEventListener("pointerdown", (event) => {
    if (!state.shown || event.button !== 0 || !on()) return;
    node.setPointerCapture(event.pointerId);
    span.drag = { x: event.clientX, from: at(event), moved: false };
  });
  node.addEventListener("pointermove", (event) => {
    const drag = span.drag;
    if (!drag) return;
    drag.moved ||= Math.abs(event.clientX - drag.x) >= LEAST_DRAG;
    if (!drag.moved) return;
    sound.region = [drag.from, at(event)].sort((a, b) => a - b);
    tellRegion();
  });
  const end = (event) => {
    const drag = span.drag;
    if (!drag) return;
    span.drag = null;
    const place = at(event);
    if (drag.moved) loopPart([drag.from, place]);
    else if (sound.region && (place < sound.region[0] || place > sound.region[1])) loopPart(null);
    sound.seek(sound.region && drag.moved ? sound.region[0] : place);
  };
  node.addEventListener("pointerup", end);
  node.addEventListener("pointercancel", end);
};

export const listenToSpan = () => {
  find("zoom-in").addEventListener("click", () => zoomTo(span.zoom * ZOOM_STEP));
  find("zoom-out").addEventListener("click", () => zoomTo(span.zoom / ZOOM_STEP));
  const wheel = (event) => {
    if (!state.shown || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    zoomTo(span.zoom * Math.exp(-event.deltaY / 300), shareAtPixel(event.clientX));
  };
  scroller().addEventListener("wheel", wheel, { passive: false });
  listenToPart(find("seconds"), () => true);
  // In "What if" a drag draws a box.
  listenToPart(find("canvas"), () => !marks.on);
};
