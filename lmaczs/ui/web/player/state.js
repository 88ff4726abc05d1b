// What the player knows, in one place: its modules read it from here and write it here.
import { Library } from "./library.js";

/**
 * The player's own node; the tests ask it for more.
 * @type {HTMLElement & { state?: () => object, samples?: () => object, heard?: () => Float32Array, blindSound?: () => object }}
 */
export const root = element.querySelector(".lz-player");
/**
 * The player's node of this name.
 * @param {string} name
 * @returns {any} HTMLElement of a kind that its reader knows
 */
export const find = (name) => root.querySelector(".lz-" + name);
export const facts = props.facts;
export const BLANK = find("blank-words").textContent;
export const NAMES = { original: "Original", kept: "What counted", removed: "What was ignored" };

export const library = new Library();

/**
 * @type {{
 *   methods: import("payload").Methods,
 *   closed: import("payload").Closed,
 *   shown: import("./library.js").ExplanationRecord | null,
 *   question: import("./library.js").Question | null,
 *   wanted: string | null,
 *   turn: number,
 *   pending: number,
 *   arriving: import("./library.js").ExplanationRecord | null,
 *   work: { list: string[], method?: string | null, share?: number, message?: string } | null,
 *   area: number | null,
 *   asked: Set<string>,
 *   stored: { turn: number, record: import("./library.js").ExplanationRecord } | null,
 * }}
 */
export const state = {
  // Domain -> key -> name for people.
  methods: {},
  // Key -> prompts that the method knows, if it does not take any.
  closed: {},
  // The explanation on screen.
  shown: null,
  // What the chips, the panels and the table are about.
  question: null,
  // Explanation to show when it comes: its key, "first" for whatever comes first, or null.
  wanted: null,
  // Every request of the visitor is a turn; what comes late, for an older one, is not shown.
  turn: 0,
  // Requests whose last answer has not come.
  pending: 0,
  // The explanation whose pictures and sounds are being fetched, to be shown.
  arriving: null,
  // What is being done: { list: methods asked for, method, share, message }
  work: null,
  // Share of the cells that every method is cut to, in percent; null: masks as they come.
  area: null,
  // Questions whose methods beside each other were asked for, or are not to be.
  asked: new Set(),
  // The explanation of an example that came with its sound.
  stored: null,
};
