"""What takes part in the L2I benchmark: decisions, interpreters that imitate them, and the clips that they hear."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.decisions import Decision, Head, HeadDecision, ZeroShotDecision, load_head
from lmaczs.clap.similarity import prompts_from_labels
from lmaczs.clap.target import Target, make_target
from lmaczs.data.clips import Clip
from lmaczs.explainers.l2i.explainer import L2I, load_interpreter
from lmaczs.explainers.l2i.surrogates import load_surrogate, surrogate_logits
from lmaczs.release_config import CONFIG
from lmaczs.release_names import asset_folders
from lmaczs.signal.audio import load_clip, resample, tile_to_length
from lmaczs.signal.spectral import istft
from lmaczs.types import AudioState

BATCH = 16
TITLES = {
    "l2i": "L2I, attention",
    "max": "L2I, max",
    "open": "L2I-open",
    "flint": "FLINT",
    "vibi": "VIBI",
}
# Releases by decision and interpreter: names of folders in --models, or of embedded releases.
RELEASES = {
    "zero-shot": {
        "l2i": "l2i-esc50-compact",
        "max": "l2i-esc50-max",
        "open": "l2i-open-compact",
        "flint": "flint",
        "vibi": "vibi",
    },
    "head": {"l2i": "head-l2i", "max": "head-max", "flint": "head-flint", "vibi": "head-vibi"},
    "tags": {"l2i": "tags-l2i", "max": "tags-max", "flint": "tags-flint", "vibi": "tags-vibi"},
}
HEADS = {"head": "classifier-esc50", "tags": "classifier-tags"}
SURROGATES = ("flint", "vibi")

Imitation = Callable[[AudioState], Tensor]  # windows -> (batch, labels) logits


@dataclass(frozen=True)
class Models:
    """Releases in a folder, or embedded.

    Attributes:
        backend: the CLAP.
        folder: with one release each in a folder of its own; None is none.
    """

    backend: CLAPBackend
    folder: Path | None

    def find(self, name: str) -> Path | None:
        """Folder of a release; None where it is not at hand."""
        places = [self.folder] if self.folder else []
        places += [root / "releases" for root in asset_folders()]
        return next((place / name for place in places if (place / name / CONFIG).is_file()), None)

    def digest(self, names: Sequence[str]) -> dict[str, str]:
        """Hashes of the weights of releases that are at hand."""
        found = {name: self.find(name) for name in names}
        return {
            name: json.loads((path / CONFIG).read_text("utf-8"))["weights_sha256"]
            for name, path in found.items()
            if path is not None
        }

    def sounds(self, name: str) -> int:
        """Windows that a release's last training run took, steps times batch; 0 where it does not say."""
        place = self.find(name)
        file = None if place is None else place / "training.json"
        if file is None or not file.is_file():
            return 0
        training = json.loads(file.read_text("utf-8"))
        return int(training.get("sounds") or training["steps"] * training["settings"]["batch_size"])

    def decision(self, kind: str, labels: Sequence[str]) -> Decision | None:
        """What is imitated: "zero-shot" over labels, or a head; None where the head is not at hand."""
        if kind == "zero-shot":
            return ZeroShotDecision(self.backend, labels)
        place = self.find(HEADS[kind])
        return None if place is None else load_head(place, self.backend)

    def explainer(self, kind: str, name: str, decision: Decision) -> L2I | None:
        """L2I over a decision's labels, or with the open vocabulary; None where it is not at hand."""
        place = self.find(RELEASES[kind][name])
        if place is None:
            return None
        interpreter, _ = load_interpreter(place, self.backend, head_of(decision))
        closed = None if name == "open" else texts_of(decision)
        return L2I(self.backend, interpreter=interpreter, closed_set=closed)

    def imitations(self, kind: str, decision: Decision) -> dict[str, Imitation]:
        """Every interpreter of a decision that is at hand, by its name."""
        found: dict[str, Imitation] = {}
        for name, release in RELEASES[kind].items():
            if name in SURROGATES:
                place = self.find(release)
                if place is not None:
                    found[name] = partial(
                        surrogate_logits, load_surrogate(place, self.backend, head_of(decision))
                    )
            else:
                explainer = self.explainer(kind, name, decision)
                if explainer is not None:
                    found[name] = partial(imitate, explainer, targets_of(decision, self.backend))
        return found


def head_of(decision: Decision) -> Head | None:
    """The head that decides, or None where the CLAP itself does."""
    return decision.head if isinstance(decision, HeadDecision) else None


def texts_of(decision: Decision) -> tuple[str, ...]:
    """Prompts of a decision's labels."""
    return tuple(prompts_from_labels(decision.labels))


def targets_of(decision: Decision, backend: CLAPBackend) -> list[Target]:
    """Prompts of a decision's labels; heads have no use for the embedding."""
    texts = texts_of(decision)
    if isinstance(decision, HeadDecision):
        nothing = torch.zeros(backend.embed_dim)
        return [Target(text, nothing, (), nothing[None, :0], "logit", 1.0) for text in texts]
    return [make_target(backend, text) for text in texts]


def class_keys(explainer: L2I, targets: Sequence[Target]) -> Tensor:
    """Prompts as L2I's Theta takes them."""
    return torch.cat([explainer._class_key(target) for target in targets])


def imitate(explainer: L2I, targets: Sequence[Target], audio: AudioState) -> Tensor:
    """What L2I's Theta thinks: (batch, prompts) logits."""
    _, pooled = explainer.interpreter(audio.hidden)
    return explainer.interpreter.logits(pooled, class_keys(explainer, targets))


def decompose_each(explainer: L2I, audio: AudioState, targets: Sequence[Target]) -> tuple[Tensor, Tensor]:
    """Components of windows, each explained for its own prompt: activations and contributions, see `L2I.decompose`."""
    activations, pooled = explainer.interpreter(audio.hidden)
    return activations, pooled * explainer.interpreter.theta.class_weights(class_keys(explainer, targets))


@dataclass(frozen=True)
class LoadedClips:
    """Clips as windows of the backend.

    Attributes:
        clips: in order.
        waveforms: (clips, clip_samples).
        backend: that hears them.
    """

    clips: tuple[Clip, ...]
    waveforms: Tensor
    backend: CLAPBackend

    def batches(self) -> Iterator[tuple[Tensor, AudioState]]:
        """Places of some clips, and the clips encoded."""
        for places in torch.arange(len(self.waveforms)).split(BATCH):
            yield places, self.backend.analyze(self.waveforms[places])


def load_windows(clips: Sequence[Clip], backend: CLAPBackend) -> LoadedClips:
    """Read clips; each is brought to the length of a window."""
    rate = backend.spectral.sample_rate
    rows = [
        tile_to_length(resample(load_clip(clip.file), rate).waveform, backend.clip_samples) for clip in clips
    ]
    return LoadedClips(tuple(clips), torch.stack(rows), backend)


def sound_of(audio: AudioState, gain: Tensor, backend: CLAPBackend) -> Tensor:
    """The sound that a factor on the magnitude leaves: (batch, bins, frames) -> (batch, samples)."""
    return istft(audio.stft * gain, backend.spectral, audio.waveform.shape[1])
