// One item at a time: play, rate, go on. Every rating is on the server's disk before the page says so. Words from the study
// only ever become textContent.
const TOKEN = "lmaczs-study";
const find = (id) => document.getElementById(id);
const audio = new Audio();
let shown = null;
let playing = null;

const say = (words) => (find("said").textContent = words);
const step = (name) => {
  document.querySelector("main").dataset.step = name;
  for (const section of document.querySelectorAll("section")) section.hidden = section.id !== name;
  scrollTo(0, 0);
};

const ask = async (path, sent) => {
  let answer;
  try {
    answer = await fetch(path, sent && { method: "POST", body: JSON.stringify(sent) });
  } catch {
    throw new Error("The study cannot be reached: your last answer may not be kept. Try it again in a moment.");
  }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.message);
  return found;
};
const trying = (action) => async (event) => {
  say("");
  try {
    await action(event);
  } catch (error) {
    say(error.message);
  }
};

const token = () => localStorage.getItem(TOKEN);

// One sound at a time; pressed again, it stops.
const play = (button, sound) => {
  const same = playing === button && !audio.paused;
  audio.pause();
  playing?.setAttribute("aria-pressed", "false");
  playing = null;
  if (same) return;
  audio.src = sound;
  // Whoever presses the next button before this one sounds has stopped it.
  audio.play().catch((error) => error.name !== "AbortError" && say("This sound cannot be played: load the page again."));
  playing = button;
  button.setAttribute("aria-pressed", "true");
};
audio.addEventListener("ended", () => playing?.setAttribute("aria-pressed", "false"));

const settled = () => {
  const rows = [...document.querySelectorAll("#sounds li")];
  find("next").disabled = !rows.length || rows.some((row) => row.dataset.kept !== "yes");
};

// Only what was heard can be rated.
const row = ({ key, sound, value }) => {
  const node = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "play";
  button.textContent = "Play " + String.fromCharCode(65 + key);
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: 100, step: 1, value: value ?? 50, disabled: value === null });
  slider.setAttribute("aria-label", "Rating of sound " + String.fromCharCode(65 + key));
  const output = document.createElement("output");
  output.textContent = value ?? "–";
  node.dataset.kept = value === null ? "no" : "yes";
  button.addEventListener("click", () => {
    play(button, sound);
    slider.disabled = false;
  });
  slider.addEventListener("input", () => (output.textContent = slider.value));
  const keep = trying(async () => {
    node.dataset.kept = "no";
    settled();
    await ask("rate", { token: token(), number: shown.number, key, value: Number(slider.value) });
    output.textContent = slider.value;
    node.dataset.kept = "yes";
    settled();
  });
  slider.addEventListener("change", keep);
  // Where the slider stands already is an answer, too.
  slider.addEventListener("click", () => node.dataset.kept === "no" && keep());
  node.append(button, slider, output);
  return node;
};

const show = (item) => {
  audio.pause();
  shown = item;
  if (item.done) return step("done");
  find("place").textContent = item.number ? "Rating " + item.place + " of " + item.items : "Practice: this page does not count";
  find("label").textContent = item.label;
  find("sounds").replaceChildren(...item.stimuli.map(row));
  settled();
  step("item");
};

find("agreed").addEventListener("change", () => (find("begin").disabled = !find("agreed").checked));
find("begin").addEventListener(
  "click",
  trying(async () => {
    const { token: own } = await ask("join", { agreed: find("agreed").checked });
    localStorage.setItem(TOKEN, own);
    show(await ask("show", { token: own }));
  }),
);
find("input").addEventListener("click", () => play(find("input"), shown.sound));
find("next").addEventListener("click", trying(async () => show(await ask("go-on", { token: token(), number: shown.number }))));

const begin = trying(async () => {
  const study = await ask("greeting");
  document.title = find("title").textContent = study.title;
  find("question").textContent = study.question;
  find("consent").textContent = study.consent;
  find("explain").textContent =
    "You will hear " + study.items + " recordings. For each one a class is given, and " + study.sounds +
    " sounds that were made to show it. Rate each of them: " + study.question;
  if (token()) {
    try {
      return show(await ask("show", { token: token() }));
    } catch {
      localStorage.removeItem(TOKEN); // of another study
    }
  }
  step("welcome");
});
begin();
