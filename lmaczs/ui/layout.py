"""The page: the stage with the explanation, and beside it sound, prompts and scores. No model is loaded here."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import gradio as gr

from lmaczs.clap import EMBEDDED, labels_for
from lmaczs.errors import LMACError
from lmaczs.signal.levels import MAX_SECONDS
from lmaczs.study.comparisons import Comparisons
from lmaczs.ui import components, text, zero_gpu
from lmaczs.ui.addresses import guard
from lmaczs.ui.cache import keep_sweeping, remove_when_terminated, visitors_folder, workshop
from lmaczs.ui.endpoints import add_endpoints
from lmaczs.ui.events import Parts, Try, wire
from lmaczs.ui.examples import examples_folder, load_examples
from lmaczs.ui.facts import about, page_facts
from lmaczs.ui.model_choice import add_model_choice
from lmaczs.ui.models import TEST, Models
from lmaczs.ui.own_folders import own_folder
from lmaczs.ui.quiet_errors import keep_log_short
from lmaczs.ui.settings import Settings, launch_options
from lmaczs.ui.sound_file import sound_file
from lmaczs.ui.stored import load_stored
from lmaczs.ui.studio import Studio

# Events between two of Gradio's summaries of all events, which nobody can ask for here.
NEVER = "1000000000"
# Of a recording: it is sent uncompressed.
RECORDING_S = 600


class Page(gr.Blocks):
    """The Gradio app together with its studio; `serve` starts both."""

    studio: Studio
    public: TemporaryDirectory[str]

    def serve(self, ready: Callable[[str], None] = lambda url: None) -> None:
        """Warm the models up in the background and serve until stopped; visitors' files go when their time is over.

        Args:
            ready: called with the page's address once it answers.

        Raises:
            LMACError: the port is taken.
        """
        self.studio.queue.submit(self.studio.warm_up)
        files, settings = visitors_folder(), self.studio.settings
        guard(settings.max_file_mb * 10**6)
        keep_log_short()
        remove_when_terminated(files, self.public, workshop())
        keep_sweeping(Path(files.name), 60 * settings.keep_minutes, self._own_files, settings.most_mb * 10**6)
        os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", NEVER)
        self.queue(max_size=64, default_concurrency_limit=1)
        try:
            _, url, _ = self.launch(**launch_options(settings), prevent_thread_lock=True, quiet=True)
        except OSError as error:
            if settings.port is None or "empty port" not in str(error):
                raise
            raise LMACError(text.PORT_TAKEN.format(port=settings.port, other=settings.port + 1)) from None
        ready(url)
        self.block_thread()

    def _own_files(self) -> set[str]:
        """What the page shows before anybody asks."""
        return set().union(*(block.keep_in_cache for block in self.blocks.values()))


def build_demo(settings: Settings) -> Page:
    """Lay the page out; needs no weights and no network."""
    # Before the first component, which asks where to put files.
    visitors_folder()
    zero_gpu.prepare()
    models = Models(settings)
    studio = models.default
    public = _public_copy()
    examples = load_examples(public.name)
    # What is stored is the embedded classifier's work.
    own = settings.backend in (EMBEDDED, TEST)
    stored = [load_stored(example) if own else None for example in examples]
    first, shown = (examples[0], stored[0]) if stored and stored[0] else (None, None)
    labels, sets_offered = labels_for(settings.backend), _offered_sets(settings)
    if labels is not None:
        # Nothing else is a prompt to this classifier.
        examples = [replace(example, prompts=labels) for example in examples]
    with Page(title=text.TITLE, analytics_enabled=False, fill_width=True) as demo:
        demo.studio, demo.public = studio, public
        with gr.Row(elem_id="lz-top"):
            _header()
            add_model_choice(demo, models)
        with gr.Row(elem_id="lz-bring"):
            components.source({"most_mb": settings.max_file_mb, "most_seconds": RECORDING_S})
            with gr.Row(elem_id="lz-sound-field"):
                sound = sound_file(None if first is None else str(first.path))
            tries = _small_buttons([one.title for one in examples], "Try", "lz-tries")
        with gr.Row(elem_id="lz-desk"):
            with gr.Column(elem_id="lz-stage"):
                notice = components.notice()
                player = components.player(
                    shown["player"] | {"turn": 0, "serial": 0} if shown else None,
                    page_facts(settings.study is not None),
                )
                progress = components.progress()
            with gr.Column(elem_id="lz-rail"), gr.Column(elem_classes="lz-step"):
                _step("Prompts")
                suggested = sorted({prompt for one in sets_offered.values() for prompt in one})
                scores = components.scores(shown["scores"] if shown else None, {"suggested": suggested})
                typed = _prompts(labels or (first.prompts if first else ()))
                buttons = _small_buttons(list(sets_offered), "Sets", "lz-sets")
                sets = dict(zip(buttons, sets_offered.values(), strict=True))
                _static(f'<p class="lz-hint">{text.SOUND_HINT.format(minutes=round(MAX_SECONDS / 60))}</p>')
        with gr.Accordion("About what you see and hear", open=False, elem_id="lz-about"):
            _static(about())
        results = {"scores": scores, "player": player, "notice": notice, "progress": progress}
        comparisons = Comparisons(settings.study) if settings.study else None
        ready = [Try(*one) for one in zip(examples, stored, tries, strict=True)]
        wire(demo, models, Parts(sound, typed, results, ready, sets), comparisons)
        add_endpoints(studio)
        page: Page = demo
    return page


def _offered_sets(settings: Settings) -> dict[str, list[str]]:
    """Prompts that a press adds: sets of sentences, or the labels of a classifier that takes no others."""
    labels = labels_for(settings.backend)
    return text.PROMPT_SETS if labels is None else {text.ALL_LABELS: list(labels)}


def _public_copy() -> TemporaryDirectory[str]:
    """The examples in a temporary folder: Gradio serves nothing from the place where a package is installed."""
    folder, public = examples_folder(), own_folder(str(Path(visitors_folder().name).parent))
    if folder is not None:
        shutil.copytree(folder, public.name, dirs_exist_ok=True)
    return public


def _header() -> None:
    _static(f'<header class="lz-title"><h1>{text.TITLE}</h1><p>{text.LEAD}</p></header>')


def _step(name: str) -> None:
    _static(f'<h2 class="lz-heading">{name}</h2>')


def _static(template: str) -> None:
    """The page's own words; never anything that a person typed."""
    gr.HTML(html_template=template, js_on_load=None, apply_default_css=False)


def _prompts(prompts: Sequence[str]) -> gr.Textbox:
    return gr.Textbox(
        "\n".join(prompts),
        lines=5,
        max_lines=5,
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
