"""The models behind the page, loaded once, and the last recordings they heard; knows nothing of Gradio."""

import hashlib
import itertools
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import soundfile

from lmaczs.errors import AudioError, LMACError
from lmaczs.explainers.base import no_progress
from lmaczs.types import MaskDomain, Progress
from lmaczs.ui import text
from lmaczs.ui.settings import Settings

if TYPE_CHECKING:
    from lmaczs.clap.base import CLAPBackend
    from lmaczs.explainers.base import Explainer
    from lmaczs.pipeline import Recording
    from lmaczs.types import ExplainResult, Prediction

logger = logging.getLogger(__name__)
Kept = TypeVar("Kept")
HEARD_SECONDS = 1200  # of all recordings in memory together
EXPLAINED_SECONDS = 300  # of all explanations in memory together
DOMAINS: tuple[MaskDomain, ...] = ("stft", "mel")
TRACKS = ("original", "kept", "removed")
QUICK = (
    None,
    "grad-cam++",
)  # one with its own weights, one with gradients: they warm up whatever the others need


@dataclass(frozen=True)
class Explained:
    """An explanation, and what is learnt about it later.

    Attributes:
        result: its metrics are filled by `Studio.check`.
        seconds: how long it took.
        probability: of the target, in [0, 1], by track; filled by `Studio.check`.
    """

    result: "ExplainResult"
    seconds: float
    probability: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Heard:
    """A recording that the classifier has heard.

    Attributes:
        id: hash of the uploaded bytes and of nothing else.
        recording: its encoder passes.
    """

    id: str
    recording: "Recording"


def _forget(
    kept: OrderedDict[Any, Kept], seconds: Callable[[Kept], float], most_s: float, most: int | None = None
) -> None:
    """Drop the oldest until what is kept fits; the newest always stays."""
    while len(kept) > 1 and (
        (most is not None and len(kept) > most) or sum(map(seconds, kept.values())) > most_s
    ):
        kept.popitem(last=False)


class Studio:
    """Loads the models at the first use; safe to call from several threads, one at a time does the work."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.worker = ThreadPoolExecutor(1, "models")  # one: torch keeps a pool of threads for each caller
        self._lock = threading.RLock()
        self._heard: OrderedDict[str, Heard] = OrderedDict()
        self._explained: OrderedDict[tuple, Explained] = OrderedDict()
        self._explainers: dict[str, dict[str, Explainer]] = {}

    @property
    def backend(self) -> "CLAPBackend":
        """The CLAP; `load_backend` keeps it."""
        from lmaczs import load_backend

        with self._lock:
            return load_backend(self.settings.backend, self.settings.device)

    def explainers(self, domain: MaskDomain = "stft") -> "dict[str, Explainer]":
        """Every method that can run here, by key, the default and the fast ones first."""
        from lmaczs import load_explainer
        from lmaczs.explainers import EXPLAINERS

        with self._lock:
            if domain not in self._explainers:
                backend, found = self.backend, {}
                for name in EXPLAINERS:
                    try:
                        found[name] = load_explainer(name, backend, domain)
                    except LMACError as error:
                        logger.info("without %s in the %s domain: %s", name, domain, error)
                self._explainers[domain] = found
            return self._explainers[domain]

    def explainer(self, method: str | None = None, domain: MaskDomain = "stft") -> "Explainer":
        """A method or control by key, or the default method.

        Raises:
            LMACError: it cannot run here.
        """
        from lmaczs.ui.controls import CONTROLS, Control

        if method in CONTROLS:
            return Control(self.backend, domain, method)
        found = self.explainers(domain)
        if not found:
            raise LMACError(text.NO_METHOD.format(backend=self.settings.backend))
        name = next(iter(found)) if method is None else method
        if name not in found:
            raise LMACError(f"There is no method '{str(name)[:40]}' here: choose one of {', '.join(found)}.")
        return found[name]

    def labels(self) -> dict[str, dict[str, str]]:
        """Names for people of all methods that can run here: domain -> key -> label."""
        return {
            domain: {name: explainer.label for name, explainer in self.explainers(domain).items()}
            for domain in DOMAINS
        }

    def hear(self, path: str | None, progress: Progress = no_progress) -> Heard:
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
            _forget(
                self._heard,
                lambda heard: heard.recording.clip.duration_s,
                HEARD_SECONDS,
                self.settings.recordings_kept,
            )
            return self._heard[key]

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
        domain: MaskDomain = "stft",
        progress: Progress = no_progress,
    ) -> Explained:
        """Explain one prompt with one method or control, or take the explanation from the last ones."""
        from lmaczs.pipeline import explain

        explainer = self.explainer(method, domain)
        key = (heard.id, tuple(prompts), target, method or explainer.name, domain)
        with self._lock:
            if key not in self._explained:
                start = time.perf_counter()
                result = explain(
                    heard.recording,
                    prompts,
                    self.backend,
                    explainer,
                    target=target,
                    score=False,
                    progress=progress,
                )
                self._explained[key] = Explained(result, time.perf_counter() - start)
            self._explained.move_to_end(key)
            _forget(self._explained, lambda explained: explained.result.clip.duration_s, EXPLAINED_SECONDS)
            return self._explained[key]

    def check(self, heard: Heard, explained: Explained, progress: Progress = no_progress) -> dict[str, float]:
        """Let the classifier hear the parts.

        Returns:
            The target's probability on each of `TRACKS`, in [0, 1]; the numbers of `lmaczs explain` are left in the
            result's metrics.
        """
        from lmaczs.pipeline import logits_of_parts, metrics_of_parts

        result = explained.result
        with self._lock:
            if not explained.probability:
                logits, target = logits_of_parts(result, heard.recording, self.backend, progress)
                result.metrics.update(metrics_of_parts(result, logits, target))
                shares = logits.softmax(-1)[:, target]
                explained.probability.update(zip(TRACKS, map(float, shares), strict=True))
            return explained.probability

    def warm_up(self) -> None:
        """Do all that is slow only once, so that the first click is quick; errors wait for that click."""
        noise = np.random.default_rng(0).normal(0, 0.1, 5 * 44100)
        try:
            with TemporaryDirectory() as folder:
                soundfile.write(Path(folder, "noise.wav"), noise, 44100)
                heard = self.hear(str(Path(folder, "noise.wav")))
            for name in QUICK:
                self.check(heard, self.explain(heard, ["noise", "silence"], None, name))
            with self._lock:
                self._heard.pop(heard.id, None)
                self._explained.clear()
            self._encode_next(iter(dict.fromkeys(itertools.chain.from_iterable(text.PROMPT_SETS.values()))))
        except LMACError as error:
            logger.warning("%s", error)

    def _encode_next(self, prompts: Iterator[str]) -> None:
        """One prompt a task: a visitor's click comes in between."""
        prompt = next(prompts, None)
        if prompt is not None:
            with self._lock:
                self.backend.encode_text([prompt])
            self.worker.submit(self._encode_next, prompts)
