"""What a mask looks like, whatever the model thinks of it; and masks of equal area."""

import torch
from torch import Tensor


def mask_shape(mask: Tensor) -> dict[str, Tensor]:
    """Describe masks by three numbers.

    - sps, in [0, 1 - 1/n]: Gini index of the n cells (Chalasani et al. 2020); higher is sparser. A uniform
      mask has 0, a single cell 1 - 1/n.
    - comp, in [0, ln n] nats: entropy of mask / sum (Bhatt et al. 2020); lower is simpler.
    - mm, in [0, 1]: mean of the mask.

    An empty mask (all zero) has sps = comp = mm = 0 by our convention; other code leaves such masks out of
    its means, so `lmaczs.metrics.table.aggregate` counts them.

    Args:
        mask: (batch, freq, frames), not negative; padding must be cut off before.

    Returns:
        sps, comp, mm: each (batch,) float64.
    """
    cells = mask.detach().double().flatten(1)
    count = cells.shape[1]
    total = cells.sum(1)
    share = cells / torch.where(total > 0, total, 1.0).unsqueeze(1)
    rank = 2.0 * torch.arange(1, count + 1, dtype=torch.float64, device=mask.device) - count - 1
    return {
        "sps": ((share.sort(1).values * rank).sum(1) / count).clamp_min(0.0),  # rounding goes below
        "comp": -torch.xlogy(share, share).sum(1),
        "mm": cells.mean(1),
    }


def binarise_top(mask: Tensor, share: float) -> Tensor:
    """Keep each mask's largest cells, so that methods can be compared at equal area.

    Exactly round(share * n) cells become 1 and the others 0. Equal cells are taken in one fixed shuffled
    order: in the order of memory, a map that is zero almost everywhere would be filled up with the lowest
        frequencies, which is where
    most sounds have their energy.

    Args:
        mask: (batch, freq, frames).
        share: of the cells, in [0, 1].

    Returns:
        (batch, freq, frames) of zeros and ones, in the mask's dtype.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share is {share}; it must be between 0 and 1.")
    cells = mask.detach().flatten(1)
    total = cells.shape[1]
    count = round(share * total)
    if count == 0:
        return torch.zeros_like(mask)
    threshold = cells.topk(count, dim=1, sorted=False).values.amin(1, keepdim=True)
    above, level = cells > threshold, cells == threshold
    wanted = count - above.sum(1, keepdim=True)  # of the cells at the threshold
    if (level.sum(1, keepdim=True) != wanted).any():
        order = torch.randperm(total, generator=torch.Generator().manual_seed(0)).to(mask.device)
        turn = torch.empty_like(cells, dtype=torch.int64)
        turn[:, order] = level[:, order].cumsum(1)
        level &= turn <= wanted
    return (above | level).to(mask.dtype).view_as(mask)
