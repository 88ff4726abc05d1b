// What the page mixed itself, as a file to be kept.

const PCM = 1;
const FLOAT = 3;

/**
 * Samples as a mono WAV: 16 bits, or floats where one is louder than full scale, so that nothing is cut.
 * @param {Float32Array} samples
 * @param {number} rate Hz
 */
export const encodeWav = (samples, rate) => {
  const whole = samples.every((value) => Math.abs(value) <= 1);
  const bytes = whole ? 2 : 4;
  const view = new DataView(new ArrayBuffer(44 + bytes * samples.length));
  const write = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + bytes * samples.length, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of this chunk
  view.setUint16(20, whole ? PCM : FLOAT, true);
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, bytes * rate, true); // bytes a second
  view.setUint16(32, bytes, true); // bytes a frame
  view.setUint16(34, 8 * bytes, true); // bits
  write(36, "data");
  view.setUint32(40, bytes * samples.length, true);
  for (let i = 0; i < samples.length; i++) {
    if (whole) view.setInt16(44 + 2 * i, Math.min(Math.round(32768 * samples[i]), 32767), true);
    else view.setFloat32(44 + 4 * i, samples[i], true);
  }
  return new Blob([view.buffer], { type: "audio/wav" });
};
