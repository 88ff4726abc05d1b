"""The plain data that flows through the project, one type for each step (see `lmaczs.hearing`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

MaskDomain = Literal["stft", "mel"]
# How well one prompt fits a recording by itself, see `lmaczs.clap.similarity.matches`.
Match = Literal["strong", "weak", "none"]
# Whether anything in the sound speaks for the prompt; "unknown": the method cannot tell.
Evidence = Literal["present", "absent", "unknown"]
# Share done in [0, 1], and what is being done; may raise to stop.
Progress = Callable[[float, str], None]


def no_progress(share: float, text: str) -> None:
    """Tell nobody."""


def part_of(progress: Progress, first: float, last: float) -> Progress:
    """Progress of one part of the work, from `first` to `last` of the whole, both in [0, 1]."""
    return lambda share, text: progress(first + (last - first) * share, text)


@dataclass(frozen=True)
class AudioClip:
    """A mono recording.

    Attributes:
        waveform: (samples,) float32, full scale ±1, finite.
        sample_rate: Hz.
        name: file stem, used for output files and never as a path.
        notes: what a listener has to know, one sentence each, without the name: that the file is cut off, or a channel
            was left out.
    """

    waveform: Tensor
    sample_rate: int
    name: str
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.waveform.shape[-1] / self.sample_rate


@dataclass(frozen=True)
class AudioState:
    """What a backend knows about a batch of windows; input of every explainer.

    Attributes:
        waveform: (batch, samples) float32 at the backend's rate, already tiled or cropped: `CLAPBackend.window_samples`.
        stft: (batch, n_fft // 2 + 1, frames) complex64, on the masking grid.
        mel_power: (batch, n_mels, frames) float32 >= 0, linear power, on the backend's grid.
        hidden: four maps, shallow to deep, each (batch, channels, time, freq); none of a classifier in which no layer
            with a map was found.
        embedding: (batch, embed_dim), unit norm; (batch, labels) logits of a classifier with labels.
        valid_samples: (batch,) int64, samples that belong to the recording and not to its tiled copy.
    """

    waveform: Tensor
    stft: Tensor
    mel_power: Tensor
    hidden: tuple[Tensor, ...]
    embedding: Tensor
    valid_samples: Tensor

    def __getitem__(self, rows: slice | Tensor) -> AudioState:
        """Pick windows of the batch; `rows` is a slice or an index tensor."""
        return AudioState(
            waveform=self.waveform[rows],
            stft=self.stft[rows],
            mel_power=self.mel_power[rows],
            hidden=tuple(level[rows] for level in self.hidden),
            embedding=self.embedding[rows],
            valid_samples=self.valid_samples[rows],
        )

    def window(self, row: int) -> AudioState:
        """One window as a batch of one; where there is one for all, that one."""
        row = min(row, len(self.waveform) - 1)
        return self[row : row + 1]


@dataclass(frozen=True)
class TextState:
    """Encoded prompts.

    Attributes:
        prompts: the sentences, in order.
        embedding: (prompts, embed_dim), unit norm, in the joint space.
    """

    prompts: tuple[str, ...]
    embedding: Tensor


@dataclass(frozen=True)
class Prediction:
    """The zero-shot decision for one recording, relative to the prompts given.

    Attributes:
        prompts: the sentences, in the order given.
        similarities: (prompts,) cosine, in [-1, 1]; logits of a classifier with labels.
        probabilities: (prompts,), softmax of logit_scale * similarities, which sums to 1; of a multi-label classifier
            the sigmoid of each logit.
        predicted: index of the most probable prompt.
        match: (prompts,) whether each prompt fits by itself, whatever the others are; empty: the model can't tell.
        unit: what the similarities are, "similarity" or "logit".
        multi_label: whether each prompt is decided on by itself.
    """

    prompts: tuple[str, ...]
    similarities: Tensor
    probabilities: Tensor
    predicted: int
    match: tuple[Match, ...] = ()
    unit: str = "similarity"
    multi_label: bool = False


@dataclass(frozen=True)
class Component:
    """One sound object of an explanation, on the recording's own time axis.

    Attributes:
        index: number of the component in its method, from 0.
        relevance: for the prompt, relative to the largest; in [-1, 1].
        gain: (freq, frames) float32 in [0, 1], factor on the STFT's magnitude that plays it. Gains of all components add
            up to 1 at most: they are what each adds to the more relevant ones.
        pattern: (freq,) >= 0, its spectrum.
        activation: (frames,) >= 0, how strong it is when.
    """

    index: int
    relevance: float
    gain: Tensor
    pattern: Tensor
    activation: Tensor


@dataclass(frozen=True)
class Explanation:
    """One map for one prompt.

    Attributes:
        method: key in `lmaczs.explainers.METHODS`.
        prompt: the sentence that is explained.
        mask: (freq, frames) float32 in [0, 1] as the method gives it; 1 keeps the cell.
        domain: whether freq is STFT bins or mel bands.
        evidence: "absent" if nothing in the sound speaks for the prompt: the mask is zero then, and what is kept silent.
        attribution: (freq, frames) raw scores in the method's own unit; None for mask methods.
        completeness_error: of integrated gradients: how far the attribution's sum misses the change of the score from
            silence to the recording, relative to that change; the worst window's. None for other methods.
        components: of methods that explain by sound objects: those that speak for the prompt, most relevant first.
        relevance_threshold: of those methods: relevance above which a component is part of the mask. None for others.
    """

    method: str
    prompt: str
    mask: Tensor
    domain: MaskDomain
    evidence: Evidence = "unknown"
    attribution: Tensor | None = None
    completeness_error: float | None = None
    components: tuple[Component, ...] = ()
    relevance_threshold: float | None = None


@dataclass(frozen=True)
class Listening:
    """What a mask keeps and removes; kept + removed = input.

    Attributes:
        kept: the part that the mask keeps ("what counted").
        removed: the rest ("what was ignored").
        components: of methods that explain by sound objects: one sound for each of the explanation's components.
        rest: of those methods: what no component plays; components + rest = input. None for others.
    """

    kept: AudioClip
    removed: AudioClip
    components: tuple[AudioClip, ...] = ()
    rest: AudioClip | None = None


@dataclass(frozen=True)
class OverTime:
    """What the model's own frames say of the explained prompt, as a witness of the mask.

    Attributes:
        times_s: (places,), middles of the frames.
        probability: (places,) of the prompt among the same prompts, in [0, 1]; nan where nothing sounds.
        agreement: Pearson's correlation of the amplitude that is kept with that probability, over the places that sound;
            nan where one of both does not change.
    """

    times_s: Tensor
    probability: Tensor
    agreement: float


@dataclass(frozen=True)
class ExplainResult:
    """Everything one explanation produced, on the CPU; what the page, the CLI and the plots read.

    Attributes:
        clip: the recording at the backend's rate, mono.
        prediction: the zero-shot decision.
        target: the sentence that was explained; need not be one of the prediction's prompts.
        target_similarity: cosine between the recording and the target prompt, or its logit (`Prediction.unit`).
        explanation: the mask on the recording's own time axis.
        listening: kept and removed audio, as long as the recording.
        magnitude_db: (freq, frames) float32, power of the recording on the mask's own rows, dB as `power_to_db`.
        frequencies_hz: (freq,) centre of each mask row.
        times_s: (frames,) centre of each mask column.
        metrics: this clip's faithfulness numbers, keys of `lmaczs.metrics.table.METRICS`.
        probability: of the target, in [0, 1], when the classifier hears the "original", the "kept" and the "removed"
            sound; empty where that was not measured.
        shares: probabilities of all prompts, the target last where it is none of them, on the same sounds; empty where
            that was not measured, or where each prompt is decided on by itself.
        over_time: of a model that embeds parts of windows; None of others, and where nothing was measured.
    """

    clip: AudioClip
    prediction: Prediction
    target: str
    target_similarity: float
    explanation: Explanation
    listening: Listening
    magnitude_db: Tensor
    frequencies_hz: Tensor
    times_s: Tensor
    metrics: dict[str, float]
    probability: dict[str, float]
    shares: dict[str, list[float]] = field(default_factory=dict)
    over_time: OverTime | None = None
