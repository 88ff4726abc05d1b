"""Choices of sound components: by relevance, by chance, and how alike two of them are."""

import torch
from torch import Tensor

THRESHOLDS = (0.9, 0.7, 0.5, 0.3, 0.1)  # of relevance; Parekh et al. 2022, table 1


def random_choice(chosen: Tensor, generator: torch.Generator, *, among_others: bool = False) -> Tensor:
    """As many components as were chosen, drawn without replacement: the random baseline of FF.

    Args:
        chosen: (batch, components) bool, what the interpreter chose.
        generator: source of the draw, on the CPU.
        among_others: draw only from components that were not chosen (as many as there are); else from all, as the paper
            does.

    Returns:
        (batch, components) bool.
    """
    order = torch.rand(chosen.shape, generator=generator).to(chosen.device)
    if among_others:
        order = torch.where(chosen, -1.0, order)
    rank = order.argsort(dim=1, descending=True).argsort(dim=1)
    drawn = rank < chosen.sum(1, keepdim=True)
    return drawn & ~chosen if among_others else drawn


def jaccard(first: Tensor, second: Tensor) -> Tensor:
    """How alike two choices are: size of what they share over size of what either has (Jaccard index).

    Args:
        first: (batch, components) bool.
        second: (batch, components) bool.

    Returns:
        (batch,) float64 in [0, 1]; nan where both are empty.
    """
    either = (first | second).sum(1).double()
    return torch.where(either > 0, (first & second).sum(1) / either, torch.nan)
