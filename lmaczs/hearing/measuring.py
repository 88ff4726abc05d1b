"""The numbers of one explanation, measured on what is heard: the classifier listens to both parts."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lmaczs.clap import similarity
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.recording import HeardOverTime, Recording, listen, listen_over_time
from lmaczs.metrics.registry import MaskSample
from lmaczs.metrics.registry import measure as measure_sample
from lmaczs.metrics.statistics import pearson
from lmaczs.types import ExplainResult, OverTime, Progress, no_progress, part_of

TRACKS = ("original", "kept", "removed")


def measure(result: ExplainResult, recording: Recording, backend: CLAPBackend) -> ExplainResult:
    """Let the classifier hear the parts of one explanation.

    Returns:
        The same result, its `metrics`, `probability` and `shares` filled; with `over_time` of a model that has frames.
    """
    fill(result, *logits_of_parts(result, recording, backend))
    if backend.frame_s is None:
        return result
    return replace(result, over_time=_witness(result, listen_over_time(recording, backend), backend))


def _witness(result: ExplainResult, heard: HeardOverTime, backend: CLAPBackend) -> OverTime:
    """Hold what is kept against what the model's frames say."""
    prompts = tuple(dict.fromkeys((*result.prediction.prompts, result.target)))
    probability = classify_over_time(heard, prompts, backend)[:, prompts.index(result.target)]
    kept, rate = result.listening.kept.waveform, result.clip.sample_rate
    # From the middle between two places to the next; the first and the last reach to the ends.
    between = ((heard.times[1:] + heard.times[:-1]) / 2 * rate).round().long().tolist()
    parts = [
        kept[first:last].double() for first, last in zip([0, *between], [*between, len(kept)], strict=True)
    ]
    amplitude = torch.stack([part.square().mean().sqrt() for part in parts])
    # A single number, or one that never changes, agrees with nothing.
    agreement = pearson(amplitude[heard.sounds], probability[heard.sounds])
    return OverTime(heard.times, probability, agreement)


def classify_over_time(heard: HeardOverTime, prompts: Sequence[str], backend: CLAPBackend) -> Tensor:
    """Probabilities of prompts in a window that moves on: (places, prompts), nan where nothing sounds.

    Args:
        heard: from `listen_over_time` with the same backend.
        prompts: sentences to choose between.
        backend: the classifier.

    Raises:
        PromptError: no prompt, or one that cannot be used.
    """
    text = backend.encode_text(prompts).embedding.cpu()
    found = similarity.probabilities(
        similarity.similarities(heard.embeddings, text),
        backend.logit_scale.detach().cpu(),
        backend.multi_label,
    )
    return found.masked_fill(~heard.sounds[:, None], torch.nan)


def logits_of(embedding: Tensor, prompts: Sequence[str], backend: CLAPBackend) -> Tensor:
    """Decide for sounds that were heard.

    Args:
        embedding: (sounds, embed_dim), unit norm, on the CPU.
        prompts: to choose between.
        backend: the classifier.

    Returns:
        (sounds, prompts), logit_scale * cosine, on the CPU.
    """
    text = backend.encode_text(prompts).embedding.cpu()
    return backend.logit_scale.detach().cpu() * similarity.similarities(embedding, text)


def logits_of_parts(
    result: ExplainResult, recording: Recording, backend: CLAPBackend, progress: Progress = no_progress
) -> tuple[Tensor, int]:
    """Let the classifier hear what is kept and what is removed.

    Args:
        result: one explanation.
        recording: that it explains.
        backend: the classifier.
        progress: called after each batch of windows.

    Returns:
        (3, prompts), logit_scale * cosine of the whole, the kept and the removed audio, for the prediction's prompts
        and the target, as `contest` gives them; and the target's index among them.
    """
    # A multi-label classifier decides on each prompt by itself: the others would only cost time.
    others = () if backend.multi_label else result.prediction.prompts
    prompts = tuple(dict.fromkeys((*others, result.target)))
    kept = listen(result.listening.kept, backend, part_of(progress, 0, 0.5)).embedding
    removed = listen(result.listening.removed, backend, part_of(progress, 0.5, 1)).embedding
    heard = torch.stack([recording.embedding, kept, removed])
    return contest(logits_of(heard, prompts, backend), prompts.index(result.target), backend)


def contest(logits: Tensor, target: int, backend: CLAPBackend) -> tuple[Tensor, int]:
    """What decides on a prompt, as a softmax: its rivals, or, for a multi-label classifier, that it is not there.

    Args:
        logits: (sounds, prompts).
        target: index of the prompt.
        backend: the classifier.

    Returns:
        (sounds, prompts) as they are; (sounds, 2) with the logit 0 beside that of the prompt, whose softmax is the
        sigmoid. And the index of the prompt in them.
    """
    if not backend.multi_label:
        return logits, target
    own = logits[:, target]
    return torch.stack([own, torch.zeros_like(own)], dim=1), 0


def fill(result: ExplainResult, logits: Tensor, target: int) -> None:
    """Fill `metrics` (`lmaczs.metrics.registry`), `probability` and `shares` of a result from `logits_of_parts`."""
    explanation = result.explanation
    whole, kept, removed = logits
    shares = logits.softmax(-1)
    result.probability.update(zip(TRACKS, shares[:, target].tolist(), strict=True))
    if not result.prediction.multi_label:
        result.shares.update(zip(TRACKS, shares.tolist(), strict=True))
    sample = MaskSample(whole, kept, removed, target, explanation.mask, explanation.evidence)
    result.metrics.update(measure_sample(sample))
