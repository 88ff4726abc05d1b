"""What the interpreter is trained for (Parekh et al. 2022, eq. 1 to 4): fidelity, reconstruction, sparse activations."""

import torch.nn.functional as F
from torch import Tensor


def fidelity_loss(logits: Tensor, decision: Tensor, *, multi_label: bool = False) -> Tensor:
    """Generalised cross-entropy between the classifier's decision and Theta's, mean over the batch.

    Args:
        logits: (batch, prompts) of Theta.
        decision: (batch, prompts) the classifier's probabilities.
        multi_label: probabilities are independent (eq. 2) and do not sum to 1 (eq. 1).

    Returns:
        () >= 0, nats; of multi-label decisions the mean over prompts too, as in the released code.
    """
    if multi_label:
        return F.binary_cross_entropy_with_logits(logits, decision)
    return -(decision * F.log_softmax(logits, dim=1)).sum(1).mean()


def logit_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference of logits over prompts, less what all prompts of a window share; ours.

    A softmax over hundreds of prompts is nearly blind for all but the first few; the order of the others is what carries
    over to prompts that were never seen.

    Args:
        logits: (batch, prompts) of Theta.
        wanted: (batch, prompts) of the classifier.
    """
    difference = logits - wanted
    return (difference - difference.mean(1, keepdim=True)).square().mean()


def reconstruction_loss(dictionary: Tensor, activations: Tensor, projected: Tensor, energy: Tensor) -> Tensor:
    """|X - W H|^2 (eq. 3), mean over cells, without ever building the two maps.

    |X - W H|^2 = |X|^2 - 2 <W'X, H> + <W'W H, H>, and W'X is a fifth of the size of X.

    Args:
        dictionary: W, (bins, components).
        activations: H, (batch, components, frames).
        projected: W'X, (batch, components, frames).
        energy: (batch,) |X|^2.
    """
    gram = dictionary.T @ dictionary
    square = (activations * (gram @ activations)).sum(dim=(1, 2))
    error = energy - 2 * (projected * activations).sum(dim=(1, 2)) + square
    return (error / (len(dictionary) * activations.shape[2])).mean()


def sparsity_loss(activations: Tensor) -> Tensor:
    """Mean of H: the l1 term of eq. 4 for activations that are not negative."""
    return activations.mean()
