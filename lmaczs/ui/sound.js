// Three tracks on one clock. All of them always play; only their gains change, so a switch keeps the position to the
// sample and never clicks. Seeking or exchanging tracks starts a second voice and fades the first one out.
const RAMP_S = 0.012;

// 16-bit mono WAV -> AudioBuffer at its own rate; needs no AudioContext, so it works before the first click.
const decodeWav = (bytes) => {
  const view = new DataView(bytes);
  let rate = 0;
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const id = view.getUint32(at);
    const size = view.getUint32(at + 4, true);
    if (id === 0x666d7420) rate = view.getUint32(at + 12, true); // "fmt "
    if (id === 0x64617461) { // "data"
      const count = Math.min(size, view.byteLength - at - 8) >> 1;
      const buffer = new AudioBuffer({ length: count, sampleRate: rate, numberOfChannels: 1 });
      const samples = buffer.getChannelData(0);
      for (let i = 0; i < count; i++) samples[i] = view.getInt16(at + 8 + 2 * i, true) / 32768;
      return buffer;
    }
    at += 8 + size + (size & 1);
  }
  throw new Error("not a WAV file");
};

const loudness = (buffer) => {
  const samples = buffer.getChannelData(0);
  let power = 0;
  let peak = 0;
  for (const value of samples) {
    power += value * value;
    peak = Math.max(peak, Math.abs(value));
  }
  return { rms: Math.sqrt(power / samples.length), peak };
};

class Sound {
  constructor(changed) {
    this.changed = changed;
    this.tracks = {};
    this.active = "original";
    this.looping = false;
    this.matched = false;
    this.offset = 0;
    this.voice = null;
  }

  get playing() {
    return this.voice !== null;
  }

  get duration() {
    return this.tracks.original ? this.tracks.original.duration : 0;
  }

  get position() {
    if (!this.voice) return this.offset;
    const heard = this.context.currentTime - (this.context.outputLatency || 0);
    const passed = Math.max(0, heard - this.voice.when) + this.voice.from;
    return this.looping ? passed % this.duration : Math.min(passed, this.duration);
  }

  gains() {
    const found = {};
    for (const name of Object.keys(this.tracks)) found[name] = this.voice ? this.voice.gains[name].gain.value : 0;
    return found;
  }

  // Exchange the tracks; `keep` goes on at the same position, as for another method of the same recording.
  load(tracks, keep) {
    const position = keep ? this.position : 0;
    const playing = this.playing && keep;
    this.end();
    this.tracks = tracks;
    this.levels = Object.fromEntries(Object.entries(tracks).map(([name, buffer]) => [name, loudness(buffer)]));
    this.offset = Math.min(position, this.duration);
    if (playing) this.begin(this.offset);
    this.changed();
  }

  // Loudness matching: every track as loud as the original, at most 24 dB more, and never clipped.
  factor(name) {
    if (!this.matched) return 1;
    const { rms, peak } = this.levels[name];
    return rms > 0 ? Math.min(this.levels.original.rms / rms, 16, 1 / Math.max(peak, 1e-9)) : 1;
  }

  begin(from) {
    if (!this.context) this.context = new AudioContext();
    if (this.context.state === "suspended") this.context.resume();
    const start = from >= this.duration - 0.01 ? 0 : from;
    const when = this.context.currentTime + 0.005;
    const output = this.context.createGain();
    output.gain.setValueAtTime(0, when);
    output.gain.linearRampToValueAtTime(1, when + RAMP_S);
    output.connect(this.context.destination);
    const voice = { when, from: start, output, gains: {}, sources: [] };
    for (const [name, buffer] of Object.entries(this.tracks)) {
      const source = this.context.createBufferSource();
      const gain = this.context.createGain();
      source.buffer = buffer;
      source.loop = this.looping;
      gain.gain.value = name === this.active ? this.factor(name) : 0;
      source.connect(gain).connect(output);
      source.start(when, start);
      voice.gains[name] = gain;
      voice.sources.push(source);
    }
    voice.sources[0].onended = () => {
      if (this.voice !== voice) return;
      this.end();
      this.offset = 0;
      this.changed();
    };
    this.voice = voice;
  }

  end() {
    const voice = this.voice;
    if (!voice) return;
    this.offset = this.position;
    this.voice = null;
    const now = this.context.currentTime;
    voice.output.gain.cancelScheduledValues(now);
    voice.output.gain.setValueAtTime(voice.output.gain.value, now);
    voice.output.gain.linearRampToValueAtTime(0, now + RAMP_S);
    for (const source of voice.sources) source.stop(now + RAMP_S + 0.01);
  }

  play() {
    if (!this.duration || this.playing) return;
    this.begin(this.offset);
    this.changed();
  }

  pause() {
    this.end();
    this.changed();
  }

  seek(position) {
    const target = Math.min(Math.max(position, 0), this.duration);
    const playing = this.playing;
    this.end();
    this.offset = target;
    if (playing) this.begin(target);
    this.changed();
  }

  choose(name) {
    if (!this.tracks[name]) return;
    this.active = name;
    this.fade();
    this.changed();
  }

  fade() {
    if (!this.voice) return;
    const now = this.context.currentTime;
    for (const [name, { gain }] of Object.entries(this.voice.gains)) {
      gain.cancelScheduledValues(now);
      gain.setValueAtTime(gain.value, now);
      gain.linearRampToValueAtTime(name === this.active ? this.factor(name) : 0, now + RAMP_S);
    }
  }

  loop(on) {
    const position = this.position;
    this.looping = on;
    if (this.playing) {
      this.end();
      this.begin(position);
    }
    this.changed();
  }

  match(on) {
    this.matched = on;
    this.fade();
    this.changed();
  }

  clear() {
    this.end();
    this.tracks = {};
    this.offset = 0;
    this.changed();
  }
}
