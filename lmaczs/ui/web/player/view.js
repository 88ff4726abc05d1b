// What is seen: the picture of what is heard, the playhead, the tabs, and how the visitor likes it drawn.
import { drawAxes, shownTime } from "./axes.js";
import { COLOURS } from "./colours.js";
import { tellPlace } from "./gaps.js";
import { drawMarks } from "./marks.js";
import { setText } from "./nodes.js";
import { SCALES } from "./picture.js";
import { follow } from "./span.js";
import { beside, compare, lanes, picture, sound } from "./stage.js";
import { find, root, state } from "./state.js";
import { drawWave } from "./wave.js";
import { fill, trackName } from "./words.js";

// What the visitor chose to look at, remembered in this browser only.
const STORE = "lmaczs-look";
export const recallLook = () => {
  try {
    Object.assign(picture.look, JSON.parse(localStorage.getItem(STORE) || "{}"));
  } catch {
    // Private windows may refuse; the defaults do.
  }
  if (!COLOURS[picture.look.colours]) picture.look.colours = "ember";
  if (!SCALES[picture.look.scale]) picture.look.scale = "mel";
};
export const setLook = (change) => {
  Object.assign(picture.look, change);
  try {
    localStorage.setItem(STORE, JSON.stringify(picture.look));
  } catch {
    // As above.
  }
  redraw();
};

// The picture of what is heard now.
const paint = () => {
  if (state.shown) {
    const { mask, track } = lanes.picture();
    picture.setMask(mask);
    picture.track = track;
  }
  picture.draw();
  drawWave();
};

// Another part is heard: the sound, the picture and what is said follow.
export const remix = () => {
  sound.fade();
  paint();
  if (state.shown) fill();
};

export const choose = (track) => {
  sound.choose(track);
  lanes.choose();
  remix();
};

export const redraw = () => {
  paint();
  if (state.shown) lanes.scale((hz) => picture.share(hz), state.shown.payload.clip.max_hz);
  compare.draw();
  beside.draw();
  if (state.shown && find("canvas").clientWidth) drawAxes(picture, find("hz"), find("seconds"), [80, 20]);
  find("colours").value = picture.look.colours;
  find("opacity").value = Math.round(100 * picture.look.opacity);
  find("view").value = picture.look.view;
  find("range").value = picture.look.range;
  find("range").setAttribute("aria-valuetext", picture.look.range + " decibels");
  find("brightness").value = picture.look.brightness;
  find("scale").value = picture.look.scale;
  drawMarks();
  render();
};

// Whether the playhead is drawn frame by frame.
let moving = false;
export const render = () => {
  const playing = sound.playing;
  const play = find("play");
  play.classList.toggle("lz-playing", playing);
  play.setAttribute("aria-label", playing ? "Pause" : "Play");
  for (const button of find("tracks").children) {
    const chosen = button.dataset.track === sound.active;
    button.setAttribute("aria-checked", String(chosen));
    button.tabIndex = chosen ? 0 : -1;
    if (chosen && find("tracks").contains(document.activeElement)) button.focus();
  }
  find("loop").setAttribute("aria-pressed", String(sound.looping));
  find("match").setAttribute("aria-pressed", String(sound.matched));
  root.dataset.track = sound.active;
  root.dataset.playing = playing ? "yes" : "no";
  // Lines that are made later stand there, too.
  root.style.setProperty("--head", headPlace());
  move();
  tellPlace();
  if (playing && !moving) {
    moving = true;
    requestAnimationFrame(frame);
  }
};

const frame = () => {
  move();
  moving = sound.playing;
  if (moving) requestAnimationFrame(frame);
};

const headPlace = () => String(sound.duration ? sound.position / sound.duration : 0);

// One playhead: every line on the page stands where this says.
const move = () => {
  const position = sound.position;
  // On the lines themselves: at every frame, all nodes below the page's root would have to take it over from there.
  const place = headPlace();
  for (const line of root.getElementsByClassName("lz-head-line")) {
    /** @type {HTMLElement} */ (line).style.setProperty("--head", place);
  }
  follow();
  setText(find("now"), shownTime(position, sound.duration));
  const canvas = find("canvas");
  canvas.setAttribute("aria-valuenow", position.toFixed(2));
  canvas.setAttribute("aria-valuetext", position.toFixed(1) + " seconds, " + trackName(sound.active));
};

export const openTab = (name) => {
  root.dataset.tab = name;
  for (const tab of find("tabs").children) {
    const open = tab.dataset.tab === name;
    tab.setAttribute("aria-selected", String(open));
    tab.tabIndex = open ? 0 : -1;
  }
  redraw();
};
