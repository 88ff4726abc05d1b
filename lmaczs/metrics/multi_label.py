"""Fidelity to a multi-label classifier: how well an interpreter's probabilities rank its binary decisions.

Parekh et al. 2022, section 4.1 and table 2. Average precision and F1 are scikit-learn's.
"""

import math
from collections.abc import Collection

import numpy as np
from torch import Tensor

# Thresholds of the public code of the paper's authors, which joins precisions at these by trapezoids.
RELEASED_THRESHOLDS = tuple(step / 100 for step in (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95))


def multi_label_fidelity(
    decisions: Tensor, interpreter: Tensor, *, without: Collection[int] = (), compat: str = ""
) -> dict[str, float]:
    """Compare an interpreter's probabilities with a classifier's decisions.

    Args:
        decisions: (batch, tags) bool, what the classifier decided.
        interpreter: (batch, tags) probabilities of the interpreter, in [0, 1].
        without: tags to leave out of everything, such as one that the classifier hardly ever gives.
        compat: "" is average precision; "released" is the area by trapezoids over `RELEASED_THRESHOLDS`, only to
            compare with the paper's authors' public code.

    Returns:
        macro_auprc, mean over tags, in [0, 1], higher is better; micro_auprc, of all decisions together; max_f1, the
        largest micro F1 over all thresholds on the interpreter's probabilities; tags, that the macro mean is over: a tag
        without a single positive decision has no precision-recall curve and is left out; n, clips. nan where nothing is
        left.

    Raises:
        ValueError: the shapes differ, or there is no such compat.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    if decisions.shape != interpreter.shape or decisions.dim() != 2:
        raise ValueError(
            f"decisions {tuple(decisions.shape)} and interpreter {tuple(interpreter.shape)} must be (batch, tags)."
        )
    if compat not in ("", "released"):
        raise ValueError(f"compat is '{compat}': it must be '' or 'released'.")
    area = _area_by_trapezoids if compat else average_precision_score
    used = [tag for tag in range(decisions.shape[1]) if tag not in without]
    truth, scores = decisions[:, used].numpy().astype(bool), interpreter[:, used].double().numpy()
    present = [column for column in range(len(used)) if truth[:, column].any()]
    if not present:
        return dict.fromkeys(("macro_auprc", "micro_auprc", "max_f1"), math.nan) | {
            "tags": 0,
            "n": len(truth),
        }
    precision, recall, _ = precision_recall_curve(truth.ravel(), scores.ravel())
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return {
        "macro_auprc": float(np.mean([area(truth[:, column], scores[:, column]) for column in present])),
        "micro_auprc": float(area(truth.ravel(), scores.ravel())),
        "max_f1": float(f1.max()),
        "tags": len(present),
        "n": len(truth),
    }


def _area_by_trapezoids(truth: np.ndarray, scores: np.ndarray) -> float:
    """Area under precision over recall at a few thresholds, with the end points (0, 1) and (1, 0) added."""
    points = [(0.0, 1.0), (1.0, 0.0)]
    for threshold in RELEASED_THRESHOLDS:
        given = scores >= threshold
        if given.any():
            hits = (given & truth).sum()
            points.append((hits / truth.sum(), hits / given.sum()))
    # By recall, and at equal recall the larger precision first, as thresholds fall.
    recall, precision = np.array(sorted(points, key=lambda point: (point[0], -point[1]))).T
    return float(np.trapezoid(precision, recall))
