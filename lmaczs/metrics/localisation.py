"""How much of a known source an explanation finds; for mixtures whose parts are known."""

import torch
from torch import Tensor

LIMIT_DB = 60.0  # a perfect and a silent estimate are infinite; a mean over clips needs numbers


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019), after both signals are made
    zero-mean.

    Args:
        estimate: (batch, samples).
        reference: (batch, samples), the clean source.

    Returns:
        (batch,) float64 dB, limited to +-60 dB; higher is better. -60 for a silent estimate.

    Raises:
        ValueError: the shapes differ, or a reference is silent (nothing can be measured against it).
    """
    if estimate.shape != reference.shape:
        raise ValueError(
            f"estimate {tuple(estimate.shape)} and reference {tuple(reference.shape)} differ in shape."
        )
    estimate = estimate.double() - estimate.double().mean(-1, keepdim=True)
    reference = reference.double() - reference.double().mean(-1, keepdim=True)
    energy = reference.square().sum(-1, keepdim=True)
    if (energy == 0).any():
        raise ValueError("a reference is silent: leave it out.")
    projection = (estimate * reference).sum(-1, keepdim=True) / energy * reference
    signal = projection.square().sum(-1)
    distortion = (estimate - projection).square().sum(-1)
    ratio = 10.0 * (torch.log10(signal) - torch.log10(distortion))
    ratio = torch.where(signal == 0, -LIMIT_DB, ratio)  # before the limit: 0 / 0 of a silent estimate is nan
    return ratio.clamp(-LIMIT_DB, LIMIT_DB)


def si_sdr_improvement(estimate: Tensor, mixture: Tensor, reference: Tensor) -> Tensor:
    """SI-SDR of an estimate minus that of the unprocessed mixture.

    Args:
        estimate: (batch, samples).
        mixture: (batch, samples).
        reference: (batch, samples), the clean source.

    Returns:
        (batch,) float64 dB; 0 for the untouched mixture, higher is better.
    """
    return si_sdr(estimate, reference) - si_sdr(mixture, reference)


def dominant_cells(source_power: Tensor, other_power: Tensor) -> Tensor:
    """The cells that belong to a source: those where it is louder than the rest of the mixture.

    Args:
        source_power: (batch, bins, frames) >= 0.
        other_power: (batch, bins, frames) >= 0, of the rest.

    Returns:
        (batch, bins, frames) bool.
    """
    return source_power > other_power


def energy_on_target(mask: Tensor, mixture_power: Tensor, target: Tensor) -> Tensor:
    """How much of the energy that a mask keeps lies on the target's cells.

    The relevance mass accuracy (Arras et al. 2022) of mask^2 * power: weighted by energy, because half of the
    cells of a mixture are too quiet to belong to anyone.

    Args:
        mask: (batch, bins, frames) in [0, 1], on amplitude.
        mixture_power: (batch, bins, frames) >= 0.
        target: (batch, bins, frames) bool, see `dominant_cells`.

    Returns:
        (batch,) float64 in [0, 1], higher is better; nan for a mask that keeps no energy. The full mask has the
        share that the target's cells have in the mixture.
    """
    energy = (mask.double().square() * mixture_power.double()).flatten(1)
    total = energy.sum(1)
    return torch.where(total > 0, (energy * target.flatten(1)).sum(1) / total, torch.nan)


def pointing_accuracy(mask: Tensor, target: Tensor) -> Tensor:
    """Does the mask's largest cell lie on the target? (Pointing game, Zhang et al. 2018.)

    Args:
        mask: (batch, bins, frames) >= 0.
        target: (batch, bins, frames) bool.

    Returns:
        (batch,) float64 in [0, 1]: 1 for a hit, 0 for a miss; where several cells share the maximum, the share
        of hits among them, so that a flat mask has no better than chance. nan for an empty mask.
    """
    cells = mask.flatten(1)
    peak = cells.amax(1, keepdim=True)
    largest = cells == peak
    hits = (largest & target.flatten(1)).sum(1).double() / largest.sum(1)
    return torch.where(peak[:, 0] > 0, hits, torch.nan)
