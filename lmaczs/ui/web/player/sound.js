// All tracks of a recording on one clock. All of them always play; only their gains change, so a switch keeps the
// position to the sample and never clicks. Seeking or exchanging tracks starts a second voice and fades the first one
// out.
const RAMP_S = 0.012;

const loudness = (samples) => {
  let power = 0;
  let peak = 0;
  for (const value of samples) {
    power += value * value;
    peak = Math.max(peak, Math.abs(value));
  }
  return { rms: Math.sqrt(power / samples.length), peak };
};

export class Sound {
  // `mix(choice)`: the gain of each track that a choice is made of, {name: gain}; the others are silent.
  constructor(changed, mix) {
    this.changed = changed;
    this.mix = mix;
    this.tracks = {};
    this.active = "original";
    this.looping = false;
    // [from, to] in s of what is looped; null: all of it.
    this.region = null;
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
    if (!this.looping) return Math.min(passed, this.duration);
    const [from, to] = this.looped;
    return passed < to ? passed : from + ((passed - from) % (to - from));
  }

  get looped() {
    return this.region || [0, this.duration];
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
    this.levels = new Map();
    this.offset = Math.min(position, this.duration);
    if (playing) this.begin(this.offset);
    this.changed();
  }

  // Name -> gain of what is heard now.
  targets() {
    const mix = this.mix(this.active);
    const factor = this.matched ? this.factor(mix) : 1;
    return Object.fromEntries(Object.keys(this.tracks).map((name) => [name, factor * (mix[name] || 0)]));
  }

  // Loudness matching: every mix as loud as the original, at most 24 dB more, and never clipped.
  factor(mix) {
    const { rms, peak } = this.level(mix);
    return rms > 0 ? Math.min(this.level({ original: 1 }).rms / rms, 16, 1 / Math.max(peak, 1e-9)) : 1;
  }

  level(mix) {
    const key = JSON.stringify(mix);
    if (!this.levels.has(key)) this.levels.set(key, loudness(this.mixdown(mix)));
    return this.levels.get(key);
  }

  // The samples of a mix as one track.
  mixdown(mix) {
    const sum = new Float32Array(this.tracks.original.length);
    for (const [name, gain] of Object.entries(mix)) {
      if (!gain) continue;
      const samples = this.tracks[name].getChannelData(0);
      for (let i = 0; i < sum.length; i++) sum[i] += gain * samples[i];
    }
    return sum;
  }

  begin(from) {
    if (!this.context) this.context = new AudioContext();
    if (this.context.state === "suspended") this.context.resume();
    const [first, last] = this.looping ? this.looped : [0, this.duration];
    const start = from >= last - 0.01 || from < first ? first : from;
    const when = this.context.currentTime + 0.005;
    const output = this.context.createGain();
    output.gain.setValueAtTime(0, when);
    output.gain.linearRampToValueAtTime(1, when + RAMP_S);
    output.connect(this.context.destination);
    const voice = { when, from: start, output, gains: {}, sources: [] };
    const targets = this.targets();
    for (const [name, buffer] of Object.entries(this.tracks)) {
      const source = this.context.createBufferSource();
      const gain = this.context.createGain();
      source.buffer = buffer;
      source.loop = this.looping;
      [source.loopStart, source.loopEnd] = this.looped;
      gain.gain.value = targets[name];
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
    if (!this.duration) return;
    this.active = name;
    this.fade();
    this.changed();
  }

  // Bring every track to its gain in the mix, also when the mix itself changed.
  fade() {
    if (!this.voice) return;
    const now = this.context.currentTime;
    const targets = this.targets();
    for (const [name, { gain }] of Object.entries(this.voice.gains)) {
      gain.cancelScheduledValues(now);
      gain.setValueAtTime(gain.value, now);
      gain.linearRampToValueAtTime(targets[name], now + RAMP_S);
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

  // Loop a part, [from, to] in s; null: no part.
  loopPart(region) {
    this.region = region;
    this.loop(Boolean(region));
  }

  match(on) {
    this.matched = on;
    this.fade();
    this.changed();
  }

  // Nothing will be played any more.
  release() {
    this.end();
    this.context?.close();
  }

  clear() {
    this.end();
    this.tracks = {};
    this.offset = 0;
    this.region = null;
    this.changed();
  }
}
