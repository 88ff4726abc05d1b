"""Many recordings through an encoder in batches of windows; the same numbers as one recording at a time."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.base import Explainer
from lmaczs.signal.windows import WindowPlan, cut_windows, plan_windows, stitch_mask
from lmaczs.types import AudioState, TextState

BATCH_WINDOWS = 16


def embed(waveforms: Sequence[Tensor], backend: CLAPBackend) -> Tensor:
    """Embed recordings as `lmaczs.pipeline.open_recording` does: the mean over each one's windows.

    Args:
        waveforms: (samples,) each, at the backend's rate, on any device.
        backend: the CLAP.

    Returns:
        (clips, embed_dim), unit norm, on the CPU.
    """
    plans = _plans(waveforms, backend)
    return _clip_means(
        torch.cat([state.embedding.cpu() for state in _analyze(waveforms, plans, backend)]), plans
    )


class HeardClips:
    """Recordings that a backend has heard once, ready to be explained by any method.

    Attributes:
        waveforms: (samples,) each, on the backend's device.
        backend: that has heard them.
        embedding: (clips, embed_dim), unit norm, on the CPU.
    """

    def __init__(self, waveforms: Sequence[Tensor], backend: CLAPBackend) -> None:
        """Encode them and keep the encoder passes; a few clips at a time.

        Args:
            waveforms: (samples,) each, at the backend's rate.
            backend: the CLAP.
        """
        self.backend = backend
        self.waveforms = [waveform.to(backend.mel_filters.device) for waveform in waveforms]
        self._plans = _plans(waveforms, backend)
        self._states = list(_analyze(self.waveforms, self._plans, backend))
        self.embedding = _clip_means(
            torch.cat([state.embedding.cpu() for state in self._states]), self._plans
        )

    def only(self, places: Sequence[int]) -> "HeardClips":
        """Some of the recordings, heard again on their own."""
        return HeardClips([self.waveforms[place] for place in places], self.backend)

    def masks(self, explainer: Explainer, text: TextState) -> list[Tensor]:
        """Explain one prompt per recording.

        Args:
            explainer: made for the same backend.
            text: one prompt per recording, in order.

        Returns:
            (freq, frames) in [0, 1] for each recording, on its own time axis, on the backend's device. The
            largest cell is 1, or all are 0.
        """
        owner = torch.tensor([clip for clip, plan in enumerate(self._plans) for _ in plan.starts])
        found, first = [], 0
        for state in self._states:
            rows = owner[first : first + len(state.waveform)]
            prompts = TextState(tuple(text.prompts[row] for row in rows), text.embedding[rows])
            found.append(explainer.masks(state, prompts).detach())
            first += len(rows)
        parts = torch.cat(found).split([len(plan.starts) for plan in self._plans])
        stitched = [
            stitch_mask(part, plan, self.backend.spectral)
            for part, plan in zip(parts, self._plans, strict=True)
        ]
        return [mask / mask.max() if mask.max() > 0 else mask for mask in stitched]


def _plans(waveforms: Sequence[Tensor], backend: CLAPBackend) -> list[WindowPlan]:
    return [plan_windows(waveform.shape[-1], backend.clip_samples) for waveform in waveforms]


def _analyze(
    waveforms: Sequence[Tensor], plans: Sequence[WindowPlan], backend: CLAPBackend
) -> Iterator[AudioState]:
    """Encode all windows of all recordings, in order, a batch at a time."""
    device = backend.mel_filters.device
    windows = torch.cat(
        [
            cut_windows(waveform, plan, 0, len(plan.starts))
            for waveform, plan in zip(waveforms, plans, strict=True)
        ]
    )
    valid = torch.tensor([plan.valid_samples for plan in plans for _ in plan.starts])
    for batch, samples in zip(windows.split(BATCH_WINDOWS), valid.split(BATCH_WINDOWS), strict=True):
        with torch.no_grad():
            state = backend.analyze(batch.to(device), samples.to(device))
        yield state


def _clip_means(embeddings: Tensor, plans: Sequence[WindowPlan]) -> Tensor:
    parts = embeddings.split([len(plan.starts) for plan in plans])
    return F.normalize(torch.stack([part.mean(0) for part in parts]), dim=-1)
