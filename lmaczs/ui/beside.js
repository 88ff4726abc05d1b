// Three methods beside each other, explained without a press; and the slider that puts all of them at equal area. Everything
// here only defines: player.js holds the state.
const BESIDE = ["grad-cam++", "l2i"];
// Longer recordings wait for a press: who only wants the default method does not wait for the others.
const BESIDE_SECONDS = 60;

// "grad-cam++@10" is the strongest 10 % of the cells of "grad-cam++", as in area_key.py.
const baseOf = (method) => (isMarked(method) || !method ? method : method.replace(/@\d+$/, ""));
const keyed = (method) => (area ? method + "@" + area : method);

// The default method and the two others, as far as they can explain the question's prompt.
const trio = () => {
  const names = offered().map(([method]) => method);
  const first = names.find((method) => !BESIDE.includes(baseOf(method)));
  return [first, ...BESIDE.map(keyed).filter((method) => names.includes(method))].filter(Boolean);
};

// What a panel says of its method: what it is, and what the classifier says to both parts.
const sayOf = ({ method, record }) => {
  const { probability, verdict } = record?.payload || {};
  const bar = (name, track) => ({ name, share: probability[track], text: page.percent(probability[track]) });
  return {
    sentence: facts.sentences[baseOf(method)] || "",
    parts: probability ? [bar("Alone", "kept"), bar("Without it", "removed")] : [],
    verdict: verdict ? { level: verdict.level, short: facts.verdicts[verdict.key] } : null,
  };
};

// Explain with those of the three that are missing; true if something was asked for. Once for each question: what was
// stopped, or failed, waits for a press.
const askBeside = () => {
  // While another explanation is on its way to the screen, the question is going to be another one.
  if (!shown || wanted !== shown.key || shown.payload.clip.duration_s > BESIDE_SECONDS) return false;
  const left = trio().filter((method) => !library.find(question, method)?.payload.metrics);
  const key = questionKey(question) + "@" + area;
  if (!left.length || asked.has(key)) return false;
  asked.add(key);
  request(question, left, shown.key);
  return true;
};
const leaveBeside = () => question && asked.add(questionKey(question) + "@" + area);

const tellArea = (percent = area) => {
  const words = percent ? percent + " % of each" : "masks as they come";
  find("area").value = percent || 0;
  setText(find("area-value"), words);
  find("area").setAttribute("aria-valuetext", words);
};

const setArea = (percent) => {
  area = percent || null;
  tellArea();
  if (!shown) return;
  if (!isMarked(shown.method)) askFor(question, keyed(baseOf(shown.method)));
  if (!pending && !askBeside()) refresh();
};
