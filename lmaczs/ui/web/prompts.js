// How prompts and their scores are read and written, for every part of the page.

/** What most prompts begin with; drawn dim. */
export const PREFIX = "this is the sound of ";

export const percent = (share) => {
  if (share < 0.001) return "< 0.1 %";
  if (share > 0.999 && share < 1) return "> 99.9 %";
  return (100 * share).toFixed(share < 0.1 || share > 0.99 ? 1 : 0) + " %";
};

// As typed -> one prompt a line, each once.
export const lines = (text) => {
  const cleaned = text.split("\n").map((line) => line.trim().split(/\s+/).join(" "));
  return [...new Set(cleaned.filter(Boolean))];
};
