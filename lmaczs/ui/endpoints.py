"""The page's work for programs: named endpoints for `gradio_client`, and for MCP where `gradio[mcp]` is installed.

Each does what a button of the page does, with the same studio. Gradio reads signatures and docstrings: types become the
schema that programs see, one line per argument becomes its description.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from gradio.data_classes import FileData
from gradio.events import api
from gradio.exceptions import Error
from gradio_client.utils import is_file_obj_with_meta

from lmaczs.errors import AudioError, LMACError
from lmaczs.explainers import DOMAINS
from lmaczs.plots import save_explanation_figure
from lmaczs.results import prediction_row, result_row
from lmaczs.signal.audio import save_wav
from lmaczs.types import ExplainResult, Progress
from lmaczs.ui import text
from lmaczs.ui.cache import passing_folder
from lmaczs.ui.callers import caller_has_left
from lmaczs.ui.progress import Stopped, finished, watched
from lmaczs.ui.prompts import check_prompts, split_prompts
from lmaczs.ui.studio import Studio

Result = TypeVar("Result")
NAMES = ("classify", "explain", "methods")


def add_endpoints(studio: Studio) -> None:
    """Add /classify, /explain and /methods to the page that is being built.

    Args:
        studio: of the page.
    """
    endpoints = Endpoints(studio)
    for name in NAMES:
        # Programs wait in Gradio's queue, which tells them their place, and one of them at a time beside the visitors.
        api(getattr(endpoints, name), api_name=name, concurrency_id="programs", concurrency_limit=1)


class Endpoints:
    """What programs can call; the first paragraph and the arguments of each docstring are what they are told."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def classify(self, audio: FileData, prompts: list[str]) -> dict[str, Any]:
        """Say which of some sentences fits a recording best, with a zero-shot audio classifier (CLAP).

        Args:
            audio: recording of up to 30 minutes; wav, flac, ogg, opus or mp3, and m4a, webm or mp4 where there is ffmpeg
            prompts: sentences that say what the sound might be, like "a dog barking"; probabilities are relative to these

        Returns:
            prompts; similarities, cosines in [-1, 1], or logits, as unit says; probabilities, in [0, 1], sum 1 (of a
                multi-label classifier each by itself); predicted, an index into prompts; match, which of them fit
                by themselves
        """
        studio = self.studio
        with _one_sentence():
            path, wanted = _path(audio), _prompts(prompts, studio.own_labels)
            return prediction_row(
                self._done(lambda report: studio.classify(studio.hear(path, report), wanted))
            )

    def explain(  # type: ignore[misc] # Gradio wants the type of what is yielded
        self,
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
            numbers: scores, evidence ("absent" if nothing speaks for the target), probability on each part, metrics,
                verdict (whether to believe it: key, level and words)
            kept: WAV file, the part of the recording that counted for the target
            removed: WAV file, the part that was ignored; kept and removed add up to the recording
            picture: PNG file, spectrogram and mask
        """
        studio = self.studio
        with _one_sentence():
            path, wanted = _path(audio), _prompts(prompts, studio.own_labels)
            sentence, name = _target(target), _method(method)
            place = _one_of("domain", domain, DOMAINS)

            def work(report: Progress) -> ExplainResult:
                heard = studio.hear(path, report)
                explained = studio.explain(heard, wanted, sentence, name, place, report)
                studio.measure(heard, explained, report)
                return explained.result

            result = self._done(work)
            label = studio.method(name, place).label
            # Gradio serves its own copies.
            with passing_folder() as folder:
                files = [Path(folder, name) for name in ("kept.wav", "removed.wav", "picture.png")]
                save_wav(result.listening.kept, files[0])
                save_wav(result.listening.removed, files[1])
                save_explanation_figure(result, files[2], label)
                row = result_row(result, studio.backend_name)
                yield row, *(FileData(path=str(file)).model_dump() for file in files)

    def methods(self) -> dict[str, Any]:
        """List the explanation methods that can run here, the default and the fast ones first.

        Returns:
            backend, the classifier; default, a method; methods: name, label, domains and prompts (null: any) of each
        """
        studio = self.studio
        with _one_sentence():
            labels, closed = self._done(lambda report: (studio.labels(), studio.closed_sets()))
        names = list(dict.fromkeys(name for domain in DOMAINS for name in labels[domain]))
        rows = []
        for name in names:
            domains = [domain for domain in DOMAINS if name in labels[domain]]
            label, known = labels[domains[0]][name], closed.get(name)
            rows.append({"name": name, "label": label, "domains": domains, "prompts": known})
        return {"backend": studio.backend_name, "default": names[0] if names else None, "methods": rows}

    def _done(self, work: Callable[[Progress], Result]) -> Result:
        """Do work where the page does its own, and after those who came before; it ends when nobody waits any more.

        Raises:
            LMACError: nobody waits any more.
        """
        try:
            return finished(watched(work, self.studio.queue, caller_has_left()))
        except Stopped:
            raise LMACError(text.NOBODY_WAITS) from None


def _path(audio: Any) -> str:
    """Where the upload lies.

    Raises:
        AudioError: it is no upload. Gradio has checked every file that is marked as one, and nothing else: any other
            value might name a file of the server.
    """
    if not is_file_obj_with_meta(audio):
        raise AudioError(text.NO_UPLOAD)
    path: str = audio["path"]
    return path


def _prompts(value: Any, labels: Sequence[str] | None) -> list[str]:
    """A list of sentences; one text with a sentence per line will do."""
    return split_prompts(value, labels) if isinstance(value, str) else check_prompts(value, labels)


def _target(value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise LMACError(text.NO_TARGET)
    return None if value is None else check_prompts([value])[0]


def _method(value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise LMACError(text.NO_METHOD_NAME)
    return value


def _one_of(name: str, value: Any, known: tuple[Result, ...]) -> Result:
    found = next((choice for choice in known if choice == value), None)
    if found is None:
        raise LMACError(
            f"There is no {name} '{str(value)[:40]}': choose one of {', '.join(map(str, known))}."
        )
    return found


@contextmanager
def _one_sentence() -> Iterator[None]:
    """What a person or program can mend becomes the answer's one sentence."""
    try:
        yield
    except LMACError as error:
        raise Error(str(error), print_exception=False) from None
