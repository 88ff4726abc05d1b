"""A recording as a classifier hears it: the only place that cuts windows and encodes them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.signal.audio import resample
from lmaczs.signal.spectral import stft
from lmaczs.signal.windows import BLOCK_S, Window, WindowPlan, cut_windows, plan_windows, sounding_blocks
from lmaczs.types import AudioClip, AudioState, Progress, no_progress

# In one pass of the encoder: bounds the memory of long recordings.
WINDOWS_AT_ONCE = 8
# In the first pass of a recording that is explained in several: something of it can be seen soon.
EXPLAINED_FIRST = 2
# Encoder passes of recordings of so many windows are kept for further prompts; longer ones are encoded again.
WINDOWS_KEPT = 4


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording that a classifier has heard once; every prompt and every method starts from it.

    Attributes:
        clip: mono, at the backend's rate, on the CPU.
        plan: its windows and their votes.
        embedding: (embed_dim,), unit norm, on the CPU: the mean of its windows' embeddings, weighted by their votes. Of a
            classifier with labels: its logits.
        window_embeddings: (windows, embed_dim), on the CPU: what `embedding` is the mean of.
        states: encoder passes of its windows; empty when there are more than WINDOWS_KEPT.
    """

    clip: AudioClip
    plan: WindowPlan
    embedding: Tensor
    window_embeddings: Tensor = field(repr=False)
    states: tuple[AudioState, ...] = field(repr=False)

    def batches(self, backend: CLAPBackend, maps: bool = True) -> Iterator[AudioState]:
        """All windows in order as the backend has heard them, a batch at a time; batches never hold two recordings.

        Args:
            backend: that has heard the recording.
            maps: whether the hidden maps are needed: of a long recording the encoder runs again for them.
        """
        if self.states:
            yield from self.states
            return
        for some in explained_at_once(len(self.plan.windows)):
            windows = cut_windows(self.clip.waveform, self.plan, some.start, some.stop)
            valid = torch.full((len(windows),), self.plan.valid_samples)
            if maps:
                yield _analyze(windows, valid, backend)
            else:
                known = self.window_embeddings[some.start : some.stop].to(backend.mel_filters.device)
                yield replace(_spectra(windows, valid, backend), embedding=known)

    def spectra(self, backend: CLAPBackend) -> Iterator[Tensor]:
        """STFT of each window in order, (bins, frames) complex64 on the backend's device, without the encoder."""
        device = backend.mel_filters.device
        for index in range(len(self.plan.windows)):
            window = cut_windows(self.clip.waveform, self.plan, index, index + 1)
            yield stft(window.to(device), backend.spectral)[0]


def listen(clip: AudioClip, backend: CLAPBackend, progress: Progress = no_progress) -> Recording:
    """Resample, cut into windows and encode them.

    Args:
        clip: any rate and length that `load_clip` lets through.
        backend: the classifier.
        progress: called after each batch of windows; may raise to stop.
    """
    clip = resample(clip, backend.spectral.sample_rate)
    plan = _plan(clip.waveform, backend)
    count = len(plan.windows)
    states, embeddings, done = [], [], 0
    for state in _encode_windows(clip.waveform, plan, backend):
        embeddings.append(state.embedding.cpu())
        if count <= WINDOWS_KEPT:
            states.append(state)
        done += len(state.embedding)
        progress(done / count, "listening")
    each = torch.cat(embeddings)
    return Recording(clip, plan, _mean(each, plan, backend), each, tuple(states))


def embed(waveforms: Sequence[Tensor], backend: CLAPBackend) -> Tensor:
    """Embed many recordings as `listen` does, with windows of several recordings in one pass.

    Args:
        waveforms: (samples,) each, at the backend's rate, on any device.
        backend: the classifier.

    Returns:
        (recordings, embed_dim), unit norm, on the CPU. Equal to those of `listen` but for float32 rounding.
    """
    plans = [_plan(waveform.cpu(), backend) for waveform in waveforms]
    windows = [
        cut_windows(waveform, plan, 0, len(plan.windows))
        for waveform, plan in zip(waveforms, plans, strict=True)
    ]
    found: dict[int, Tensor] = {}
    # Of a model that hears waveforms the windows of short recordings have lengths of their own.
    for size in {plan.clip_samples for plan in plans}:
        own = [number for number, plan in enumerate(plans) if plan.clip_samples == size]
        valid = torch.tensor([plans[number].valid_samples for number in own for _ in plans[number].windows])
        together = torch.cat([windows[number] for number in own])
        parts = [
            _analyze(some, samples, backend).embedding.cpu()
            for some, samples in zip(
                together.split(WINDOWS_AT_ONCE), valid.split(WINDOWS_AT_ONCE), strict=True
            )
        ]
        counts = [len(plans[number].windows) for number in own]
        found |= zip(own, torch.cat(parts).split(counts), strict=True)
    return torch.stack([_mean(found[number], plan, backend) for number, plan in enumerate(plans)])


@dataclass(frozen=True, eq=False)
class HeardOverTime:
    """A recording as a classifier hears it through a window that moves on, or frame by frame.

    Attributes:
        times: (places,) s, the middle of each window or frame.
        embeddings: (places, embed_dim), unit norm (logits of a classifier with labels), on the CPU.
        sounds: (places,) bool; where nothing sounds in the window there is nothing to say.
    """

    times: Tensor
    embeddings: Tensor
    sounds: Tensor


def listen_over_time(
    recording: Recording,
    backend: CLAPBackend,
    hop_s: float = 1.0,
    most: int = 120,
    progress: Progress = no_progress,
) -> HeardOverTime:
    """Let the classifier hear a window at a time, from the first sample to the last; frames of a model that has them.

    Args:
        recording: from `listen` with the same backend.
        backend: the classifier.
        hop_s: from one window to the next, s; longer where there would be more than `most`. Of no use for frames.
        most: windows; four times as many places where the model has frames, neighbours averaged.
        progress: called after each batch of windows; may raise to stop.

    Returns:
        One place only, if the recording is not longer than a window and the model has no frames.
    """
    if backend.frame_s is not None:
        return _frames_over_time(recording, backend, backend.frame_s, 4 * most, progress)
    waveform, rate = recording.clip.waveform, recording.clip.sample_rate
    length, size = waveform.shape[-1], backend.window_samples(waveform.shape[-1])
    block = max(1, round(BLOCK_S * rate))
    sounding = sounding_blocks(waveform, block)
    spare = max(length - size, 0)
    count = min(most, 1 + round(spare / rate / hop_s))
    starts = [round(place * spare / max(count - 1, 1)) for place in range(count)]
    plan = _plan_of(starts, length, size)
    found = []
    for state in _encode_windows(waveform, plan, backend):
        found.append(state.embedding.cpu())
        progress(sum(map(len, found)) / count, "listening over time")
    heard = min(size, length)
    sounds = [bool(sounding[start // block : -(-(start + heard) // block)].any()) for start in starts]
    times = torch.tensor([(start + heard / 2) / rate for start in starts], dtype=torch.float64)
    return HeardOverTime(times, torch.cat(found), torch.tensor(sounds))


def _frames_over_time(
    recording: Recording, backend: CLAPBackend, frame_s: float, most: int, progress: Progress
) -> HeardOverTime:
    """Frames of windows side by side; the last window ends with the recording, and gives those that are still missing."""
    waveform, rate = recording.clip.waveform, recording.clip.sample_rate
    length, size = waveform.shape[-1], backend.window_samples(waveform.shape[-1])
    starts = list(range(0, max(length - size, 0) + 1, size))
    if starts[-1] + size < length:
        starts.append(length - size)
    plan = _plan_of(starts, length, size)
    times: list[Tensor] = []
    embeddings: list[Tensor] = []
    for state in _encode_windows(waveform, plan, backend):
        with torch.no_grad():
            found = backend.frame_embeddings(state)
        assert found is not None, "a model with frame_s has frames"
        for frames in found.cpu():
            start = starts[len(times)]
            middle = start / rate + frame_s * (torch.arange(len(frames), dtype=torch.float64) + 0.5)
            # Of a window that begins within the one before.
            new = middle > (times[-1][-1] + frame_s / 2 if times else -1.0)
            times.append(middle[new].clamp_max(length / rate))
            embeddings.append(frames[new])
        progress(len(times) / len(starts), "listening over time")
    together = -(-sum(map(len, times)) // most)
    block = max(1, round(BLOCK_S * rate))
    sounding = sounding_blocks(waveform, block)
    places = [part.mean() for part in torch.cat(times).split(together)]
    half = together * frame_s / 2
    blocks = [
        slice(int(max(at - half, 0) * rate) // block, -(-int((at + half) * rate) // block)) for at in places
    ]
    means = torch.stack([part.mean(0) for part in torch.cat(embeddings).split(together)])
    sounds = torch.tensor([bool(sounding[some].any()) for some in blocks])
    return HeardOverTime(torch.stack(places), means, sounds)


def _plan_of(starts: Sequence[int], length: int, size: int) -> WindowPlan:
    """Windows of one length at these samples of a recording; each counts in full."""
    windows = (Window(start, start, min(start + size, length), 1.0) for start in starts)
    return WindowPlan(length, size, tuple(windows))


def _plan(waveform: Tensor, backend: CLAPBackend) -> WindowPlan:
    size = backend.window_samples(waveform.shape[-1])
    return plan_windows(waveform, size, backend.spectral.sample_rate)


def explained_at_once(count: int) -> list[range]:
    """Which of so many windows go through the encoder together, in order, when they are explained."""
    first = count if count <= WINDOWS_AT_ONCE else EXPLAINED_FIRST
    return [range(first), *_batches(first, count)]


def _batches(first: int, count: int) -> list[range]:
    return [range(at, min(at + WINDOWS_AT_ONCE, count)) for at in range(first, count, WINDOWS_AT_ONCE)]


def _encode_windows(waveform: Tensor, plan: WindowPlan, backend: CLAPBackend) -> Iterator[AudioState]:
    for some in _batches(0, len(plan.windows)):
        windows = cut_windows(waveform, plan, some.start, some.stop)
        yield _analyze(windows, torch.full((len(windows),), plan.valid_samples), backend)


@torch.no_grad()
def _analyze(windows: Tensor, valid_samples: Tensor, backend: CLAPBackend) -> AudioState:
    device = backend.mel_filters.device
    return backend.analyze(windows.to(device), valid_samples.to(device))


@torch.no_grad()
def _spectra(windows: Tensor, valid_samples: Tensor, backend: CLAPBackend) -> AudioState:
    device = backend.mel_filters.device
    return backend.spectra(windows.to(device), valid_samples.to(device))


def _mean(embeddings: Tensor, plan: WindowPlan, backend: CLAPBackend) -> Tensor:
    votes = torch.tensor([window.weight for window in plan.windows], dtype=embeddings.dtype)
    return backend.pool(embeddings, votes)
