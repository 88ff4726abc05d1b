// What the player asks the server for, and how far that is. Everything here only defines: player.js holds the state.

// Show an explanation of a question, or ask for it.
const askFor = (next, method) => {
  const known = library.find(next, method);
  const same = sameQuestion(next, question);
  if (!known || !known.payload.metrics) {
    const queue = same && pending && work && work.list.length > 1 ? missing().filter((name) => work.list.includes(name)) : [];
    return request(next, [method, ...queue.filter((name) => name !== method)], questionKey(next) + method);
  }
  if (!same) halt();
  question = next;
  return show(known);
};

// Explain a question with a list of methods; `display` says which one to show, as `wanted` does. `also`: indices of other
// prompts that the first of them explains then.
const request = (next, list, display, also = []) => {
  newTurn();
  question = next;
  wanted = display;
  work = { list, method: list[0], share: 0, message: "" };
  began();
  const { domain, prompts, target } = next;
  trigger("ask", { prompts, target, methods: list, domain, turn, at: sound.position, also });
};

// [key, name for people] of the methods that can explain the question's prompt; all of them at the chosen area.
const offered = () =>
  Object.entries(methods[question?.domain] || {})
    .filter(([name]) => !closed[name] || closed[name].includes(question.prompts[question.target]))
    .map(([name, text]) => [keyed(name), text]);
const controls = () => Object.entries(facts.controls).map(([name, text]) => [keyed(name), text]);

const missing = () => {
  if (!question) return [];
  const names = [...offered(), ...controls()].map(([name]) => name);
  return names.filter((name) => !library.find(question, name)?.payload.metrics);
};

const askAll = () => {
  const list = missing();
  // The controls take a moment only, and without them the first numbers cannot be read.
  const quick = list.filter((name) => facts.controls[baseOf(name)]);
  if (list.length) request(question, [...quick, ...list.filter((name) => !quick.includes(name))], null);
};

// Hear what counted for a method, from where the playhead is.
const hear = async (method) => {
  if (!question) return;
  choose("kept");
  await askFor(question, method);
  if (shown && shown.method === method) play();
};

const askForArchive = () => {
  // What runs goes on.
  work ||= { list: [], message: "packing", share: 0 };
  began();
  const { prompts, target, method, domain } = shown.payload;
  trigger("archive", { prompts, target, method, domain, turn });
};

// Everything before this turn is void, also on the server.
const newTurn = () => {
  turn++;
  if (pending) trigger("halt", { turn });
};
const began = () => {
  pending++;
  root.dataset.busy = "yes";
  refresh();
};
const halt = () => {
  newTurn();
  wanted = work = null;
  root.dataset.busy = "no";
};
const stop = () => {
  leaveBeside();
  leaveOverlay();
  halt();
  settle();
  announce("Stopped. What was finished is still here.");
};
// Nothing more will come: what is on screen is what the page is about.
const settle = () => {
  work = null;
  root.dataset.busy = "no";
  if (shown) {
    question = shown.question;
    page.mark?.(shown.payload.target);
    // A part that came just before a stop is still to be put into the picture.
    if (partial(shown) && stageOf(shown) !== shown.stage) show(shown);
  }
  refresh();
};
const idle = () => {
  pending = Math.max(0, pending - 1);
  if (pending || arriving) return;
  settle();
  askMore();
};

// What the server says of the work.
const report = (value) => {
  if (value.turn !== turn || !pending) return;
  if (!work) work = { list: [] };
  if (value.method && value.method !== work.method) announce("Explaining with " + label(value.method));
  Object.assign(work, { method: value.method, share: value.share, message: value.message });
  refresh();
};
