"""The page's work for programs: named endpoints for `gradio_client`, and for MCP where `gradio[mcp]` is installed.

Each does what a button of the page does, with the same studio. Gradio reads signatures and docstrings: types become the
schema that programs see, one line per argument becomes its description.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

import gradio as gr
from gradio.data_classes import FileData
from gradio_client.utils import is_file_obj_with_meta

from lmaczs.errors import AudioError, LMACError
from lmaczs.plots import save_explanation_figure
from lmaczs.results import prediction_row, result_row
from lmaczs.signal.audio import save_wav
from lmaczs.types import ExplainResult
from lmaczs.ui import text
from lmaczs.ui.prompts import check_prompts, read_prompts
from lmaczs.ui.studio import DOMAINS, Studio

Result = TypeVar("Result")
NAMES = ("classify", "explain", "methods")


def add_endpoints(studio: Studio) -> None:
    """Add /classify, /explain and /methods to the page that is being built.

    Args:
        studio: of the page.
    """

    def classify(audio: FileData, prompts: list[str]) -> dict[str, Any]:
        """Say which of some sentences fits a recording best, with a zero-shot audio classifier (CLAP).

        Args:
            audio: recording of up to 30 minutes; wav, flac, ogg, opus or mp3, and m4a, webm or mp4 where there is ffmpeg
            prompts: sentences that say what the sound might be, like "a dog barking"; probabilities are relative to these

        Returns:
            prompts; similarities, cosines in [-1, 1]; probabilities, in [0, 1], sum 1; predicted, an index into prompts
        """

        with _one_sentence():
            path, wanted = _path(audio), _prompts(prompts)
            return prediction_row(_done(studio, lambda: studio.classify(studio.hear(path), wanted)))

    def explain(  # type: ignore[misc] # Gradio wants the type of what is yielded
        audio: FileData,
        prompts: list[str],
        target: str | None = None,
        method: str | None = None,
        domain: Literal["stft", "mel"] = "stft",
    ) -> tuple[dict[str, Any], FileData, FileData, FileData]:
        """Let a person hear and see which part of a recording an audio classifier's choice of a sentence rests on.

        Args:
            audio: recording of up to 30 minutes; wav, flac, ogg, opus or mp3, and m4a, webm or mp4 where there is ffmpeg
            prompts: sentences that say what the sound might be, like "a dog barking"; probabilities are relative to these
            target: sentence to explain, also one that is not among prompts; null explains the most probable one
            method: name of an explanation method, as /methods lists them; null takes the default one
            domain: what is masked: "stft", cell by cell as it is heard, or "mel", the bands that the classifier hears

        Returns:
            numbers: scores of the prompts, probability of the target on the whole and on both parts, faithfulness metrics
            kept: WAV file, the part of the recording that counted for the target
            removed: WAV file, the part that was ignored; kept and removed add up to the recording
            picture: PNG file, spectrogram and mask
        """
        with _one_sentence():
            path, wanted = _path(audio), _prompts(prompts)
            sentence = _target(target)
            place = _one_of("domain", domain, DOMAINS)

            def work() -> tuple[ExplainResult, dict[str, float]]:
                heard = studio.hear(path)
                explained = studio.explain(heard, wanted, sentence, method, place)
                return explained.result, studio.check(heard, explained)

            result, probability = _done(studio, work)
            label = studio.explainer(method, place).label
            with TemporaryDirectory(prefix="lmaczs-") as folder:  # Gradio serves its own copies
                kept, removed, picture = (
                    Path(folder, name) for name in ("kept.wav", "removed.wav", "picture.png")
                )
                save_wav(result.listening.kept, kept)
                save_wav(result.listening.removed, removed)
                save_explanation_figure(result, picture, label)
                row = result_row(result, studio.settings.backend) | {"probability": probability}
                yield row, *(FileData(path=str(file)).model_dump() for file in (kept, removed, picture))

    def methods() -> dict[str, Any]:
        """List the explanation methods that can run here, the default and the fast ones first.

        Returns:
            backend, the classifier; default, a method; methods: name, label, domains and prompts (null: any) of each
        """
        with _one_sentence():
            labels, closed = _done(studio, lambda: (studio.labels(), studio.closed_sets()))
        names = list(dict.fromkeys(name for domain in DOMAINS for name in labels[domain]))
        rows = []
        for name in names:
            domains = [domain for domain in DOMAINS if name in labels[domain]]
            label, known = labels[domains[0]][name], closed.get(name)
            rows.append({"name": name, "label": label, "domains": domains, "prompts": known})
        return {"backend": studio.settings.backend, "default": names[0] if names else None, "methods": rows}

    for name, endpoint in zip(NAMES, (classify, explain, methods), strict=True):
        # Programs wait in Gradio's queue, which tells them their place, and one of them at a time beside the visitors.
        gr.api(endpoint, api_name=name, concurrency_id="programs", concurrency_limit=1)


def _done(studio: Studio, work: Callable[[], Result]) -> Result:
    """Do work where the page does its own, and after those who came before."""
    return studio.worker.submit(work).result()


def _path(audio: Any) -> str:
    """Where the upload lies.

    Raises:
        AudioError: it is no upload. Gradio has checked every file that is marked as one, and nothing else: any other
            value might name a file of the server.
    """
    if not is_file_obj_with_meta(audio):
        raise AudioError(text.NO_UPLOAD)
    return audio["path"]


def _prompts(value: Any) -> list[str]:
    """A list of sentences; one text with a sentence per line will do."""
    return read_prompts(value) if isinstance(value, str) else check_prompts(value)


def _target(value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise LMACError(text.NO_TARGET)
    return None if value is None else check_prompts([value])[0]


def _one_of(name: str, value: Any, known: tuple[Result, ...]) -> Result:
    if value not in known:
        raise LMACError(
            f"There is no {name} '{str(value)[:40]}': choose one of {', '.join(map(str, known))}."
        )
    return value


@contextmanager
def _one_sentence() -> Iterator[None]:
    """What a person or program can mend becomes the answer's one sentence."""
    try:
        yield
    except LMACError as error:
        raise gr.Error(str(error), print_exception=False) from None
