"""Recording -> prediction -> explanation -> what is kept and what is removed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lmaczs.clap import similarity
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.recording import Recording, listen
from lmaczs.clap.target import Target, make_target
from lmaczs.explainers.base import Method
from lmaczs.hearing.measuring import measure as measure_result
from lmaczs.signal.audio import make_clip
from lmaczs.signal.masking import mel_mask_to_stft
from lmaczs.signal.spectral import frequencies_hz, power_blocks, power_to_db, times_s
from lmaczs.signal.windows import clip_frames
from lmaczs.types import (
    AudioClip,
    ExplainResult,
    Explanation,
    Listening,
    MaskDomain,
    Prediction,
    Progress,
    TextState,
    no_progress,
    part_of,
)


def classify(recording: Recording, prompts: Sequence[str], backend: CLAPBackend) -> Prediction:
    """Which of the prompts fits the recording best.

    Raises:
        PromptError: no prompt, or one that cannot be used.
    """
    text = backend.encode_text(prompts)
    text = TextState(text.prompts, text.embedding.cpu())
    return similarity.predict(
        recording.embedding,
        text,
        backend.logit_scale.detach().cpu(),
        backend.match_limits,
        backend.unit,
        backend.multi_label,
    )


def explain(
    recording: Recording,
    prompts: Sequence[str],
    backend: CLAPBackend,
    method: Method,
    *,
    target: str | None = None,
    score: str = "logit",
    measure: bool = True,
    progress: Progress = no_progress,
) -> ExplainResult:
    """Explain one prompt for a recording that is already open.

    Args:
        recording: from `listen` with the same backend.
        prompts: the sentences that probabilities are relative to; the target's rivals.
        backend: the classifier.
        method: made for this backend.
        target: sentence to explain, also one that is not in `prompts`; None explains the predicted prompt.
        score: what gradients and perturbations explain, key in `lmaczs.clap.target.SCORES`.
        measure: also measure the faithfulness of this explanation (encodes kept and removed audio again).
        progress: called after each batch of windows and each step of a method; may raise to stop.

    Returns:
        ExplainResult on the CPU, on the recording's own time axis.

    Raises:
        PromptError: no prompt, one that cannot be used, or one outside the method's closed set.
        LMACError: the score is unknown, or compares the prompt with others and there are none.
    """
    prediction, wanted = ask(recording, prompts, backend, target, score)
    explanation = method.explain(recording, wanted, progress)
    axes = axes_of(recording.clip, explanation.domain, backend)
    result = result_of(recording, prediction, wanted, explanation, method, backend, axes)
    return measure_result(result, recording, backend) if measure else result


def ask(
    recording: Recording,
    prompts: Sequence[str],
    backend: CLAPBackend,
    target: str | None = None,
    score: str = "logit",
) -> tuple[Prediction, Target]:
    """The decision, and what of it is to be explained; arguments and errors as in `explain`."""
    prediction = classify(recording, prompts, backend)
    sentence = prediction.prompts[prediction.predicted] if target is None else target
    return prediction, make_target(backend, sentence, prompts, score)


def result_of(
    recording: Recording,
    prediction: Prediction,
    wanted: Target,
    explanation: Explanation,
    method: Method,
    backend: CLAPBackend,
    axes: dict[str, Tensor],
) -> ExplainResult:
    """An explanation with its sounds; nothing of it is measured yet.

    Args:
        recording: that was explained.
        prediction: from `ask`.
        wanted: from `ask`.
        explanation: of the whole recording.
        method: that gave it.
        backend: the classifier.
        axes: from `axes_of`.
    """
    return ExplainResult(
        clip=recording.clip,
        prediction=prediction,
        target=wanted.prompt,
        target_similarity=float(recording.embedding @ wanted.embedding.cpu()),
        explanation=explanation,
        listening=split(recording, explanation, method, backend),
        magnitude_db=axes["magnitude_db"],
        frequencies_hz=axes["frequencies_hz"],
        times_s=axes["times_s"],
        metrics={},
        probability={},
        shares={},
    )


def explain_top(
    recording: Recording,
    prompts: Sequence[str],
    backend: CLAPBackend,
    method: Method,
    count: int,
    *,
    score: str = "logit",
    measure: bool = True,
    progress: Progress = no_progress,
) -> Iterator[ExplainResult]:
    """Explain the most probable prompts one after the other, the most probable first.

    Args:
        recording: as in `explain`, and so are the other arguments and errors.
        count: how many of the prompts, 1 or more; all of them where there are fewer.

    Yields:
        An ExplainResult as soon as it is there; no further one is computed if no further one is asked for.
    """
    prediction = classify(recording, prompts, backend)
    order = prediction.probabilities.argsort(descending=True, stable=True).tolist()[:count]
    for number, index in enumerate(order):
        yield explain(
            recording,
            prompts,
            backend,
            method,
            target=prediction.prompts[index],
            score=score,
            measure=measure,
            progress=part_of(progress, number / len(order), (number + 1) / len(order)),
        )


def explain_clip(
    clip: AudioClip,
    prompts: Sequence[str],
    backend: CLAPBackend,
    method: Method,
    *,
    target: str | None = None,
    score: str = "logit",
    measure: bool = True,
    progress: Progress = no_progress,
) -> ExplainResult:
    """Explain one zero-shot decision end to end: `listen`, then `explain`.

    Raises:
        AudioError: the clip would not pass `load_clip` either, e.g. it is silent.
        PromptError: as in `explain`.
    """
    # Clips that were made by hand pass the same gate as files.
    clip = replace(make_clip(clip.waveform, clip.sample_rate, clip.name), notes=clip.notes)
    backend.check_prompts([*prompts, *([] if target is None else [target])])
    recording = listen(clip, backend)
    return explain(
        recording, prompts, backend, method, target=target, score=score, measure=measure, progress=progress
    )


def split(recording: Recording, explanation: Explanation, method: Method, backend: CLAPBackend) -> Listening:
    """What the mask keeps, the rest, and each component.

    Args:
        recording: that was explained.
        explanation: of it.
        method: that gave it, and plays its masks.
        backend: the classifier.

    Returns:
        kept + removed = recording, and components + rest = recording.
    """
    clip, components = recording.clip, explanation.components

    def named(waveform: Tensor, name: str) -> AudioClip:
        return AudioClip(waveform, clip.sample_rate, f"{clip.name}-{name}")

    kept = method.play(clip.waveform, audible(explanation.mask, explanation.domain, backend))
    sounds = [method.play(clip.waveform, part.gain) for part in components]
    rest = named(clip.waveform - sum(sounds), "rest") if sounds else None
    return Listening(
        kept=named(kept, "kept"),
        removed=named(clip.waveform - kept, "removed"),
        components=tuple(
            named(sound, f"component-{part.index}") for part, sound in zip(components, sounds, strict=True)
        ),
        rest=rest,
    )


def audible(mask: Tensor, domain: MaskDomain, backend: CLAPBackend) -> Tensor:
    """The amplitude mask over STFT bins that makes a mask heard: (..., freq, frames) -> (..., bins, frames)."""
    return mask if domain == "stft" else mel_mask_to_stft(mask, backend.mel_filters.to(mask.device))


def axes_of(clip: AudioClip, domain: MaskDomain, backend: CLAPBackend) -> dict[str, Tensor]:
    """The recording's spectrogram on the rows of its masks, with both axes."""
    grid, filters = backend.spectral, backend.mel_filters.cpu()
    on_bins = domain == "stft"
    magnitude_db = torch.empty(
        grid.n_bins if on_bins else grid.n_mels, clip_frames(clip.waveform.shape[-1], grid)
    )
    first = 0
    for power in power_blocks(clip.waveform, grid):
        last = first + power.shape[1]
        magnitude_db[:, first:last] = power_to_db(power if on_bins else filters @ power)
        first = last
    return {
        "magnitude_db": magnitude_db,
        "frequencies_hz": frequencies_hz(grid) if on_bins else backend.mel_frequencies_hz,
        "times_s": times_s(magnitude_db.shape[1], grid),
    }
