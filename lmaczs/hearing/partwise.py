"""A long recording is explained part by part: the first part is there while the others are still worked on."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.recording import Recording, explained_at_once
from lmaczs.explainers.base import Method
from lmaczs.hearing.explaining import ask, audible, axes_of, result_of
from lmaczs.signal.windows import WindowPlan, clip_frames
from lmaczs.types import AudioClip, Evidence, ExplainResult, Explanation, Progress, no_progress


@dataclass(frozen=True, eq=False)
class ExplainedPart:
    """What is known of some windows before the whole recording is explained.

    Attributes:
        start: its first sample in the recording.
        kept: (samples,), what the mask of this part leaves of its sound; the rest of it is removed.
        first_frame: its first frame in the recording's mask.
        mask: (freq, frames) of this part.
    """

    start: int
    kept: Tensor
    first_frame: int
    mask: Tensor


class Partwise:
    """The explanation of one prompt for one recording, in parts that may be asked for in any order.

    Once all of them are there, `result` is what `lmaczs.hearing.explain` returns, to the bit: a part is a batch of the
    same windows. Until then a part's sound lacks what its neighbours leak into its first and last few milliseconds.

    Attributes:
        clip: the recording.
        prediction: for the prompts.
        target: the sentence that is explained.
        domain: of the mask.
        method: key of the method.
        seconds: that its parts took so far.
        magnitude_db, frequencies_hz, times_s: as in `lmaczs.types.ExplainResult`.
    """

    def __init__(
        self,
        recording: Recording,
        prompts: Sequence[str],
        backend: CLAPBackend,
        method: Method,
        target: str | None = None,
    ) -> None:
        """Explain nothing yet.

        Args:
            recording: from `listen` with the same backend, longer than one window.
            prompts: as in `lmaczs.hearing.explain`.
            backend: the classifier.
            method: one that is `partwise`.
            target: as in `lmaczs.hearing.explain`.

        Raises:
            PromptError: as `lmaczs.hearing.explain`.
        """
        self.prediction, self._wanted = ask(recording, prompts, backend, target)
        method.check_prompts((self._wanted.prompt,))
        self._recording, self._backend, self._method = recording, backend, method
        self.clip, self.target = recording.clip, self._wanted.prompt
        self.domain, self.method = method.domain, method.name
        self.seconds = 0.0
        axes = axes_of(recording.clip, method.domain, backend)
        self.magnitude_db, self.frequencies_hz, self.times_s = (
            axes[name] for name in ("magnitude_db", "frequencies_hz", "times_s")
        )
        windows = recording.plan.windows
        self._rows = explained_at_once(len(windows))
        self._parts = [windows[some.start : some.stop] for some in self._rows]
        self._found: dict[int, tuple[ExplainedPart, Explanation]] = {}

    def __len__(self) -> int:
        """How many parts there are."""
        return len(self._parts)

    def order(self, at_s: float = 0.0) -> list[int]:
        """All parts, from the one that sounds at a moment to the end, and then from the beginning.

        Args:
            at_s: seconds.
        """
        sample = at_s * self.clip.sample_rate
        first = next((number for number, part in enumerate(self._parts) if sample < part[-1].stop), 0)
        return [*range(first, len(self)), *range(first)]

    @property
    def is_done(self) -> bool:
        """Whether all parts are explained."""
        return len(self._found) == len(self)

    def explain(self, number: int, progress: Progress = no_progress) -> ExplainedPart:
        """Explain a part, or give it again.

        Args:
            number: of the part.
            progress: as in `Method.explain`.
        """
        if number not in self._found:
            begun = time.perf_counter()
            windows = self._parts[number]
            hop = self._backend.spectral.hop_length
            part, first = _excerpt(self._recording, self._rows[number], hop)
            explanation = self._method.explain(part, self._wanted, progress)
            gain = audible(explanation.mask, explanation.domain, self._backend)
            kept = self._method.play(part.clip.waveform, gain)
            start, stop = windows[0].first, windows[-1].stop
            owned = slice(-(-start // hop), -(-stop // hop))
            if stop == self._recording.plan.num_samples:
                owned = slice(owned.start, clip_frames(stop, self._backend.spectral))
            mask = explanation.mask[:, owned.start - first // hop : owned.stop - first // hop]
            explained = ExplainedPart(
                start, kept[start - first : stop - first].clone(), owned.start, mask.clone()
            )
            self._found[number] = (explained, replace(explanation, mask=explained.mask))
            self.seconds += time.perf_counter() - begun
        return self._found[number][0]

    def result(self) -> ExplainResult:
        """The explanation of the whole recording; all parts have to be explained."""
        found = [self._found[number] for number in range(len(self))]
        mask = torch.zeros(self.magnitude_db.shape)
        for part, _ in found:
            mask[:, part.first_frame : part.first_frame + part.mask.shape[1]] = part.mask
        said = {explanation.evidence for _, explanation in found}
        evidence: Evidence = "present" if "present" in said else "absent" if "absent" in said else "unknown"
        explanation = replace(found[0][1], mask=mask, evidence=evidence)
        axes = {name: getattr(self, name) for name in ("magnitude_db", "frequencies_hz", "times_s")}
        return result_of(
            self._recording, self.prediction, self._wanted, explanation, self._method, self._backend, axes
        )


def _excerpt(recording: Recording, rows: range, hop: int) -> tuple[Recording, int]:
    """Some windows as a recording of their own, and its first sample in the recording, which is that of a frame."""
    plan = recording.plan
    windows = plan.windows[rows.start : rows.stop]
    first = min(min(window.start, window.first) for window in windows) // hop * hop
    stop = max(max(window.stop, window.start + plan.clip_samples) for window in windows)
    moved = tuple(
        replace(window, start=window.start - first, first=window.first - first, stop=window.stop - first)
        for window in windows
    )
    clip = recording.clip
    cut = AudioClip(clip.waveform[first:stop], clip.sample_rate, clip.name)
    excerpt = WindowPlan(len(cut.waveform), plan.clip_samples, moved)
    known = recording.window_embeddings[rows.start : rows.stop]
    return replace(recording, clip=cut, plan=excerpt, window_embeddings=known, states=()), first
