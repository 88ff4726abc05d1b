"""The models behind the page, loaded once, and the last recordings they heard; knows nothing of Gradio."""

import hashlib
import itertools
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import soundfile

from lmaczs.errors import AudioError, LMACError
from lmaczs.explainers.base import no_progress
from lmaczs.signal.windows import plan_windows
from lmaczs.types import AudioClip, MaskDomain, Progress
from lmaczs.ui import text, zero_gpu
from lmaczs.ui.line import Line
from lmaczs.ui.settings import Settings
from lmaczs.ui.tasks import TASKS
from lmaczs.ui.zero_gpu import Loan

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
EMBEDDED = Settings.backend  # the stored example is its work
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
        id: hash of the uploaded bytes, with the classifier's key unless that is the embedded one: the browser tells the
            explanations of two classifiers apart by it, and knows the stored example's already.
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

    def __init__(
        self,
        settings: Settings,
        worker: Line | None = None,
        backend: "CLAPBackend | None" = None,
        borrows: bool = True,
    ) -> None:
        """Load nothing yet.

        Args:
            settings: of the page.
            worker: does all work; None makes one.
            backend: the CLAP, where it is loaded already.
            borrows: a GPU for each piece of work, where one is lent (see `lmaczs.ui.zero_gpu`).
        """
        self.settings = settings
        self.worker = worker or Line()
        self._backend = backend
        self._borrows = borrows and zero_gpu.is_lent()
        self._lock = threading.RLock()
        self._loading = threading.RLock()  # its own: who asks what there is does not wait for long work
        self._heard: OrderedDict[str, Heard] = OrderedDict()
        self._explained: OrderedDict[tuple, Explained] = OrderedDict()
        self._explainers: dict[str, dict[str, Explainer]] = {}

    @property
    def backend(self) -> "CLAPBackend":
        """The CLAP, held here: other visitors may load others meanwhile."""
        from lmaczs import load_backend

        with self._loading:
            if self._backend is None:
                self._backend = load_backend(
                    self.settings.backend, zero_gpu.resting_device(self.settings.device)
                )
            return self._backend

    def _do(
        self, task: str, *arguments: Any, clip: AudioClip, method: str | None = None, progress: Progress
    ) -> Any:
        """A piece of work with the classifier: here, or on a GPU that is lent for it.

        Args:
            task: key in `lmaczs.ui.tasks.TASKS`.
            arguments: of the task.
            clip: its length says for how long a GPU is needed.
            method: that explains, if it does.
            progress: see `lmaczs.types.Progress`.
        """
        if self._borrows:
            samples = round(clip.duration_s * self.backend.spectral.sample_rate)
            windows = len(plan_windows(samples, self.backend.clip_samples).starts)
            loan = Loan(task, self.settings, arguments, windows, method)
            if zero_gpu.is_worth_it(loan):
                return zero_gpu.lend(loan, progress)
        return TASKS[task](self, *arguments, progress)

    def explainers(self, domain: MaskDomain = "stft") -> "dict[str, Explainer]":
        """Every method that can run here, by key, the default and the fast ones first."""
        from lmaczs import load_explainer
        from lmaczs.explainers import EXPLAINERS

        with self._loading:
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

    def closed_sets(self) -> dict[str, list[str]]:
        """The prompts that a method knows, for the methods that do not take any: key -> prompts."""
        found = {**self.explainers("mel"), **self.explainers("stft")}
        return {name: list(method.prompts) for name, method in found.items() if method.prompts is not None}

    def hear(self, path: str | None, progress: Progress = no_progress) -> Heard:
        """Open a recording, or take it from the last ones.

        Raises:
            AudioError: there is none, or it cannot be used.
        """
        if not path:
            raise AudioError(text.NO_SOUND)
        from lmaczs import load_clip

        try:
            key = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
            key += "" if self.settings.backend == EMBEDDED else f"-{self.settings.backend}"
        except OSError:
            raise AudioError(text.GONE) from None
        with self._lock:
            if key not in self._heard:
                clip = load_clip(path)
                self._heard[key] = Heard(key, self._do("listen", clip, clip=clip, progress=progress))
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
        explainer = self.explainer(method, domain)
        key = (heard.id, tuple(prompts), target, method or explainer.name, domain)
        with self._lock:
            if key not in self._explained:
                start = time.perf_counter()
                result = self._do(
                    "explain",
                    heard.recording,
                    prompts,
                    target,
                    method,
                    domain,
                    clip=heard.recording.clip,
                    method=method or explainer.name,
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
        from lmaczs.pipeline import metrics_of_parts

        result = explained.result
        with self._lock:
            if not explained.probability:
                logits, target = self._do(
                    "check", result, heard.recording, clip=result.clip, progress=progress
                )
                result.metrics.update(metrics_of_parts(result, logits, target))
                shares = logits.softmax(-1)[:, target]
                explained.probability.update(zip(TRACKS, map(float, shares), strict=True))
            return explained.probability

    def warm_up(self) -> None:
        """Do all that is slow only once, so that the first click is quick; errors wait for that click."""
        if self._borrows:
            self.labels()  # read once, for all processes to come; nobody's quota is spent
            return
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
