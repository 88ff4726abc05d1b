// What every drawing needs.

export const SVG = "http://www.w3.org/2000/svg";

export const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
