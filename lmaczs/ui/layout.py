"""The page: three steps in a row, one large player below them. No model is loaded here."""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from lmaczs.signal.audio import MAX_SECONDS
from lmaczs.ui import components, text, zero_gpu
from lmaczs.ui.cache import keep_sweeping, remove_when_terminated, visitors_folder
from lmaczs.ui.endpoints import add_endpoints
from lmaczs.ui.examples import FIRST_PAINT, Example, examples_folder, load_examples, load_first_paint
from lmaczs.ui.facts import page_facts
from lmaczs.ui.handlers import Update
from lmaczs.ui.model_choice import add_model_choice
from lmaczs.ui.models import TEST, Models
from lmaczs.ui.prompts import add_prompts
from lmaczs.ui.settings import Settings, launch_options
from lmaczs.ui.studio import EMBEDDED, Studio
from lmaczs.ui.turns import Wish, read_turn

# Each request carries the number of the visitor's turn and its answers bring it back: what comes late is dropped.
BUSY = "(sound, typed) => [sound, typed, window.lmaczs.analyse()]"
IDLE = "() => window.lmaczs.idle()"
CLEAR = "() => [window.lmaczs.clear()]"
FAILED = "() => window.lmaczs.failed()"
TRY = "() => { window.lmaczs.clear(); return []; }"
PAUSE = "() => window.lmaczs.pause()"
NEVER = "1000000000"  # events between two of Gradio's summaries of all events, which nobody can ask for here
VISITORS = 32  # whose work is under way or in line; more wait until one of them is done


class Page(gr.Blocks):
    """The Gradio app together with its studio; `serve` starts both."""

    studio: Studio
    public: TemporaryDirectory

    def serve(self) -> None:
        """Warm the models up in the background and serve until stopped; visitors' files go when their time is over."""
        self.studio.worker.submit(self.studio.warm_up)
        files, settings = visitors_folder(), self.studio.settings
        remove_when_terminated(files, self.public)
        keep_sweeping(Path(files.name), 60 * settings.keep_minutes, self._own_files)
        os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", NEVER)
        self.queue(max_size=64, default_concurrency_limit=1).launch(**launch_options(settings))

    def _own_files(self) -> set[str]:
        """What the page shows before anybody asks."""
        return set().union(*(block.keep_in_cache for block in self.blocks.values()))


def build_demo(settings: Settings) -> Page:
    """Lay the page out; needs no weights and no network."""
    visitors_folder()  # before the first component, which asks where to put files
    zero_gpu.prepare()
    models = Models(settings)
    studio = models.default
    public = _public_copy()
    examples, stored = load_examples(public.name), load_first_paint(public.name)
    own = settings.backend in (EMBEDDED, TEST)  # what is stored is the embedded classifier's work
    first = examples[0] if stored and examples and own else None
    with Page(title=text.TITLE, analytics_enabled=False, fill_width=True) as demo:
        demo.studio, demo.public = studio, public
        _header()
        add_model_choice(demo, models)
        tries = _small_buttons([example.title for example in examples], "Try", "lz-tries")
        with gr.Row(elem_id="lz-steps", equal_height=True):
            with gr.Column(min_width=280, elem_classes="lz-step"):
                _step(1, "Sound")
                sound = _sound(first)
                _static(f'<p class="lz-hint">{text.SOUND_HINT.format(minutes=round(MAX_SECONDS / 60))}</p>')
            with gr.Column(min_width=280, elem_classes="lz-step"):
                _step(2, "Prompts")
                typed = _prompts(first)
                sets = _small_buttons(list(text.PROMPT_SETS), "Add", "lz-sets")
                run = gr.Button("Classify", variant="primary", elem_id="lz-run")
                notice = components.notice()
            with gr.Column(min_width=280, elem_classes="lz-step"):
                _step(3, "Scores")
                scores = components.scores(stored["scores"] if stored and first else None)
        player = components.player(
            _first_value(stored, public.name) if stored and first else None, page_facts()
        )
        progress = components.progress()
        with gr.Accordion("About what you see and hear", open=False, elem_id="lz-about"):
            gr.Markdown(text.ABOUT.format(methods=" ".join(text.METHODS)))
        results = {"scores": scores, "player": player, "notice": notice, "progress": progress}
        _wire(models, examples, sound, typed, run, results, tries, sets)
        add_endpoints(studio)
    return demo


def _public_copy() -> TemporaryDirectory:
    """The examples in a temporary folder: Gradio serves nothing from the place where a package is installed."""
    folder, public = examples_folder(), TemporaryDirectory(prefix="lmaczs-")
    if folder is not None:
        shutil.copytree(folder, public.name, dirs_exist_ok=True)
    return public


def _header() -> None:
    _static(f'<header class="lz-title"><h1>{text.TITLE}</h1><p>{text.LEAD}</p></header>')


def _step(number: int, name: str) -> None:
    _static(f'<h2 class="lz-heading"><span>{number}</span> {name}</h2>')


def _static(template: str) -> None:
    """The page's own words; never anything that a person typed."""
    gr.HTML(html_template=template, js_on_load=None, apply_default_css=False)


def _sound(first: Example | None) -> gr.Audio:
    return gr.Audio(
        None if first is None else str(first.path),
        sources=["upload", "microphone"],
        # The file as it came: Gradio's own conversion needs ffmpeg, and shows server paths when it fails.
        type="filepath",
        format=None,
        editable=False,
        label="Sound",
        show_label=False,
        buttons=[],
        elem_id="lz-sound",
        waveform_options=gr.WaveformOptions(
            waveform_color="#a8a29e", waveform_progress_color="#d97706", trim_region_color="#d97706"
        ),
    )


def _prompts(first: Example | None) -> gr.Textbox:
    return gr.Textbox(
        "" if first is None else "\n".join(first.prompts),
        lines=6,
        max_lines=6,
        label="Prompts, one per line",
        show_label=False,
        placeholder=text.PROMPTS_HINT,
        elem_id="lz-prompts",
        container=False,
    )


def _small_buttons(names: list[str], label: str, elem_id: str) -> list[gr.Button]:
    with gr.Row(elem_classes="lz-chips", elem_id=elem_id):
        _static(f"<span>{label}</span>")
        return [gr.Button(name, size="sm", min_width=0, scale=0) for name in names]


def _first_value(stored: dict[str, Any], folder: str) -> Any:
    return components.with_files(stored["player"] | {"turn": 0, "serial": 0}, Path(folder, FIRST_PAINT))


def _wire(
    models: Models,
    examples: list[Example],
    sound: gr.Audio,
    typed: gr.Textbox,
    run: gr.Button,
    results: dict[str, gr.HTML],
    tries: list[gr.Button],
    sets: list[gr.Button],
) -> None:
    outputs, player = list(results.values()), results["player"]
    turn = gr.Number(0, visible=False)
    heavy: dict[str, Any] = {
        "concurrency_id": "visitors",
        "concurrency_limit": VISITORS,  # each waits in the studio's line, which tells its place
        "show_progress": "hidden",  # the player shows its own
        "trigger_mode": "multiple",  # the newest wish wins, also while an older one is under way
        "api_visibility": "private",
    }
    light: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}

    def analyse(path: str | None, prompts: str, turn: float, request: gr.Request) -> Iterator[Any]:
        wish = _wish(request, turn)
        yield from numbered(models.of(wish).analyse(path, prompts, wish), wish, results)

    def ask(path: str | None, event: gr.EventData, request: gr.Request) -> Iterator[Any]:
        data, wish = _sent(event), _wish(request, _sent(event)["turn"])
        handlers = models.of(wish)
        found = handlers.explain(path, data["prompts"], data["target"], data["methods"], data["domain"], wish)
        yield from numbered(found, wish, results)

    def archive(path: str | None, event: gr.EventData, request: gr.Request) -> Iterator[Any]:
        data, wish = _sent(event), _wish(request, _sent(event)["turn"])
        found = models.of(wish).archive(path, data["prompts"], data["target"], data["method"], data["domain"])
        yield from numbered(found, wish, results)

    def halt(event: gr.EventData, request: gr.Request) -> None:
        models.stop(_wish(request, _sent(event)["turn"]))

    def leave(turn: float, request: gr.Request) -> None:
        models.stop(_wish(request, turn))

    running = [
        run.click(analyse, [sound, typed, turn], outputs, js=BUSY, **heavy),
        player.ask(ask, [sound], outputs, **heavy),
        player.archive(archive, [sound], outputs, **heavy),
    ]
    for example, button in zip(examples, tries, strict=True):
        # In two steps: a sound that is an output of a stream of answers would be spoilt by those that leave it alone.
        filled = button.click(_fill(example), None, [sound, typed], js=TRY, **light)
        running.append(filled.then(analyse, [sound, typed, turn], outputs, js=BUSY, **heavy))
    for event in running:
        event.success(None, js=IDLE)
        event.failure(None, js=FAILED)
    player.halt(halt, None, None, **light)
    for name, button in zip(text.PROMPT_SETS, sets, strict=True):
        button.click(_add(name), [typed], [typed], **light)
    # A new sound makes what is on screen stale: empty the page at once, and end what is under way.
    for change in (sound.upload, sound.clear, sound.start_recording, sound.stop_recording):
        change(leave, [turn], None, js=CLEAR, **light)
    sound.play(None, js=PAUSE)


def numbered(updates: Iterator[Update], wish: Wish, names: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    """Mark every value with its turn, and make it new, so that the browser notices two equal ones.

    Args:
        updates: of a handler.
        wish: that they answer.
        names: of an update's values, in the order of the outputs.
    """
    for serial, update in enumerate(updates):
        marks = {"turn": wish.turn, "serial": serial}
        values = [getattr(update, name) for name in names]
        yield tuple(gr.skip() if value is None else {**value, **marks} for value in values)


def _wish(request: gr.Request, turn: object) -> Wish:
    return Wish(request.session_hash or "", read_turn(turn))


def _sent(event: gr.EventData) -> dict[str, Any]:
    """What the browser sent with an event: anything at all, or None; the handlers check it."""
    sent = event._data if isinstance(event._data, dict) else {}
    return {name: sent.get(name) for name in ("prompts", "target", "methods", "method", "domain", "turn")}


def _fill(example: Example) -> Any:
    return lambda: (str(example.path), "\n".join(example.prompts))


def _add(name: str) -> Any:
    return lambda typed: add_prompts(typed, text.PROMPT_SETS[name])
