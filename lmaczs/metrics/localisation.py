"""How much of a known source is in an estimate; for mixtures whose parts are known."""

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
