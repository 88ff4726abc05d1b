"""Choices of components in the L2I benchmark: what happens without them, and how alike they are for two prompts."""

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from l2i_fidelity import Found
from l2i_models import BATCH, TITLES, LoadedClips, Models, decompose_each, sound_of, targets_of
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.decisions import Decision, HeadDecision, ZeroShotDecision
from lmaczs.clap.target import Target, make_target
from lmaczs.evaluation.mixtures import SIDES, plan_mixtures
from lmaczs.explainers.l2i.explainer import L2I
from lmaczs.explainers.perturbing import to_grid
from lmaczs.explainers.slime import SLIME
from lmaczs.metrics.components import THRESHOLDS, jaccard, random_choice
from lmaczs.signal.mixing import mix_at_snr
from lmaczs.types import AudioState


@torch.no_grad()
def removal(models: Models, kind: str, name: str, heard: LoadedClips, labels: Sequence[str]) -> Found:
    """FF of taking the chosen components away, heard again from the waveform on, for each threshold of relevance.

    Beside it as many components drawn at random: of all, as in the paper, and of the others. Every clip counts once for
    the label that the classifier predicts; of a multi-label head, once for every label that it gives.
    """
    decision = models.decision(kind, labels)
    explainer = None if decision is None else models.explainer(kind, name, decision)
    if decision is None or explainer is None:
        return {}
    targets, generator = targets_of(decision, models.backend), torch.Generator().manual_seed(0)
    tally = _Tally()
    for _, batch in tqdm(
        heard.batches(), total=-(-len(heard.clips) // BATCH), desc=f"{kind} {name}", leave=False
    ):
        windows, target, before = explained(decision, batch)
        if not len(target):
            continue
        audio = batch[windows]
        activations, contribution = decompose_each(explainer, audio, [targets[place] for place in target])
        relevance = explainer.relevance(contribution)
        for threshold in THRESHOLDS:
            chosen = relevance > threshold
            choices = {"chosen": chosen, "random": random_choice(chosen, generator)}
            if threshold == THRESHOLDS[-1]:
                choices["others"] = random_choice(chosen, generator, among_others=True)
            for which, choice in choices.items():
                gain = explainer.removal_gain(audio, activations, choice)
                after, energy = without_gain(decision, audio, gain, target, models.backend)
                tally.add(threshold, which, before - after, energy, choice)
    return tally.rows()


class _Tally:
    """Numbers of removals, by threshold and by what was removed."""

    def __init__(self) -> None:
        self._values: dict[tuple[float, str, str], list[Tensor]] = {}

    def add(self, threshold: float, which: str, ff: Tensor, energy: Tensor, choice: Tensor) -> None:
        """Add some decisions: FF, share of energy removed (each (batch,)), and what was chosen (batch, parts)."""
        for key, value in (("ff", ff), ("energy", energy), ("count", choice.sum(1).double())):
            self._values.setdefault((threshold, which, key), []).append(value)

    def rows(self) -> Found:
        """Median FF, mean energy and mean count, by threshold."""
        found: Found = {}
        for (threshold, which, key), parts in self._values.items():
            value = torch.cat(parts)
            row = found.setdefault(f"{threshold:g}", {"n": len(value)})
            row[f"{which} {key}"] = float(value.median() if key == "ff" else value.mean())
        return found


def explained(decision: Decision, audio: AudioState) -> tuple[Tensor, Tensor, Tensor]:
    """Window, label and probability of each decision that is explained."""
    probability = decision.probabilities(decision.logits(audio))
    if isinstance(decision, HeadDecision) and decision.multi_label:
        windows, target = torch.nonzero(decision.given(probability)).unbind(1)
    else:
        windows, target = torch.arange(len(probability)), probability.argmax(1)
    return windows, target, probability[windows, target].double()


def without_gain(
    decision: Decision, audio: AudioState, gain: Tensor, target: Tensor, backend: CLAPBackend
) -> tuple[Tensor, Tensor]:
    """Probability of the target without what a gain takes away, and the share of energy that it took."""
    left = sound_of(audio, gain, backend)
    probability = decision.probabilities(decision.logits(backend.analyze(left)))
    energy = 1 - left.square().sum(1) / audio.waveform.square().sum(1).clamp_min(1e-12)
    return probability[torch.arange(len(target)), target].double(), energy.double()


@torch.no_grad()
def slime_removal(models: Models, heard: LoadedClips, labels: Sequence[str]) -> Found:
    """The same with SLIME's segments: those whose weight, relative to the largest, is above the threshold."""
    decision = ZeroShotDecision(models.backend, labels)
    targets = targets_of(decision, models.backend)
    slime, generator, tally = SLIME(models.backend, "mel"), torch.Generator().manual_seed(0), _Tally()
    for _, batch in tqdm(heard.batches(), total=-(-len(heard.clips) // BATCH), desc="slime", leave=False):
        _, target, before = explained(decision, batch)
        weights = torch.stack(
            [slime.segment_weights(batch[row : row + 1], targets[place]) for row, place in enumerate(target)]
        )
        relevance = weights / weights.abs().amax(1, keepdim=True).clamp_min(1e-12)
        for threshold in THRESHOLDS:
            chosen = relevance > threshold
            for which, choice in (("chosen", chosen), ("random", random_choice(chosen, generator))):
                spread = slime.spread((~choice).float(), batch.mel_power.shape[2])
                kept = to_grid(models.backend, spread, "stft")
                after, energy = without_gain(decision, batch, kept, target, models.backend)
                tally.add(threshold, which, before - after, energy, choice)
    return tally.rows()


@torch.no_grad()
def overlap(models: Models, heard: LoadedClips, labels: Sequence[str], count: int) -> Found:
    """Jaccard index of the components chosen for the two labels of a mixture, and of controls."""
    decision = ZeroShotDecision(models.backend, labels)
    targets = targets_of(decision, models.backend)
    mixed, sides = _mixtures(heard, labels, count)
    bare = [make_target(models.backend, label.replace("_", " ")) for label in labels]
    rows: Found = {}
    for name in ("l2i", "open"):
        explainer = models.explainer("zero-shot", name, decision)
        if explainer is None:
            continue
        generator = torch.Generator().manual_seed(0)
        values: dict[str, list[Tensor]] = {}
        for rows_of in tqdm(torch.arange(len(mixed)).split(BATCH), desc=f"mixtures, {name}", leave=False):
            audio = models.backend.analyze(mixed[rows_of])
            first, second = (
                _choice(explainer, audio, [targets[place] for place in side[rows_of]]) for side in sides
            )
            values.setdefault("two prompts", []).append(jaccard(first, second))
            drawn = [random_choice(chosen, generator) for chosen in (first, second)]
            values.setdefault("control: random components", []).append(jaccard(drawn[0], drawn[1]))
            if name == "open":
                same = _choice(explainer, audio, [bare[place] for place in sides[0][rows_of]])
                values.setdefault("control: one prompt in other words", []).append(jaccard(first, same))
        for row, found in values.items():
            value = torch.cat(found)
            rows[f"{TITLES[name]}, {row}"] = {
                "jaccard": float(value.nanmean()),
                "n": int((~value.isnan()).sum()),
            }
    return rows


def _choice(explainer: L2I, audio: AudioState, targets: Sequence[Target]) -> Tensor:
    return explainer.chosen(explainer.relevance(decompose_each(explainer, audio, targets)[1]))


def _mixtures(heard: LoadedClips, labels: Sequence[str], count: int) -> tuple[Tensor, list[Tensor]]:
    """Mixtures of two clips at 0 dB (mixtures, samples), and the labels of their first and second clips."""
    place = {clip.path: number for number, clip in enumerate(heard.clips)}
    plans = plan_mixtures(heard.clips, count)
    mixed = [
        mix_at_snr(heard.waveforms[place[plan.a.path]], heard.waveforms[place[plan.b.path]], 0.0)[0]
        for plan in plans
    ]
    sides = [torch.tensor([labels.index(plan.clip(side).label) for plan in plans]) for side in SIDES]
    return torch.stack(mixed), sides
