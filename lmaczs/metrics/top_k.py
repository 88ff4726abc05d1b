"""How what is kept moves the probabilities of the most probable prompts, not of the explained one alone.

The paper of LMAC-ZS explains the top class only, and names that as its limitation: it does not say whether a mask
speaks for that class or for several.
"""

import math

import torch
from torch import Tensor


def top_k_change(logits: Tensor, kept_logits: Tensor, k: int = 3) -> Tensor:
    """Change of probability of the k most probable prompts when only the kept part is heard.

    Where the most probable prompt is explained, a mask that is about it alone raises the first number and
    lowers the others; one that keeps what several classes share leaves them where they are.

    Args:
        logits: (batch, prompts), logit_scale * cosine of the input; its order decides which prompts are meant.
        kept_logits: (batch, prompts), the same of what the mask keeps.
        k: how many prompts.

    Returns:
        (batch, k) float64, percentage points in [-100, 100]; nan where there are fewer than k prompts.

    Raises:
        ValueError: the shapes differ, or k is below 1.
    """
    if logits.shape != kept_logits.shape or k < 1:
        raise ValueError(
            f"logits {tuple(logits.shape)} and kept {tuple(kept_logits.shape)} must be (batch, prompts), "
            f"and k = {k} at least 1."
        )
    before, after = (values.double().softmax(-1) for values in (logits, kept_logits))
    first = logits.argsort(dim=-1, descending=True, stable=True)[:, :k]
    change = 100.0 * (after.gather(1, first) - before.gather(1, first))
    return torch.nn.functional.pad(change, (0, k - change.shape[1]), value=math.nan)
