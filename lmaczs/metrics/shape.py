"""What a mask looks like, whatever the model thinks of it; and masks of equal area."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lmaczs.sorting import ascending

# Cells that are summed up at once.
BLOCK = 1 << 20
# Where cells are ranked, those are alike that differ in no bit but these last ones: 10 of the mantissa tell them apart.
ALIKE_BITS = 13
# Without the sign.
LEVELS = 1 << (31 - ALIKE_BITS)


def mask_shape(mask: Tensor) -> dict[str, Tensor]:
    """Describe masks by three numbers.

    - sps, in [0, 1 - 1/n]: Gini index of the n cells (Chalasani et al. 2020); higher is sparser. A uniform
      mask has 0, a single cell 1 - 1/n. True to 1e-6: see `ALIKE_BITS`.
    - comp, in [0, ln n] nats: entropy of mask / sum (Bhatt et al. 2020); lower is simpler.
    - mm, in [0, 1]: mean of the mask.

    An empty mask (all zero) has sps = comp = mm = 0 by our convention; other code leaves such masks out of
    its means, so `lmaczs.metrics.table.aggregate` counts them.

    Args:
        mask: (batch, freq, frames), not negative; padding must be cut off before.

    Returns:
        sps, comp, mm: each (batch,) float64.
    """
    cells = mask.detach().flatten(1).cpu()
    count = cells.shape[1]
    total, weighted, logs = torch.zeros(3, len(cells), dtype=torch.float64)
    for row, values in enumerate(cells):
        sizes = torch.zeros(LEVELS, dtype=torch.int64)
        sums = torch.zeros(LEVELS, dtype=torch.float64)
        # In blocks: of ten minutes, each copy in double precision takes 246 MB.
        for part in values.split(BLOCK):
            # The bits of floats rise as they do; those of -0 would not.
            level = (part.float().abs().view(torch.int32) >> ALIKE_BITS).long()
            exact = part.double()
            sizes += level.bincount(minlength=LEVELS)
            sums += level.bincount(exact, minlength=LEVELS)
            logs[row] += torch.xlogy(exact, exact).sum()
        # Sorting takes five times as long; the order within a level changes less than a millionth.
        ranks = 2 * sizes.cumsum(0) - sizes - count
        total[row], weighted[row] = sums.sum(), sums @ ranks.double()
    divisor = torch.where(total > 0, total, 1.0)
    found = {
        "sps": (weighted / divisor / count).clamp_min(0.0),  # rounding goes below
        # The entropy of cells / total, from sums over the cells themselves.
        "comp": (divisor.log() - logs / divisor).clamp_min(0.0),
        "mm": total / count,
    }
    return {name: value.to(mask.device) for name, value in found.items()}


def top_masks(mask: Tensor, shares: Sequence[float]) -> Tensor:
    """Keep each mask's largest cells: binary masks of the same area for every method.

    Exactly round(share * n) cells become 1 and the others 0, and a smaller share's cells are among a larger
    one's. Equal cells are taken in one fixed shuffled order: in the order of memory, a map that is zero almost
    everywhere would be filled up with the lowest frequencies, which is where most sounds have their energy.

    Args:
        mask: (batch, freq, frames).
        shares: of the cells, each in [0, 1].

    Returns:
        (batch, shares, freq, frames) of zeros and ones, in the mask's dtype.

    Raises:
        ValueError: a share is outside [0, 1].
    """
    for share in shares:
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share is {share}; it must be between 0 and 1.")
    cells = mask.detach().flatten(1)
    total = cells.shape[1]
    ordered = ascending(cells)
    kept = torch.zeros(len(cells), len(shares), total, dtype=mask.dtype, device=mask.device)
    order = None
    for index, share in enumerate(shares):
        count = round(share * total)
        if count == 0:
            continue
        threshold = ordered[:, total - count, None]
        above, level = cells > threshold, cells == threshold
        wanted = count - above.sum(1, keepdim=True)  # of the cells at the threshold
        if (level.sum(1, keepdim=True) != wanted).any():
            if order is None:
                order = torch.randperm(total, generator=torch.Generator().manual_seed(0)).to(mask.device)
            turn = torch.empty_like(cells, dtype=torch.int64)
            turn[:, order] = level[:, order].cumsum(1)
            level &= turn <= wanted
        kept[:, index] = above | level
    return kept.view(len(cells), len(shares), *mask.shape[1:])


def binarise_top(mask: Tensor, share: float) -> Tensor:
    """`top_masks` of one share: (batch, freq, frames) of zeros and ones, in the mask's dtype."""
    return top_masks(mask, (share,))[:, 0]
