// Perceptually even colour maps as a few stops each (matplotlib's, CC0), and one of our own.
export const COLOURS = {
  ember: ["7a2e0a", "96390a", "b2460a", "cc540b", "e2640f", "f27617", "fb8a22", "ff9e31", "ffb347"],
  viridis: ["440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725"],
  cividis: ["00224e", "213b6e", "4c556c", "6c6e72", "8a8779", "a59c74", "c3b369", "e1cc55", "fee838"],
  magma: ["000004", "1d1147", "51127c", "822681", "b73779", "e75263", "fc8961", "fec488", "fcfdbf"],
  grey: ["303030", "4a4a4a", "646464", "7e7e7e", "989898", "b2b2b2", "cccccc", "e6e6e6", "ffffff"],
};

// name -> 256 x [r, g, b]
export const lookup = (name) => {
  const stops = COLOURS[name].map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const table = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1);
    const left = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c++) {
      table[3 * i + c] = stops[left][c] + (place - left) * (stops[left + 1][c] - stops[left][c]);
    }
  }
  return table;
};

// Colours that the colour-blind tell apart, too (Okabe and Ito 2008), without those that are dark on the picture.
export const TINTS = [
  ["orange", "e69f00"],
  ["light blue", "56b4e9"],
  ["green", "009e73"],
  ["yellow", "f0e442"],
  ["red", "d55e00"],
  ["pink", "cc79a7"],
];
export const rgbOf = (hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
