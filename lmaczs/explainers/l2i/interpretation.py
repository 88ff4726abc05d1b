"""From activations to sound: log-magnitude, relevance, soft masks, gains (Parekh et al. 2022, 3.2 and Algorithm 2).

The paper's soft masks share out X = log(1 + |S|), so what a set L of components leaves of a cell is not its share c of
the magnitude but expm1(c X) / expm1(X). Such gains do not add up over components: exp of a sum is no sum. Lanes do: in
order of relevance, each lane is what it adds to the ones before it. The first lanes together are exactly the paper's
interpretation at the threshold below them, and all lanes with the rest are the input.
"""

import torch
from torch import Tensor

from lmaczs.signal.spectral import power_of

LOUDNESS = 5.0  # root mean square of |S| before the logarithm; about what clips with a peak of 1 have
RELEASED_FLOOR = 1e-6  # that the released code adds to the model before it divides by it


def log_magnitude(spectrum: Tensor) -> Tensor:
    """X = log(1 + |S|) of windows brought to one level, so that a louder copy has the same components.

    Args:
        spectrum: (batch, bins, frames) complex.

    Returns:
        (batch, bins, frames) float32 >= 0; all zero for digital silence.
    """
    power = power_of(spectrum)
    level = power.mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-8)
    return torch.log1p(power.sqrt() * (LOUDNESS / level))


def relevance_of(contribution: Tensor, *, released: bool = False) -> Tensor:
    """Contributions to a prompt's logit, relative to the largest one.

    Args:
        contribution: (batch, components) z_k theta_ck, signed.
        released: divide by the largest value as the released code does, not by the largest absolute value; where no
            contribution is positive, all signs are flipped then.

    Returns:
        (batch, components); in [-1, 1] unless released; all zero where every contribution is zero.
    """
    largest = (contribution if released else contribution.abs()).amax(dim=1, keepdim=True)
    return torch.where(largest == 0, 0.0, contribution / torch.where(largest == 0, 1.0, largest))


def choose(relevance: Tensor, threshold: float, most: int) -> Tensor:
    """Components that count: relevance above the threshold, and among the largest.

    Args:
        relevance: (batch, components).
        threshold: tau, in [0, 1).
        most: components at most.

    Returns:
        (batch, components) bool.
    """
    rank = relevance.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (relevance > threshold) & (rank < most)


def soft_masks(dictionary: Tensor, activations: Tensor, *, released: bool = False) -> Tensor:
    """Share of each component in each cell, m_k = w_k h_k / sum_l w_l h_l.

    Args:
        dictionary: (bins, components) >= 0.
        activations: (batch, components, frames) >= 0.
        released: add 1e-6 to the sum, as the released code does.

    Returns:
        (batch, components, bins, frames) in [0, 1]; sums to 1 over components where the model has energy, 0 elsewhere.
    """
    total = _model(dictionary, activations, released)
    parts = dictionary.T[None, :, :, None] * activations[:, :, None, :]
    return parts / total.unsqueeze(1)


def share_of(dictionary: Tensor, activations: Tensor, chosen: Tensor, *, released: bool = False) -> Tensor:
    """Share of a set of components in each cell, without a map for each of them.

    Args:
        dictionary: (bins, components) >= 0.
        activations: (batch, components, frames) >= 0.
        chosen: (batch, components) bool.
        released: as in `soft_masks`.

    Returns:
        (batch, bins, frames) in [0, 1].
    """
    part = dictionary @ (activations * chosen.unsqueeze(2).to(activations))
    return (part / _model(dictionary, activations, released)).clamp_max(1.0)


def _model(dictionary: Tensor, activations: Tensor, released: bool) -> Tensor:
    total = dictionary @ activations
    return total + RELEASED_FLOOR if released else total.clamp_min(1e-12)


def gain_of_share(share: Tensor, log_mag: Tensor) -> Tensor:
    """Factor on the magnitude that leaves a share of X: expm1(c X) / expm1(X).

    With the share of a set of components it plays them (X_int of Algorithm 2); with 1 minus that share it removes them
    (X2 of section 4.1), which takes away more than the difference of the two sounds.

    Args:
        share: (batch, bins, frames) in [0, 1].
        log_mag: (batch, bins, frames) from `log_magnitude`.

    Returns:
        (batch, bins, frames) in [0, 1]; the share itself where X is 0.
    """
    safe = log_mag.clamp_min(1e-6)
    return torch.expm1(share * safe) / torch.expm1(safe)


def lane_gains(
    dictionary: Tensor, activations: Tensor, order: Tensor, log_mag: Tensor, *, released: bool = False
) -> Tensor:
    """What each component adds to the ones before it, as a factor on the magnitude.

    Args:
        dictionary: (bins, components) >= 0.
        activations: (components, frames) >= 0 of one window.
        order: (lanes,) component numbers, most relevant first.
        log_mag: (bins, frames) of the window.
        released: as in `soft_masks`.

    Returns:
        (lanes, bins, frames) in [0, 1]; the sum of the first n is the gain of their common share.
    """
    total = _model(dictionary, activations, released)
    safe = log_mag.clamp_min(1e-6)
    whole = torch.expm1(safe)
    scale = safe / total
    gains = log_mag.new_empty(len(order), *log_mag.shape)
    exponent, before = torch.zeros_like(log_mag), torch.zeros_like(log_mag)
    for lane, component in enumerate(order.tolist()):
        exponent = exponent.addcmul(scale, torch.outer(dictionary[:, component], activations[component]))
        heard = torch.minimum(exponent, safe).expm1_() / whole
        torch.sub(heard, before, out=gains[lane])
        before = heard
    return gains.clamp_(0.0, 1.0)
