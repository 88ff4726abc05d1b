// Everything that the player writes: title, chips, percentages, progress. Everything here only defines: player.js holds
// the state.

const announce = (message, seen) => {
  setText(find("live"), message);
  find("live").classList.toggle("lz-seen", Boolean(seen));
};
const label = (method) => {
  if (isMarked(method)) return "What you marked";
  const base = baseOf(method);
  const name = methods[question?.domain || "stft"]?.[base] || facts.controls[base] || base;
  return base === method ? name : name + ", the strongest " + method.slice(base.length + 1) + " %";
};
// What a track is, of an explanation or of boxes.
const MARKED = { kept: "Only this", removed: "Without this" };
const trackName = (track) => (isMarked(shown?.method) && MARKED[track]) || NAMES[track];

// What is known about each method of the question.
const rows = () =>
  offered().map(([method, name]) => {
    const record = complete(library.find(question, method));
    const running = pending > 0 && work && !record?.payload.metrics;
    const state = record ? "ready" : running && work.method === method ? "running" : running && work.list.includes(method) ? "waiting" : "none";
    return { method, label: name, state, record };
  });

// Methods and controls with what is known of them.
const judged = () => {
  const others = controls().map(([method, name]) => ({ method, label: name, control: true }));
  return [...rows(), ...others].map((row) => ({ ...row, note: NOTES[row.state], payload: complete(library.find(question, row.method))?.payload }));
};

const NOTES = { running: "running", waiting: "waiting", none: "not run yet" };
const noteOf = ({ state, record }) => {
  if (state === "running") return Math.round(100 * work.share) + " %";
  if (!record) return NOTES[state];
  const { metrics } = record.payload;
  return metrics ? "keeps " + page.percent(metrics.mm) : "checking";
};

const refresh = () => {
  const found = rows();
  const chosen = shown && sameQuestion(shown.question, question) ? shown.method : null;
  fillChips(found, chosen);
  const noted = found.map((row) => ({ ...row, note: noteOf(row) }));
  compare.fill(noted, chosen, library);
  beside.fill(trio().map((method) => noted.find((row) => row.method === method)), chosen, library);
  // Of the classifier's methods: what a person marked has no rival.
  blind.fill(found.filter(({ record }) => record && !isMarked(record.method)), question);
  find("trio").hidden = isMarked(shown?.method);
  const numbers = judged();
  faithfulness.fill(numbers, question?.domain);
  trust.fill(numbers, chosen);
  strip.fill(shown && sameQuestion(shown.question, question) ? question : null, shown?.payload.clip.duration_s);
  find("strip-words").hidden = find("strip").hidden;
  const replaced = root.dataset.busy === "yes" && wanted === "first";
  root.dataset.stale = shown && (replaced || !sameQuestion(shown.question, question)) ? "yes" : "no";
  fillWork();
  tellOverlay();
  if (shown) fill();
};

const fillWork = () => {
  const busy = root.dataset.busy === "yes";
  const left = missing().filter((name) => !facts.controls[baseOf(name)]).length;
  const percent = " · " + Math.round(100 * (work?.share || 0)) + " %";
  let text = capital(work?.message || "listening") + (work?.share ? percent : "…");
  // Which method it is, its chip shows.
  if (work?.method) text = (work.list.length > 1 ? work.list.indexOf(work.method) + 1 + " of " + work.list.length : "Explaining") + percent;
  setText(find("status"), busy ? text : "");
  find("stop").hidden = !busy;
  find("all").hidden = busy || !left || root.dataset.ready === "empty";
  setText(find("all"), "Run all methods");
};
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const fillChips = (found, chosen) => {
  const group = find("methods");
  const names = JSON.stringify(found.map(({ method, label }) => [method, label]));
  if (group.dataset.names !== names) {
    group.dataset.names = names;
    group.replaceChildren(
      ...found.map((row) => {
        const chip = document.createElement("button");
        chip.type = "button";
        chip.dataset.method = row.method;
        chip.setAttribute("role", "radio");
        chip.textContent = row.label;
        chip.addEventListener("click", () => askFor(question, row.method));
        return chip;
      }),
    );
  }
  const focus = group.contains(document.activeElement) && document.activeElement.dataset.method;
  // Where Tab enters the group: what is drawn by hand has no chip.
  const stop = focus || (found.find(({ method }) => method === chosen) || found[0])?.method;
  for (const row of found) {
    const chip = group.querySelector(`[data-method="${row.method}"]`);
    chip.setAttribute("aria-checked", String(row.method === chosen));
    chip.tabIndex = row.method === stop ? 0 : -1;
    chip.dataset.state = row.state;
    chip.style.setProperty("--share", row.state === "running" ? work.share : 0);
    const note = NOTES[row.state];
    if (note) chip.setAttribute("aria-label", row.label + ", " + note);
    else chip.removeAttribute("aria-label");
    chip.title = note ? capital(note) : "Key M goes to the next method";
  }
};

// Whether to believe what is shown, as Python says it; where it did not work, what worked better on this sound.
const LEVELS = { good: 2, partly: 1, bad: 0, none: -1 };
const gainOf = ({ payload }) => payload.probability.kept - payload.probability.removed;

const betterThan = (verdict) =>
  rows()
    .map(({ record }) => record)
    .filter((record) => record?.payload.verdict && LEVELS[record.payload.verdict.level] > LEVELS[verdict.level])
    .sort((a, b) => LEVELS[b.payload.verdict.level] - LEVELS[a.payload.verdict.level] || gainOf(b) - gainOf(a))[0];

const fillVerdict = ({ verdict }) => {
  // A mask that was changed by hand is not the one that was judged.
  find("verdict").hidden = !verdict || !lanes.asMeasured;
  if (!verdict) return;
  find("verdict").dataset.level = verdict.level;
  setText(find("verdict-words"), verdict.words);
  const better = verdict.level === "none" ? undefined : betterThan(verdict);
  find("better").hidden = !better;
  if (!better) return;
  setText(find("better"), "Hear " + label(better.method) + " instead");
  find("better").dataset.method = better.method;
};

const fill = () => {
  const { payload } = shown;
  fillVerdict(payload);
  const prompt = payload.prompts[payload.target];
  const title = find("target");
  if (title.textContent !== prompt) {
    title.replaceChildren();
    if (prompt.startsWith(PREFIX) && prompt.length > PREFIX.length) {
      const prefix = document.createElement("span");
      prefix.className = "lz-prefix";
      prefix.textContent = PREFIX;
      title.append(prefix, prompt.slice(PREFIX.length));
    } else {
      title.textContent = prompt;
    }
  }
  const share = payload.probability;
  setText(find("eyebrow"), isMarked(payload.method) ? "What if: asked for" : "What speaks for");
  for (const button of find("tracks").children) {
    const { track } = button.dataset;
    setText(button.querySelector("span"), trackName(track));
    setText(button.querySelector("b"), share && (lanes.asMeasured || track === "original") ? page.percent(share[track]) : "");
  }
  const where = lanes.asMeasured ? "" : " It was asked with the threshold at " + payload.lanes.threshold.toFixed(2) + ".";
  const check = "Percentages: how sure the classifier is of this prompt when it hears only that part." + where;
  setText(find("check"), partial(shown) ? sayParts(shown) : overlay.layers ? sayOverlay() : share ? check : "");
  const heard = lanes.asMeasured && payload.shares?.[sound.active];
  page.heard?.(payload.prompts, heard || null, sound.active === "original" ? "" : trackName(sound.active));
  for (const name of ["kept", "removed"]) {
    const link = find("get-" + name);
    link.hidden = partial(shown);
    if (partial(shown)) continue;
    link.href = payload[name].url;
    setText(link, trackName(name));
    link.download = fileName(trackName(name).toLowerCase().replaceAll(" ", "-") + ".wav");
  }
  const seconds = payload.clip.duration_s;
  setText(find("length"), shownTime(seconds, seconds) + (seconds < 60 ? " s" : ""));
  find("canvas").setAttribute("aria-valuemax", seconds.toFixed(2));
  const domains = Object.keys(methods).filter((domain) => Object.keys(methods[domain]).length);
  find("domain").parentElement.hidden = domains.length < 2;
  find("domain").value = question.domain;
};

const fileName = (ending) => (shown ? shown.payload.clip.name + "-" : "") + ending;

const save = (url, name) => {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
};

const saveBlob = (blob, name) => {
  const url = URL.createObjectURL(blob);
  save(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser has read it by then
};
const saveMix = (mix, name) => saveBlob(encodeWav(sound.mixdown(mix), sound.tracks.original.sampleRate), name);
