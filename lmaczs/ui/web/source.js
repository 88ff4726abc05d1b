// Where a sound comes from: chosen, dropped or recorded, it goes the same way, through Gradio's field for files.
import { atTheEnd, gone, page, publish } from "./bus.js";
import { listenToDrops } from "./drop.js";
import { encodeWav } from "./wav.js";

/** @returns {any} HTMLElement of a kind that its reader knows */
const find = (name) => element.querySelector(".lz-" + name);
/** @returns {HTMLInputElement} */
const field = () => document.querySelector("#lz-sound-field input[type=file]");
const { most_mb, most_seconds } = props.facts;

const name = (text) => (find("source-name").textContent = text);

// Give a file to the page.
const take = (file) => {
  if (file.size > most_mb * 1e6) {
    return page.say?.(`${file.name} has ${Math.ceil(file.size / 1e6)} MB, the page takes ${most_mb} MB: choose a shorter piece.`);
  }
  const carried = new DataTransfer();
  carried.items.add(file);
  field().files = carried.files;
  field().dispatchEvent(new Event("change", { bubbles: true }));
};

// Sounds as they are: browsers clean a microphone up for telephone calls unless they are told not to. Rain, hum and applause
// are "noise" to them, and the level is pumped up and down.
const PLAIN = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const CAPTURE = `registerProcessor("capture", class extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length) this.port.postMessage(channels.map((channel) => channel.slice()));
    return true;
  }
});`;
const REFUSED = {
  NotAllowedError: "The browser does not let this page use the microphone: allow it in the address bar, or choose a file.",
  NotFoundError: "No microphone was found: plug one in, or choose a file.",
};

// What is being recorded: { stream, context, chunks, frames }, or null.
let recording = null;
let starting = false;

// Channels -> their mean.
const mono = (channels) => {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, at) => channels.reduce((sum, channel) => sum + channel[at], 0) / channels.length);
};

const start = async () => {
  if (!navigator.mediaDevices) {
    return page.say?.("Browsers record only on https or localhost: open the page there, or choose a file.");
  }
  starting = true;
  let stream = null;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: PLAIN });
    const context = new AudioContext();
    const code = URL.createObjectURL(new Blob([CAPTURE], { type: "text/javascript" }));
    await context.audioWorklet.addModule(code);
    URL.revokeObjectURL(code);
    const capture = new AudioWorkletNode(context, "capture");
    const mine = { stream, context, chunks: [], frames: 0 };
    capture.port.onmessage = ({ data }) => hear(mine, mono(data));
    context.createMediaStreamSource(stream).connect(capture);
    // It puts out silence; what leads nowhere is not run.
    capture.connect(context.destination);
    recording = mine;
    page.pause?.();
  } catch (error) {
    if (stream) silence(stream);
    page.say?.(REFUSED[error.name] || "Recording failed: choose a file, or try another browser.");
  }
  starting = false;
  fill();
};

const hear = (mine, samples) => {
  if (recording !== mine) return;
  mine.chunks.push(samples);
  mine.frames += samples.length;
  let peak = 0;
  for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
  // It falls slowly, so that a knock is seen.
  mine.level = Math.max(peak, 0.995 * (mine.level || 0));
  // There are some 375 of these a second.
  if (mine.chunks.length % 8 === 0) fill();
  if (mine.frames >= most_seconds * mine.context.sampleRate) stop();
};

// Give the microphone back.
const silence = (stream) => stream.getTracks().forEach((track) => track.stop());
const release = () => {
  silence(recording.stream);
  recording.context.close();
  recording = null;
};

const stop = () => {
  const { chunks, frames, context } = recording;
  const samples = new Float32Array(frames);
  let at = 0;
  for (const chunk of chunks) {
    samples.set(chunk, at);
    at += chunk.length;
  }
  const rate = context.sampleRate;
  release();
  fill();
  if (frames) take(new File([encodeWav(samples, rate)], "recording.wav", { type: "audio/wav" }));
};

const fill = () => {
  const button = find("record");
  button.dataset.on = recording ? "yes" : "no";
  button.style.setProperty("--level", recording ? Math.min(1, recording.level || 0) : 0);
  const seconds = recording ? Math.floor(recording.frames / recording.context.sampleRate) : 0;
  const words = recording ? `Stop · ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}` : "Record";
  const said = button.querySelector(".lz-record-words");
  if (said.textContent !== words) said.textContent = words;
};

find("choose").addEventListener("click", () => field().click());
find("record").addEventListener("click", () => (recording ? stop() : starting || start()));
// Gradio tells only when a file has come.
const sending = (event) => {
  const file = event.target === field() && event.target.files[0];
  if (file) name("Sending " + file.name + " …");
};
document.addEventListener("change", sending, { capture: true, signal: gone });
listenToDrops((yes) => document.documentElement.classList.toggle("lz-dropping", yes), take);
atTheEnd(() => recording && release());
publish({ take, named: (text) => name(text || "") });
fill();
