// How far a sound goes up and down in each part of a drawing.

/**
 * Lowest and highest sample of each of `columns` parts.
 * @param {Float32Array} samples
 * @param {number} columns
 */
export const envelope = (samples, columns) => {
  const found = new Float32Array(2 * columns);
  for (let column = 0; column < columns; column++) {
    const first = Math.floor((column * samples.length) / columns);
    const last = Math.max(first + 1, Math.floor(((column + 1) * samples.length) / columns));
    let [low, high] = [0, 0];
    for (let i = first; i < last && i < samples.length; i++) {
      if (samples[i] < low) low = samples[i];
      else if (samples[i] > high) high = samples[i];
    }
    found[2 * column] = low;
    found[2 * column + 1] = high;
  }
  return found;
};
