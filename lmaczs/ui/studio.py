"""The models behind the page, loaded once, and the last recordings they heard; knows nothing of Gradio."""

import hashlib
import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from lmaczs.errors import AudioError, LMACError
from lmaczs.ui import text
from lmaczs.ui.progress import Report
from lmaczs.ui.settings import Settings

if TYPE_CHECKING:
    from lmaczs.clap.base import CLAPBackend
    from lmaczs.explainers.base import Explainer
    from lmaczs.pipeline import Recording
    from lmaczs.types import ExplainResult, Prediction

logger = logging.getLogger(__name__)
SECONDS_KEPT = 1200  # of all recordings in memory together


def quiet(share: float, message: str) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class Heard:
    """A recording that the classifier has heard.

    Attributes:
        id: hash of the uploaded bytes and of nothing else.
        recording: its encoder passes.
    """

    id: str
    recording: "Recording"


class Studio:
    """Loads the models at the first use; safe to call from several threads, one at a time does the work."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.worker = ThreadPoolExecutor(1, "models")  # one: torch keeps a pool of threads for each caller
        self._lock = threading.RLock()
        self._heard: OrderedDict[str, Heard] = OrderedDict()
        self._explainers: dict[str, Explainer] | None = None

    @property
    def backend(self) -> "CLAPBackend":
        """The CLAP; `load_backend` keeps it."""
        from lmaczs import load_backend

        with self._lock:
            return load_backend(self.settings.backend, self.settings.device)

    @property
    def explainers(self) -> "dict[str, Explainer]":
        """Every method that can run here, by key, the default first."""
        from lmaczs import load_explainer
        from lmaczs.explainers import EXPLAINERS

        with self._lock:
            if self._explainers is None:
                backend, found = self.backend, {}
                for name in EXPLAINERS:
                    try:
                        found[name] = load_explainer(name, backend)
                    except LMACError as error:
                        logger.info("without %s: %s", name, error)
                self._explainers = found
            return self._explainers

    def explainer(self, method: str | None = None) -> "Explainer":
        """A method by key, or the default.

        Raises:
            LMACError: it cannot run here.
        """
        found = self.explainers
        if not found:
            raise LMACError(text.NO_METHOD.format(backend=self.settings.backend))
        name = next(iter(found)) if method is None else method
        if name not in found:
            raise LMACError(f"There is no method '{str(name)[:40]}' here: choose one of {', '.join(found)}.")
        return found[name]

    def hear(self, path: str | None, progress: Report = quiet) -> Heard:
        """Open a recording, or take it from the last ones.

        Raises:
            AudioError: there is none, or it cannot be used.
        """
        if not path:
            raise AudioError(text.NO_SOUND)
        from lmaczs import load_clip
        from lmaczs.pipeline import open_recording

        try:
            key = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
        except OSError:
            raise AudioError(text.GONE) from None
        with self._lock:
            if key not in self._heard:
                self._heard[key] = Heard(key, open_recording(load_clip(path), self.backend, progress))
            self._heard.move_to_end(key)
            self._forget_old()
            return self._heard[key]

    def _forget_old(self) -> None:
        def too_much() -> bool:
            seconds = sum(heard.recording.clip.duration_s for heard in self._heard.values())
            return len(self._heard) > self.settings.recordings_kept or seconds > SECONDS_KEPT

        while len(self._heard) > 1 and too_much():
            self._heard.popitem(last=False)

    def classify(self, heard: Heard, prompts: Sequence[str]) -> "Prediction":
        """Which prompt fits best."""
        from lmaczs.pipeline import classify

        with self._lock:
            return classify(heard.recording, prompts, self.backend)

    def explain(
        self,
        heard: Heard,
        prompts: Sequence[str],
        target: str | None,
        method: str | None,
        progress: Report = quiet,
        *,
        score: bool = False,
    ) -> "ExplainResult":
        """Explain one prompt; scoring the explanation takes two more encoder passes."""
        from lmaczs.pipeline import explain

        explainer = self.explainer(method)
        with self._lock:
            recording, backend = heard.recording, self.backend
            return explain(
                recording, prompts, backend, explainer, target=target, score=score, progress=progress
            )

    def listen(self, result: "ExplainResult", progress: Report = quiet) -> dict[str, float]:
        """The target's probability on the original, on what is kept alone and on what is removed alone."""
        from lmaczs.pipeline import classify, open_recording

        prompts = tuple(dict.fromkeys((*result.prediction.prompts, result.target)))
        index = prompts.index(result.target)
        clips = {"original": result.clip, "kept": result.listening.kept, "removed": result.listening.removed}
        found = {}
        for name, clip in clips.items():
            with self._lock:
                prediction = classify(open_recording(clip, self.backend, progress), prompts, self.backend)
            found[name] = float(prediction.probabilities[index])
        return found

    def warm_up(self) -> None:
        """Do all that is slow only once, so that the first click is quick; errors wait for that click."""
        noise = np.random.default_rng(0).normal(0, 0.1, 5 * 44100)
        try:
            with TemporaryDirectory() as folder:
                soundfile.write(Path(folder, "noise.wav"), noise, 44100)
                heard = self.hear(str(Path(folder, "noise.wav")))
            for name in self.explainers:
                self.listen(self.explain(heard, ["noise", "silence"], None, name))
            with self._lock:
                self._heard.pop(heard.id, None)
            for prompt in dict.fromkeys(itertools.chain.from_iterable(text.PROMPT_SETS.values())):
                with self._lock:  # one at a time: a visitor's click comes in between
                    self.backend.encode_text([prompt])
        except LMACError as error:
            logger.warning("%s", error)
