// window.lmaczs, the one global of the page: how its components, the scripts of Gradio's events (events.py,
// model_choice.py) and each other's handlers meet. Every component brings its own copy of this module.
//
// Each member has one owner, which publishes it when its component comes and takes it away when the component goes. The
// components come in any order, so a component asks whether another's member is there: `page.mark?.(target)`.
//
// owner    member                  what it is
// player   ask(prompts, target)    explain the prompt with this index, with the method that is on screen
//          analyse(recording, prompts) -> turn  score and explain; -1 where there is nothing to ask
//          asked() -> text         prompts of the newest request
//          coming() -> turn        an example's sound is coming: stop what runs
//          idle()                  all answers of a request have come
//          failed()                the server failed
//          clear() -> turn         stop what runs and empty the page
//          former() -> [recording, prompts]  what a return to an earlier state puts into Gradio's components
//          forget()                nothing can be returned to any more
//          refused(message, ofSound)  why there is nothing new to show; empty: nothing was refused
//          pause()                 something else sounds, or listens
//          rated(kept)             whether the ratings of a blind comparison were kept
//          report(value)           how far the work is, as progress_payload of handlers.py
//          offer({methods, closed}, recording, prompts)  what can be asked for, once the models are loaded
//          turn() -> number        of the visitor's newest request: what answers an older one is not shown
//          pressed                 true from a request for scores until they are drawn
// scores   mark(target)            show which prompt is explained
//          heard(prompts, shares, part)  show the scores of a part of the sound, with its name; shares may be null
//          tint(colours)           prompt -> its colour on the picture, for those that have one
//          drawn() -> value        the scores on screen, and redraw(value) to draw them again; null: they are gone
//          prompts() -> text       as typed, one on each line, and typed(text) to show others
//          add(text)               add prompts, one on each line, and score them
//          score()                 score all prompts again
// source   named(text)             show the name of the sound
//          take(file)              give a sound to the page
// notice   say(message)            show one sentence about what did not work
// model    modelFailed()           the server failed to load a classifier
//          averages                whether the numbers of the test set are those of the chosen classifier
// all      emptied                 set of functions that `clear` calls
export const page = (window.lmaczs ||= { emptied: new Set() });

// Ends when this component leaves the page: whatever listens beyond the component's own nodes listens with it.
export const gone = (() => {
  const over = new AbortController();
  let there = element.isConnected;
  const watcher = new MutationObserver(() => {
    if (element.isConnected) there = true;
    else if (there) {
      watcher.disconnect();
      over.abort();
    }
  });
  watcher.observe(document.documentElement, { childList: true, subtree: true });
  return over.signal;
})();
export const atTheEnd = (action) => gone.addEventListener("abort", action, { once: true });

// Give members to the page for as long as this component is there; another one may have taken them over by its end.
export const publish = (members) => {
  Object.assign(page, members);
  atTheEnd(() => {
    for (const [name, member] of Object.entries(members)) if (page[name] === member) delete page[name];
  });
};

// Call `empty` whenever the page is emptied.
export const whenEmptied = (empty) => {
  page.emptied.add(empty);
  atTheEnd(() => page.emptied.delete(empty));
};

// Call `changed` when a node's size changes.
export const whenResized = (node, changed) => {
  const observer = new ResizeObserver(changed);
  observer.observe(node);
  atTheEnd(() => observer.disconnect());
};
