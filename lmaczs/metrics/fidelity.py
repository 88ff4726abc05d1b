"""Does an interpreter decide as the classifier that it interprets? Top-k fidelity (Parekh et al. 2022, section 4.1)."""

import math
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor


def top_k_fidelity(classifier: Tensor, interpreter: Tensor, k: int) -> Tensor:
    """Is the class that the classifier predicts among the interpreter's k most probable ones?

    Args:
        classifier: (batch, classes) logits or probabilities of the classifier.
        interpreter: (batch, classes) logits or probabilities of the interpreter.
        k: how many classes of the interpreter count, 1 or more.

    Returns:
        (batch,) float64, 1 for yes and 0 for no. Classes of equal value share their places: where the predicted class
        stands in a tie for the last places, the value is its chance of getting one of them, so that an interpreter that
        cannot tell the classes apart has k / classes.

    Raises:
        ValueError: the shapes differ, or k is below 1.
    """
    if classifier.shape != interpreter.shape or classifier.dim() != 2 or k < 1:
        raise ValueError(
            f"classifier {tuple(classifier.shape)} and interpreter {tuple(interpreter.shape)} must be (batch, classes), "
            f"and k = {k} at least 1."
        )
    own = interpreter.gather(1, classifier.argmax(1, keepdim=True))
    above = (interpreter > own).sum(1).double()
    tied = (interpreter == own).sum(1).double()
    return ((k - above) / tied).clamp(0.0, 1.0)


def over_groups(values: Tensor, groups: Sequence[Hashable]) -> dict[str, float]:
    """Mean and standard deviation of group means, as papers report them over folds.

    Args:
        values: (clips,), one number a clip; nan is left out.
        groups: the group of each clip, e.g. its fold.

    Returns:
        mean, over groups, each counting once; deviation, of the group means (n - 1 below the line), nan for a single
        group; n, clips that counted; groups, that had any. mean is nan where nothing counted.

    Raises:
        ValueError: there are not as many groups as values.
    """
    if len(groups) != len(values):
        raise ValueError(f"{len(values)} values and {len(groups)} groups: give one group for each value.")
    members: dict[Hashable, list[float]] = {}
    for value, group in zip(values.tolist(), groups, strict=True):
        if not math.isnan(value):
            members.setdefault(group, []).append(value)
    means = torch.tensor([sum(found) / len(found) for found in members.values()], dtype=torch.float64)
    return {
        "mean": float(means.mean()) if len(means) else math.nan,
        "deviation": float(means.std()) if len(means) > 1 else math.nan,
        "n": sum(map(len, members.values())),
        "groups": len(means),
    }
