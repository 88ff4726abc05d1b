// The player: one question, any number of methods, three tracks. This module says what the rest of the page may ask of
// the player, and starts it. Text from people only ever becomes textContent.
import { atTheEnd, page, publish } from "../bus.js";
import { address, leaveExample, listenToExamples, openAddress } from "./address.js";
import { keyed, tellArea } from "./beside.js";
import { listen } from "./hands.js";
import { forgetPast, keepSound, listenToHistory, past } from "./history.js";
import { marks } from "./marks.js";
import { baseOf } from "./method_key.js";
import { setText } from "./nodes.js";
import { askMore } from "./overlay.js";
import { askFor, began, controls, idle, newTurn, report, request } from "./requests.js";
import { clear, emptyStage, passOver, receive, show } from "./showing.js";
import { span } from "./span.js";
import { blind, picture, sound } from "./stage.js";
import { BLANK, find, library, root, state } from "./state.js";
import { openTab, recallLook, render } from "./view.js";
import { announce, refresh, rows } from "./words.js";

publish({
  ask: (prompts, target) => {
    page.say?.("");
    if (state.shown) {
      // A method with a closed set has nothing to say to other prompts: the default one answers then.
      const fits = state.closed[baseOf(state.shown.method)]?.includes(prompts[target]) ?? true;
      const method = fits ? state.shown.method : keyed(Object.keys(state.methods[state.question.domain])[0]);
      return askFor({ ...state.question, prompts, target }, method);
    }
    // The first answer names the recording.
    return request({ clip: null, domain: "stft", prompts, target }, [null], "first");
  },
  analyse: (recording, typed) => {
    const other = recording?.path !== past.came?.[0]?.path;
    past.came = [recording, typed];
    page.named?.(recording?.orig_name);
    if (!recording || !typed.trim()) {
      // What is on screen is not about this sound.
      if (recording && other) emptyStage();
      return passOver();
    }
    page.say?.("");
    state.area = null;
    tellArea();
    if (state.stored?.turn === state.turn) {
      const { record } = state.stored;
      state.stored = null;
      show(record);
      return passOver();
    }
    page.pressed = true;
    newTurn();
    state.wanted = "first";
    state.work = null;
    began();
    return state.turn;
  },
  asked: () => past.came?.[1],
  coming: () => {
    if (sound.playing) sound.pause();
    newTurn();
    state.wanted = "first";
    state.work = null;
    leaveExample();
    root.dataset.busy = "yes";
    refresh();
    return state.turn;
  },
  report,
  idle,
  offer: (offered, recording, typed) => {
    // Of the stored example, unless the visitor was quicker.
    past.came ||= [recording, typed];
    page.named?.(past.came[0]?.orig_name);
    page.typed?.(past.came[1]);
    for (const former of past.states.values()) former.came ||= past.came;
    if (Object.keys(offered.methods).length) ({ methods: state.methods, closed: state.closed } = offered);
    refresh();
    openAddress();
    // The stored example comes with the default method only.
    if (!state.pending) askMore();
  },
  failed: () => {
    idle();
    announce("Something went wrong on the server: try it again.", true);
  },
  refused: (message, ofSound) => {
    setText(find("blank-words"), message || BLANK);
    const former = past.states.get(past.at);
    if (!message || !state.shown || !former?.came) return;
    if (ofSound) keepSound(former);
    else if (past.came[0]?.path !== former.came[0]?.path) emptyStage();
  },
  former: () => past.coming,
  forget: () => forgetPast(),
  pause: () => sound.playing && sound.pause(),
  rated: (kept) => blind.say(find("blind-told").textContent + (kept ? " Your ratings are kept." : " Your ratings could not be kept.")),
  clear: () => {
    clear();
    leaveExample();
    for (const empty of page.emptied) empty();
    return state.turn;
  },
  turn: () => state.turn,
});
atTheEnd(() => sound.release());
atTheEnd(() => blind.sound.release());

// For the tests.
root.state = () => ({
  playing: sound.playing,
  pos: sound.position,
  dur: sound.duration,
  active: sound.active,
  turn: state.turn,
  pending: state.pending,
  gains: sound.gains(),
  tab: root.dataset.tab,
  domain: state.question && state.question.domain,
  method: state.shown && state.shown.method,
  prompt: state.shown && state.shown.payload.prompts[state.shown.payload.target],
  methods: Object.fromEntries(rows().map(({ method, state }) => [method, state])),
  metrics: Object.fromEntries(
    [...rows(), ...controls().map(([method]) => ({ method }))]
      .map(({ method }) => [method, library.find(state.question, method)?.payload.metrics])
      .filter(([, metrics]) => metrics),
  ),
  look: { ...picture.look },
  boxes: marks.boxes.length,
  layers: picture.layers?.map(({ name }) => name) ?? null,
  zoom: span.zoom,
  region: sound.region,
  blind: blind.pair && blind.pair.map(({ method, value }) => ({ method, value })),
  area: state.area,
  verdict: state.shown && state.shown.payload.verdict,
});

root.samples = () =>
  Object.fromEntries(Object.entries(sound.tracks).map(([name, buffer]) => [name, buffer.getChannelData(0)]));

// What is heard now, sample by sample.
root.heard = () => sound.mixdown(sound.mix(sound.active));

// Loudness of what a blind comparison plays, by name.
root.blindSound = () =>
  Object.fromEntries(
    Object.keys(blind.sound.tracks).map((name) => {
      const { rms, peak } = blind.sound.level({ [name]: 1 });
      const factor = blind.sound.factor({ [name]: 1 });
      return [name, { rms: factor * rms, peak: factor * peak }];
    }),
  );

watch("value", receive);
recallLook();
listen();
listenToExamples();
listenToHistory();
openTab("explain");
tellArea();
// The stored example.
if (props.value) {
  state.wanted = "first";
  address.example = 1;
}
receive();
render();
