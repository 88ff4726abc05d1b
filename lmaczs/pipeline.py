"""The one-way flow: recording -> windows -> prediction -> mask -> listening -> numbers.

The page, the command line and the evaluation all call these functions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from lmaczs.clap import similarity
from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.base import (
    Attribution,
    AttributionExplainer,
    ComponentExplainer,
    Explainer,
    SteppedExplainer,
    attribution_to_mask,
    no_progress,
    part_of,
)
from lmaczs.metrics.faithfulness import faithfulness
from lmaczs.metrics.shape import mask_shape
from lmaczs.signal.audio import make_clip, resample
from lmaczs.signal.masking import masked_waveform, mel_mask_to_stft
from lmaczs.signal.phase import griffin_lim
from lmaczs.signal.spectral import (
    SpectralConfig,
    frequencies_hz,
    power_of,
    power_to_db,
    stft,
    times_s,
)
from lmaczs.signal.windows import WindowPlan, cut_windows, plan_windows, stitch_mask
from lmaczs.types import (
    AudioClip,
    AudioState,
    Component,
    ExplainResult,
    Explanation,
    Listening,
    Prediction,
    Progress,
    TextState,
)

MOST_COMPONENTS = 12  # that are played one by one
COMPONENT_CELLS = (
    2**27
)  # of all their maps together, 0.5 GB: of recordings above 7 minutes, fewer components are played
WINDOWS_KEPT = 4  # encoder passes of recordings up to 20 s are kept for further prompts; longer ones run window by window


@dataclass(frozen=True)
class Recording:
    """A recording that a backend has heard once; every prompt and every explainer starts from it.

    Attributes:
        clip: mono, at the backend's rate.
        plan: where its windows lie.
        embedding: (embed_dim,), unit norm; the mean of its windows' embeddings.
        states: encoder passes of its windows; empty when there are more than WINDOWS_KEPT.
    """

    clip: AudioClip
    plan: WindowPlan
    embedding: Tensor
    states: tuple[AudioState, ...] = field(repr=False)


def open_recording(clip: AudioClip, backend: CLAPBackend, progress: Progress = no_progress) -> Recording:
    """Resample, cut into windows and encode them, one window in memory at a time.

    Args:
        clip: any rate and length that `load_clip` lets through.
        backend: the CLAP.
        progress: called after each window.
    """
    clip = resample(clip, backend.spectral.sample_rate)
    plan = plan_windows(clip.waveform.shape[-1], backend.clip_samples)
    keep = len(plan.starts) <= WINDOWS_KEPT
    states, total = [], torch.zeros(backend.embed_dim)
    for index in range(len(plan.starts)):
        state = _window_state(clip, plan, index, backend)
        total = total + state.embedding[0].cpu()
        if keep:
            states.append(state)
        progress((index + 1) / len(plan.starts), "listening")
    return Recording(clip, plan, F.normalize(total, dim=0), tuple(states))


@torch.no_grad()
def _window_state(clip: AudioClip, plan: WindowPlan, index: int, backend: CLAPBackend) -> AudioState:
    device = backend.mel_filters.device
    window = cut_windows(clip.waveform, plan, index, index + 1).to(device)
    return backend.analyze(window, torch.full((1,), plan.valid_samples, device=device))


def _states(recording: Recording, backend: CLAPBackend) -> Iterator[AudioState]:
    """Window by window; of a long recording each is made anew when its turn comes."""
    if recording.states:
        yield from recording.states
    else:
        for index in range(len(recording.plan.starts)):
            yield _window_state(recording.clip, recording.plan, index, backend)


def classify(recording: Recording, prompts: Sequence[str], backend: CLAPBackend) -> Prediction:
    """Which of the prompts fits the recording best.

    Raises:
        PromptError: no prompt, or an empty one.
    """
    text = backend.encode_text(prompts)
    text = TextState(text.prompts, text.embedding.cpu())
    scale = backend.logit_scale.detach().cpu()
    return similarity.predict(recording.embedding, text, scale, backend.match_limits)


def explain(
    recording: Recording,
    prompts: Sequence[str],
    backend: CLAPBackend,
    explainer: Explainer,
    *,
    target: str | None = None,
    score: bool = True,
    progress: Progress = no_progress,
) -> ExplainResult:
    """Explain one prompt for a recording that is already open.

    Args:
        recording: from `open_recording` with the same backend.
        prompts: the sentences that probabilities are relative to.
        backend: the CLAP.
        explainer: made for this backend.
        target: sentence to explain, also one that is not in `prompts`; None explains the predicted prompt.
        score: also measure the faithfulness of this explanation (encodes kept and removed audio again).
        progress: called after each window, and after each step of a `SteppedExplainer`; may raise to stop.

    Returns:
        ExplainResult on the CPU, on the recording's own time axis.

    Raises:
        PromptError: no prompt, an empty one, or one outside the explainer's closed set.
    """
    prediction = classify(recording, prompts, backend)
    sentence = prediction.prompts[prediction.predicted] if target is None else target.strip()
    text = backend.encode_text([sentence])
    clip, grid = recording.clip, backend.spectral
    explainer.check_prompts(text.prompts)
    if isinstance(explainer, ComponentExplainer):
        explanation = _explain_by_components(recording, backend, explainer, text, progress)
    else:
        explanation = _explain_by_mask(recording, backend, explainer, text, progress)
    mask = explanation.mask
    listening = _listen(clip, explanation, explainer, backend)
    power = power_of(stft(clip.waveform.unsqueeze(0), grid)[0])
    on_bins = explainer.domain == "stft"
    result = ExplainResult(
        clip=clip,
        prediction=prediction,
        target=sentence,
        target_similarity=float(recording.embedding @ text.embedding[0].cpu()),
        explanation=explanation,
        listening=listening,
        magnitude_db=power_to_db(power if on_bins else backend.mel_filters.cpu() @ power),
        frequencies_hz=frequencies_hz(grid) if on_bins else backend.mel_frequencies_hz,
        times_s=times_s(mask.shape[1], grid),
        metrics={},
    )
    if score:
        result.metrics.update(score_explanation(result, recording, backend))
    return result


def _explain_by_mask(
    recording: Recording, backend: CLAPBackend, explainer: Explainer, text: TextState, progress: Progress
) -> Explanation:
    """One mask for the recording, divided by its maximum."""
    plan, grid = recording.plan, backend.spectral
    masks, attributions = [], []
    for index, state in enumerate(_states(recording, backend)):
        mask, attribution = _explain_window(
            explainer, state, text, part_of(progress, index, len(plan.starts))
        )
        masks.append(mask.detach().cpu()[0])
        if attribution is not None:
            attributions.append(attribution)
    mask = stitch_mask(torch.stack(masks), plan, grid)
    peak = mask.max()
    mask = mask / peak if peak > 0 else mask
    joined = _join_windows(attributions, plan, grid)
    return Explanation(explainer.name, text.prompts[0], mask, explainer.domain, *joined)


@torch.no_grad()
def _explain_by_components(
    recording: Recording,
    backend: CLAPBackend,
    explainer: ComponentExplainer,
    text: TextState,
    progress: Progress,
) -> Explanation:
    """One relevance for each component in the whole recording; its gains window by window.

    The mask is not divided by its maximum: it is the sum of the components above the threshold, as they are heard.
    """
    clip, plan, grid = recording.clip, recording.plan, backend.spectral
    contributions, activations = [], []
    for index, state in enumerate(_states(recording, backend)):
        parts = explainer.decompose(state, text)
        contributions.append(parts.contribution)
        activations.append(parts.activations[0])
        progress((index + 1) / len(plan.starts), f"explaining with {explainer.label}")
    relevance = explainer.relevance(torch.cat(contributions).mean(0, keepdim=True))
    above = int(explainer.chosen(relevance).sum())
    order = relevance[0].argsort(descending=True, stable=True)
    played = min(int((relevance > 0).sum()), _most_components(plan, grid))
    order = order[: max(above, played)]
    masks, gains = [], []
    for index, active in enumerate(activations):
        window = cut_windows(clip.waveform, plan, index, index + 1).to(active.device)
        each = explainer.lane_gains(stft(window, grid)[0], active, order).cpu()
        masks.append(each[:above].sum(0))
        gains.append(each[:played].flatten(0, 1))
    mask = stitch_mask(torch.stack(masks), plan, grid).clamp(0, 1)
    lanes = (
        stitch_mask(torch.stack(gains), plan, grid).unflatten(0, (played, grid.n_bins))
        if played
        else mask[:0]
    )
    active = stitch_mask(torch.stack(activations).cpu(), plan, grid)
    components = tuple(
        Component(
            index=number,
            relevance=float(relevance[0, number].clamp(-1, 1)),
            gain=gain,
            pattern=explainer.patterns[:, number].cpu(),
            activation=active[number],
        )
        for number, gain in zip(order[:played].tolist(), lanes, strict=True)
    )
    return Explanation(
        explainer.name,
        text.prompts[0],
        mask,
        explainer.domain,
        components=components,
        relevance_threshold=explainer.relevance_threshold,
    )


def _most_components(plan: WindowPlan, grid: SpectralConfig) -> int:
    """How many components of a recording are played one by one: MOST_COMPONENTS, or what memory has room for."""
    cells = grid.n_bins * (1 + plan.num_samples // grid.hop_length)
    return max(1, min(MOST_COMPONENTS, COMPONENT_CELLS // cells))


def _listen(
    clip: AudioClip, explanation: Explanation, explainer: Explainer, backend: CLAPBackend
) -> Listening:
    """What the mask keeps, the rest, and each component; both pairs add up to the recording."""
    grid, mask = backend.spectral, explanation.mask
    heard = mask if explanation.domain == "stft" else mel_mask_to_stft(mask, backend.mel_filters.cpu())
    steps = explainer.griffin_lim_steps if isinstance(explainer, ComponentExplainer) else 0

    def play(gain: Tensor) -> Tensor:
        if not steps:
            return masked_waveform(clip.waveform, gain, grid)
        samples = clip.waveform.unsqueeze(0)
        return griffin_lim(stft(samples, grid) * gain, grid, samples.shape[1], steps)[0]

    def named(waveform: Tensor, name: str) -> AudioClip:
        return AudioClip(waveform, clip.sample_rate, f"{clip.name}-{name}")

    kept = play(heard)
    sounds = [play(part.gain) for part in explanation.components]
    rest = named(clip.waveform - torch.stack(sounds).sum(0), "rest") if sounds else None
    return Listening(
        kept=named(kept, "kept"),
        removed=named(clip.waveform - kept, "removed"),
        components=tuple(
            named(sound, f"component-{part.index}")
            for part, sound in zip(explanation.components, sounds, strict=True)
        ),
        rest=rest,
    )


def _explain_window(
    explainer: Explainer, state: AudioState, text: TextState, progress: Progress
) -> tuple[Tensor, Attribution | None]:
    """Mask of one window, and the attribution that it is made of, where the method has one."""
    if isinstance(explainer, AttributionExplainer):
        attribution = explainer.attribute(state, text, progress)
        return attribution_to_mask(attribution.values), attribution
    if isinstance(explainer, SteppedExplainer):
        return explainer.masks(state, text, progress), None
    masks = explainer.masks(state, text)
    progress(1.0, f"explaining with {explainer.label}")
    return masks, None


def _join_windows(
    attributions: list[Attribution], plan: WindowPlan, grid: SpectralConfig
) -> tuple[Tensor | None, float | None]:
    """Attribution on the recording's own time axis, and the worst window's completeness error; None if there is none."""
    if not attributions:
        return None, None
    values = stitch_mask(torch.stack([part.values[0].detach().cpu() for part in attributions]), plan, grid)
    errors = [float(part.completeness_error) for part in attributions if part.completeness_error is not None]
    return values, max(errors, default=None)


def explain_top(
    recording: Recording,
    prompts: Sequence[str],
    backend: CLAPBackend,
    explainer: Explainer,
    count: int,
    *,
    score: bool = True,
    progress: Progress = no_progress,
) -> Iterator[ExplainResult]:
    """Explain the most probable prompts one after the other, the most probable first.

    Args:
        recording: as in `explain`, and so are the other arguments and errors.
        count: how many of the prompts, 1 or more; all of them where there are fewer.

    Yields:
        An ExplainResult as soon as it is there; who stops asking stops the work.
    """
    prediction = classify(recording, prompts, backend)
    order = prediction.probabilities.argsort(descending=True, stable=True).tolist()[:count]
    for number, index in enumerate(order):
        yield explain(
            recording,
            prompts,
            backend,
            explainer,
            target=prediction.prompts[index],
            score=score,
            progress=part_of(progress, number, len(order)),
        )


def score_explanation(result: ExplainResult, recording: Recording, backend: CLAPBackend) -> dict[str, float]:
    """This clip's faithfulness numbers, scored on the audio that is heard, for the target among the prompts."""
    return metrics_of_parts(result, *logits_of_parts(result, recording, backend))


def logits_of_parts(
    result: ExplainResult, recording: Recording, backend: CLAPBackend, progress: Progress = no_progress
) -> tuple[Tensor, int]:
    """Let the classifier hear what is kept and what is removed.

    Args:
        result: one explanation.
        recording: that it explains.
        backend: the CLAP.
        progress: as in `open_recording`.

    Returns:
        (3, prompts), logit_scale * cosine of the whole, the kept and the removed audio, for the prediction's prompts
        and the target; and the target's index among them.
    """
    prompts = tuple(dict.fromkeys((*result.prediction.prompts, result.target)))
    text = backend.encode_text(prompts).embedding.cpu()
    heard = torch.stack(
        [
            recording.embedding,
            open_recording(result.listening.kept, backend, progress).embedding,
            open_recording(result.listening.removed, backend, progress).embedding,
        ]
    )
    logits = backend.logit_scale.detach().cpu() * similarity.similarities(heard, text)
    return logits, prompts.index(result.target)


def metrics_of_parts(result: ExplainResult, logits: Tensor, target: int) -> dict[str, float]:
    """Faithfulness and shape of one explanation from `logits_of_parts`."""
    values = faithfulness(logits[0:1], logits[1:2], logits[2:3], torch.tensor([target]))
    values |= mask_shape(result.explanation.mask.unsqueeze(0))
    return {key: float(value[0]) for key, value in values.items()}


def explain_clip(
    clip: AudioClip,
    prompts: Sequence[str],
    backend: CLAPBackend,
    explainer: Explainer,
    *,
    target: str | None = None,
    score: bool = True,
    progress: Progress = no_progress,
) -> ExplainResult:
    """Explain one zero-shot decision end to end: `open_recording`, then `explain`.

    Raises:
        AudioError: the clip would not pass `load_clip` either, e.g. it is silent.
        PromptError: no prompt, an empty one, or one outside the explainer's closed set.
    """
    clip = make_clip(clip.waveform, clip.sample_rate, clip.name)  # also clips that were made by hand
    recording = open_recording(clip, backend)
    return explain(recording, prompts, backend, explainer, target=target, score=score, progress=progress)
