"""One classifier behind the page: loaded once, asked for one thing at a time, its last results kept."""

import hashlib
import itertools
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import soundfile

from lmaczs.clap import EMBEDDED, labels_for
from lmaczs.clap.labels.folders import shown_name
from lmaczs.errors import AudioError, LMACError
from lmaczs.explainers import DOMAINS
from lmaczs.types import ExplainResult, MaskDomain, Prediction, Progress, no_progress
from lmaczs.ui import text, zero_gpu
from lmaczs.ui.area_key import split_area
from lmaczs.ui.cache import passing_folder
from lmaczs.ui.engine import Engine, Runner
from lmaczs.ui.result_size import bytes_of
from lmaczs.ui.settings import Settings
from lmaczs.ui.work_queue import WorkQueue

if TYPE_CHECKING:
    from torch import Tensor

    from lmaczs.clap.base import CLAPBackend
    from lmaczs.explainers.base import Method
    from lmaczs.hearing import ExplainedPart, HeardOverTime, Partwise, Recording

logger = logging.getLogger(__name__)
Cached = TypeVar("Cached")
# Of all recordings in memory together.
RECORDINGS_S = 1200
# Of all explanations in memory together, MB: those with components hold several times as much as others.
RESULTS_MB = 512.0
# Of all explanations that are under way in parts, or were stopped.
PARTWISE_S = 600
# Windows from which a recording is explained part by part: 80 s of the embedded classifier.
PARTWISE_FROM = 17
# In the caches: whose file it was is nobody else's business.
NAMELESS = "recording"


@dataclass(frozen=True)
class CachedRecording:
    """A recording that the classifier has heard, with the name that this visitor's file has.

    Attributes:
        id: hash of the uploaded bytes, with the classifier's key unless that is the embedded one: the browser tells the
            explanations of two classifiers apart by it, and knows the stored example's already.
        recording: what the classifier heard.
    """

    id: str
    recording: "Recording"

    @property
    def name(self) -> str:
        """Of the visitor's file, without its ending."""
        return self.recording.clip.name

    def named(self, name: str) -> "CachedRecording":
        """The same under another name."""
        clip = replace(self.recording.clip, name=name)
        return replace(self, recording=replace(self.recording, clip=clip))


@dataclass(frozen=True)
class CachedResult:
    """An explanation, and what is learnt about it later.

    Attributes:
        result: its metrics and probabilities are filled by `Studio.measure`.
        seconds: how long it took.
    """

    result: ExplainResult
    seconds: float

    def named(self, name: str) -> "CachedResult":
        """The same for a recording of another name; what is filled later is shared."""
        result, sounds = self.result, self.result.listening
        old = result.clip.name

        def renamed(clip: Any) -> Any:
            return None if clip is None else replace(clip, name=name + clip.name.removeprefix(old))

        listening = replace(
            sounds,
            kept=renamed(sounds.kept),
            removed=renamed(sounds.removed),
            components=tuple(map(renamed, sounds.components)),
            rest=renamed(sounds.rest),
        )
        return replace(self, result=replace(result, clip=renamed(result.clip), listening=listening))


def _forget(
    kept: OrderedDict[Any, Cached], size: Callable[[Cached], float], room: float, most: int | None = None
) -> None:
    """Drop the oldest until what is kept fits; the newest always stays.

    Args:
        kept: oldest first.
        size: of one of them, in any unit.
        room: for all of them, in that unit.
        most: of them.
    """
    while len(kept) > 1 and ((most is not None and len(kept) > most) or sum(map(size, kept.values())) > room):
        kept.popitem(last=False)


class Studio:
    """Loads the models at the first use; safe to call from several threads, one at a time does the work."""

    def __init__(
        self, settings: Settings, queue: WorkQueue | None = None, backend: "CLAPBackend | None" = None
    ) -> None:
        """Load nothing yet.

        Args:
            settings: of the page.
            queue: of all work; None makes one.
            backend: the CLAP, where it is loaded already.
        """
        self.settings = settings
        self.queue = queue or WorkQueue()
        self._engine = None if backend is None else Engine(backend)
        self._lock = threading.RLock()
        # Its own: who asks what there is does not wait for long work.
        self._loading = threading.RLock()
        self._recordings: OrderedDict[str, CachedRecording] = OrderedDict()
        self._results: OrderedDict[tuple[Any, ...], CachedResult] = OrderedDict()
        self._over_time: OrderedDict[str, HeardOverTime] = OrderedDict()
        # Explanations of long recordings that are under way, or were stopped; done ones become results.
        self._partwise: OrderedDict[tuple[Any, ...], Partwise] = OrderedDict()

    @property
    def engine(self) -> Engine:
        """The classifier, held here: other visitors may load others meanwhile."""
        from lmaczs import load_backend

        with self._loading:
            if self._engine is None:
                device = zero_gpu.resting_device(self.settings.device)
                self._engine = Engine(load_backend(self.settings.backend, device))
            return self._engine

    @property
    def backend(self) -> "CLAPBackend":
        """The CLAP of the engine."""
        return self.engine.backend

    @property
    def _runner(self) -> Runner:
        """Does the work: here, or on a GPU that is lent for each piece."""
        engine = self.engine
        return zero_gpu.LentRunner(engine) if zero_gpu.is_lent() else engine

    def method(self, name: str | None = None, domain: MaskDomain = "stft") -> "Method":
        """See `Engine.method`."""
        with self._loading:
            return self.engine.method(name, domain)

    def labels(self) -> dict[str, dict[str, str]]:
        """Names for people of all methods that can run here: domain -> key -> label."""
        with self._loading:
            return {
                domain: {name: method.label for name, method in self.engine.methods(domain).items()}
                for domain in DOMAINS
            }

    @property
    def backend_name(self) -> str:
        """The classifier's name for visitors and in their files."""
        return shown_name(self.settings.backend)

    @cached_property
    def own_labels(self) -> tuple[str, ...] | None:
        """Labels that the classifier was trained for; None: it takes any prompt. Known before it is loaded."""
        return labels_for(self.settings.backend)

    def closed_sets(self) -> dict[str, list[str]]:
        """The prompts that a method knows, for the methods that do not take any: key -> prompts."""
        with self._loading:
            found = {**self.engine.methods("mel"), **self.engine.methods("stft")}
        return {name: list(method.prompts) for name, method in found.items() if method.prompts is not None}

    def hear(self, path: str | None, progress: Progress = no_progress) -> CachedRecording:
        """Open a recording, or take it from the last ones.

        Raises:
            AudioError: there is none, or it cannot be used.
        """
        if not path:
            raise AudioError(text.NO_SOUND)
        from lmaczs import load_clip
        from lmaczs.signal.audio import clip_name

        try:
            with open(path, "rb") as file:
                key = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        except OSError:
            raise AudioError(text.GONE) from None
        key += "" if self.settings.backend == EMBEDDED else f"-{self.backend_name}"
        with self._lock:
            if key not in self._recordings:
                # Resampled as it is decoded: what a visitor's file states decides nothing about memory.
                rate = self.engine.backend.spectral.sample_rate
                clip = replace(load_clip(path, sample_rate=rate), name=NAMELESS)
                self._recordings[key] = CachedRecording(key, self._runner.listen(clip, progress))
            self._recordings.move_to_end(key)
            _forget(
                self._recordings,
                lambda cached: cached.recording.clip.duration_s,
                RECORDINGS_S,
                self.settings.recordings_kept,
            )
            return self._recordings[key].named(clip_name(path))

    def classify(self, cached: CachedRecording, prompts: Sequence[str]) -> Prediction:
        """Which prompt fits best."""
        with self._lock:
            return self.engine.classify(cached.recording, prompts)

    def over_time(
        self, cached: CachedRecording, prompts: Sequence[str], progress: Progress = no_progress
    ) -> "tuple[Tensor, Tensor] | None":
        """How the scores of prompts change within a recording: see `lmaczs.hearing.classify_over_time`.

        Returns:
            (places,) s and (places, prompts); None for a recording that fits into one window, unless the classifier
            embeds parts of windows.
        """
        from lmaczs.hearing import classify_over_time

        backend = self.engine.backend
        fits = len(cached.recording.clip.waveform) < backend.clip_samples + backend.spectral.sample_rate
        if fits and backend.frame_s is None:
            return None
        with self._lock:
            if cached.id not in self._over_time:
                self._over_time[cached.id] = self.engine.listen_over_time(cached.recording, progress)
            self._over_time.move_to_end(cached.id)
            _forget(self._over_time, lambda heard: 0.0, RECORDINGS_S, self.settings.recordings_kept)
            heard = self._over_time[cached.id]
            return heard.times, classify_over_time(heard, prompts, backend)

    def explain(
        self,
        cached: CachedRecording,
        prompts: Sequence[str],
        target: str | None,
        method: str | None,
        domain: MaskDomain = "stft",
        progress: Progress = no_progress,
    ) -> CachedResult:
        """Explain one prompt with one method or control, or take the explanation from the last ones.

        Args:
            method: its key, "KEY@N" for its strongest N % of the cells alone, or None for the default.
            cached: the recording, and so on as in `lmaczs.hearing.explain`.
        """
        found, key = self._asked(cached, prompts, target, method, domain)
        name = method or found.name
        base, share = split_area(method)
        with self._lock:
            if key not in self._results:
                start = time.perf_counter()
                nameless = cached.named(NAMELESS)
                work = self._partwise.get(key)
                if work is not None and work.is_done:
                    result = self._partwise.pop(key).result()
                    start -= work.seconds
                elif share is None:
                    recording = nameless.recording
                    result = self._runner.explain(recording, prompts, target, name, domain, progress)
                else:
                    whole = self.explain(nameless, prompts, target, base, domain, progress).result
                    result = self.engine.at_area(whole, name, share)
                self._results[key] = CachedResult(result, time.perf_counter() - start)
            self._results.move_to_end(key)
            _forget(self._results, lambda found: bytes_of(found.result) / 2**20, RESULTS_MB)
            return self._results[key].named(cached.name)

    def partwise(
        self,
        cached: CachedRecording,
        prompts: Sequence[str],
        target: str | None,
        method: str | None,
        domain: MaskDomain = "stft",
    ) -> "Partwise | None":
        """An explanation of a long recording whose parts can be had one after the other, by `explain_part`.

        Args:
            cached: as in `explain`, which makes its parts one result, and so on.

        Returns:
            None where it is there already, or comes in one piece.
        """
        from lmaczs.hearing import Partwise

        found, key = self._asked(cached, prompts, target, method, domain)
        _, share = split_area(method)
        short = len(cached.recording.plan.windows) < PARTWISE_FROM
        if share is not None or short or not found.partwise or zero_gpu.is_lent():
            return None
        with self._lock:
            if key in self._results:
                return None
            if key not in self._partwise:
                recording = cached.named(NAMELESS).recording
                self._partwise[key] = Partwise(recording, prompts, self.engine.backend, found, target)
            self._partwise.move_to_end(key)
            _forget(self._partwise, lambda work: work.clip.duration_s, PARTWISE_S)
            return self._partwise[key]

    def explain_part(
        self, work: "Partwise", number: int, progress: Progress = no_progress
    ) -> "ExplainedPart":
        """See `Partwise.explain`."""
        with self._lock:
            return work.explain(number, progress)

    def _asked(
        self,
        cached: CachedRecording,
        prompts: Sequence[str],
        target: str | None,
        method: str | None,
        domain: MaskDomain,
    ) -> "tuple[Method, tuple[str, tuple[str, ...], str | None, str, MaskDomain]]":
        """The method, and the key of its explanation in the caches; arguments as in `explain`.

        Raises:
            LMACError: it cannot run here, or would keep everybody else waiting.
        """
        base, _ = split_area(method)
        found = self.method(base, domain)
        self._check_cost(found, cached, domain)
        return found, (cached.id, tuple(prompts), target, method or found.name, domain)

    def _check_cost(self, method: "Method", cached: CachedRecording, domain: MaskDomain) -> None:
        """Refuse what would keep everybody else waiting.

        Raises:
            LMACError: names a method that costs less.
        """
        most, windows = self.settings.most_passes, len(cached.recording.plan.windows)
        if not most or windows * method.passes() <= most:
            return
        cheaper = min(self.engine.methods(domain).values(), key=lambda other: other.passes())
        passes = round(windows * method.passes())
        raise LMACError(
            text.TOO_MUCH.format(label=method.label, passes=passes, most=most, cheaper=cheaper.label)
        )

    def measure(
        self, cached: CachedRecording, explained: CachedResult, progress: Progress = no_progress
    ) -> dict[str, float]:
        """Let the classifier hear the parts.

        Returns:
            The target's probability on each part, in [0, 1]; it and all metrics are left in the result.
        """
        from lmaczs.hearing import fill

        result = explained.result
        with self._lock:
            if not result.probability:
                fill(result, *self._runner.measure(result, cached.recording, progress))
            return result.probability

    def warm_up(self) -> None:
        """Do all that is slow only once, so that the first click is quick; errors wait for that click."""
        if zero_gpu.is_lent():
            # Read once, for all processes to come; nobody's quota is spent.
            self.labels()
            return
        noise = np.random.default_rng(0).normal(0, 0.1, 5 * 44100)
        try:
            # Goes with the page, also if that ends meanwhile.
            with passing_folder() as folder:
                soundfile.write(Path(folder, "noise.wav"), noise, 44100)
                cached = self.hear(str(Path(folder, "noise.wav")))
            for name in self._typical():
                self.measure(cached, self.explain(cached, ["noise", "silence"], None, name))
            with self._lock:
                self._recordings.pop(cached.id, None)
                self._results.clear()
            self._encode_next(iter(dict.fromkeys(itertools.chain.from_iterable(text.PROMPT_SETS.values()))))
        except LMACError as error:
            logger.warning("%s", error)

    def _typical(self) -> list[str]:
        """One method with its own weights and one without: they warm up whatever the others need."""
        methods = self.engine.methods().values()
        kinds = [
            [method.name for method in methods if method.entry.trained == kind] for kind in (True, False)
        ]
        return [names[0] for names in kinds if names]

    def _encode_next(self, prompts: Iterator[str]) -> None:
        """One prompt a task: a visitor's click comes in between."""
        prompt = next(prompts, None)
        if prompt is not None:
            with self._lock:
                self.engine.backend.encode_text([prompt])
            self.queue.submit(self._encode_next, prompts)
