// The one sound format of the page, both ways: what is fetched to be played, and what the page mixed itself to be kept.

// 16-bit mono WAV -> AudioBuffer at its own rate; needs no AudioContext, so it works before the first click.
export const decodeWav = (bytes) => {
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

// Samples in [-1, 1] -> 16-bit mono WAV; louder ones are cut, as every player would.
export const encodeWav = (samples, rate) => {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const write = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of this chunk
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true); // bytes a second
  view.setUint16(32, 2, true); // bytes a frame
  view.setUint16(34, 16, true); // bits
  write(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  for (let i = 0; i < samples.length; i++) {
    view.setInt16(44 + 2 * i, Math.min(Math.max(Math.round(32768 * samples[i]), -32768), 32767), true);
  }
  return new Blob([view.buffer], { type: "audio/wav" });
};
