"""Does the model decide the same on what a mask keeps, and differently on what it removes?

Formulas: Paissan et al. 2024 (LMAC-ZS), section 3.1. Everything is computed in float64 from logits, because a
probability that float32 rounds to 1 leaves nothing to divide by in the average gain.
"""

import torch
from torch import Tensor

ROUNDING = (
    1e-3  # log-odds; an STFT, its inverse and a float32 encoder move them by less, and that is no increase
)


def faithfulness(
    logits: Tensor,
    kept_logits: Tensor,
    removed_logits: Tensor,
    target: Tensor,
    *,
    double_softmax: bool = False,
) -> dict[str, Tensor]:
    """Score explanations of one prompt each, relative to all prompts of the task.

    With p, q and r the target's probability on the input, on what is kept and on what is removed:

    - ff = p - r, in [-1, 1]: removing what counted must hurt (higher is better).
    - ai = 100 if q > p, else 0, in percent: what is kept convinces more than the whole (higher is better). A
      rise of less than `ROUNDING` in log-odds is rounding, not a rise: the full mask has ai = 0.
    - ad = 100 * max(0, p - q) / p, in percent: share of the probability that is lost (lower is better).
    - ag = 100 * max(0, q - p) / (1 - p), in percent: share of the doubt that is gone (higher is better).
    - fid_in = 1 if the most probable prompt is the same on the input and on what is kept, else 0 (higher is
      better).

    Args:
        logits: (batch, prompts), logit_scale * cosine of the input.
        kept_logits: (batch, prompts), the same of what the mask keeps.
        removed_logits: (batch, prompts), the same of what the mask removes.
        target: (batch,) int64, index of the prompt that each mask explains.
        double_softmax: apply a second softmax before the average drop. Public code of the paper's authors
            does so, and the paper's AD values fit only that; for a comparison with them, never on its own.

    Returns:
        ff, ai, ad, ag, fid_in: each (batch,) float64, one value per explanation.

    Raises:
        ValueError: the three logits differ in shape, or `target` has another length.
    """
    if not logits.shape == kept_logits.shape == removed_logits.shape or target.shape != logits.shape[:1]:
        raise ValueError(
            f"logits {tuple(logits.shape)}, kept {tuple(kept_logits.shape)} and removed "
            f"{tuple(removed_logits.shape)} must be (batch, prompts), target {tuple(target.shape)} (batch,)."
        )
    log_p, log_not_p = _log_probability(logits, target)
    log_q, log_not_q = _log_probability(kept_logits, target)
    log_r, _ = _log_probability(removed_logits, target)
    rise = (log_q - log_not_q) - (log_p - log_not_p)
    if double_softmax:
        drop_p = _log_probability(logits.double().softmax(-1), target)[0]
        drop_q = _log_probability(kept_logits.double().softmax(-1), target)[0]
    else:
        drop_p, drop_q = log_p, log_q
    # (q - p) / (1 - p) = 1 - (1 - q) / (1 - p), and a quotient is a difference of logarithms. -inf minus -inf
    # happens where there is no doubt left at all (a single prompt): nothing to gain, 0.
    gain = 1.0 - (log_not_q - log_not_p).exp()
    return {
        "ff": log_p.exp() - log_r.exp(),
        "ai": 100.0 * (rise > ROUNDING).double(),
        "ad": 100.0 * (1.0 - (drop_q - drop_p).exp()).clamp_min(0.0),
        "ag": 100.0 * torch.nan_to_num(gain, nan=0.0, neginf=0.0).clamp_min(0.0),
        "fid_in": (logits.argmax(-1) == kept_logits.argmax(-1)).double(),
    }


def _log_probability(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of the target's probability and of its complement, (batch,) float64 each."""
    log_probabilities = logits.double().log_softmax(-1)
    chosen = torch.nn.functional.one_hot(target, logits.shape[-1]).bool()
    log_others = log_probabilities.masked_fill(chosen, -torch.inf)
    return log_probabilities[chosen], log_others.logsumexp(-1)
