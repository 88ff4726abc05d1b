// Ticks and times: the only places where seconds and hertz become text.
export const niceStep = (length, most) => {
  const steps = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300];
  return steps.find((step) => length / step <= most) || 600;
};

export const clock = (seconds, step, duration) => {
  if (duration < 60) return String(Number(seconds.toFixed(step < 1 ? 2 : 0)));
  const rest = Math.round(seconds % 60);
  return Math.floor(seconds / 60) + ":" + String(rest).padStart(2, "0");
};

export const shownTime = (seconds, duration) => {
  if (duration < 60) return seconds.toFixed(2);
  const tenths = Math.floor(10 * seconds);
  return Math.floor(tenths / 600) + ":" + String(Math.floor(tenths / 10) % 60).padStart(2, "0") + "." + (tenths % 10);
};

const tick = (className, place, share, text) => {
  const node = document.createElement("span");
  node.className = className;
  node.style[place] = 100 * share + "%";
  node.textContent = text;
  return node;
};

export const HERTZ = [0, 50, 100, 200, 500, 1000, 2000, 3000, 4000, 5000, 6000, 8000, 12000, 16000, 20000];

// Fill the two rulers beside a picture: `apart` is the least distance of two labels in pixels, across and up.
export const drawAxes = (picture, hz, seconds, apart) => {
  const { duration_s, max_hz } = picture.clip;
  const { clientWidth, clientHeight } = picture.canvas;
  const step = niceStep(duration_s, Math.max(3, clientWidth / apart[0]));
  const across = [];
  for (let at = 0; at <= duration_s + 1e-6; at += step) {
    if (at / duration_s < 0.95) across.push(tick("lz-tick", "left", at / duration_s, clock(at, step, duration_s)));
  }
  across.push(tick("lz-tick lz-unit", "left", 1, duration_s < 60 ? "s" : "min:s"));
  seconds.replaceChildren(...across);
  const up = [];
  let last = -1;
  for (const value of HERTZ) {
    const share = picture.share(value);
    if (value > max_hz * 1.001 || share < -1e-6 || (share - last) * clientHeight < apart[1]) continue;
    up.push(tick("lz-tick", "bottom", share, value >= 1000 ? value / 1000 + " k" : String(value)));
    last = share;
  }
  up[up.length - 1].textContent += "Hz";
  hz.replaceChildren(...up);
};
