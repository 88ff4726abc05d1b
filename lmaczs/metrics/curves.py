"""What happens as more and more of a mask's cells are taken away, or as nothing but them is heard."""

from collections.abc import Sequence

import torch
from torch import Tensor

SHARES = (0.05, 0.10, 0.20, 0.40)  # of the cells; both ends, 0 and 1, are known without an encoder pass


def deletion_insertion(
    probability: Tensor,
    silence: Tensor,
    kept: Tensor,
    removed: Tensor,
    shares: Sequence[float],
    empty: Tensor | None = None,
) -> dict[str, Tensor]:
    """Areas under the deletion and insertion curves (Petsiuk et al. 2018), cells in the order of the mask.

    The deletion curve is the target's probability while the highest cells are taken away: from the whole
    recording to silence; a good ranking makes it fall at once, so a small area is better. The insertion curve
    starts from silence and adds the highest cells: a large area is better. Both are measured on what is heard,
    by the caller; here they are put together. An empty mask ranks nothing: its cells are never taken away and
    never added, and both curves are flat.

    Args:
        probability: (batch,), of the target on the whole recording.
        silence: (batch,), of the target on silence.
        kept: (batch, shares), of the target where nothing but the top cells is heard.
        removed: (batch, shares), of the target where the top cells are taken away.
        shares: rising, between 0 and 1 exclusive: how many of the cells are top cells; see
            `lmaczs.metrics.shape.top_masks`.
        empty: (batch,) bool, masks without any cell; None: there are none.

    Returns:
        deletion, insertion: (batch, shares + 2) float64, with both ends; deletion_auc, insertion_auc: (batch,)
        float64 in [0, 1], area under straight lines between the points.

    Raises:
        ValueError: the shares do not rise strictly between 0 and 1, or shapes differ.
    """
    points = [0.0, *shares, 1.0]
    if any(high <= low for low, high in zip(points, points[1:], strict=False)):
        raise ValueError(f"shares {list(shares)} must rise strictly between 0 and 1.")
    if not kept.shape == removed.shape == (len(probability), len(shares)):
        raise ValueError(
            f"kept {tuple(kept.shape)} and removed {tuple(removed.shape)} must be "
            f"({len(probability)}, {len(shares)}): one row a clip, one column a share."
        )
    empty = torch.zeros_like(probability, dtype=torch.bool) if empty is None else empty
    whole, nothing = probability.double(), silence.double()
    deletion_end, insertion_end = torch.where(empty, whole, nothing), torch.where(empty, nothing, whole)
    curves = {
        "deletion": torch.cat([whole[:, None], removed.double(), deletion_end[:, None]], dim=1),
        "insertion": torch.cat([nothing[:, None], kept.double(), insertion_end[:, None]], dim=1),
    }
    at = torch.tensor(points, dtype=torch.float64, device=probability.device)
    return curves | {f"{name}_auc": torch.trapezoid(curve, at, dim=1) for name, curve in curves.items()}
