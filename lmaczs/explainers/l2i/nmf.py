"""Sparse NMF: a dictionary W of spectral patterns, X ~ W H (Parekh et al. 2022, eq. 5; updates of Le Roux et al. 2015).

Minimises 1/2 |X - W H|^2 + mu * sum H with columns of W on the unit sphere. The updates take the normalisation into
account, so that none of them raises the objective: rescaling W afterwards and not H, as is often done, does.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

TINY = 1e-12


@dataclass
class SparseNMF:
    """State of a fit: X ~ W H.

    Attributes:
        dictionary: W, (bins, components) >= 0, columns of unit norm.
        activations: H, (components, columns) >= 0.
        sparsity: mu, price of a unit of activation.
    """

    dictionary: Tensor
    activations: Tensor
    sparsity: float

    @classmethod
    def start(cls, spectra: Tensor, components: int, sparsity: float, seed: int = 0) -> "SparseNMF":
        """Random beginning.

        Args:
            spectra: X, (bins, columns) >= 0.
            components: K.
            sparsity: mu >= 0.
            seed: of the random numbers.
        """
        generator = torch.Generator().manual_seed(seed)
        picked = torch.randint(spectra.shape[1], (components,), generator=generator)
        noise = torch.rand((spectra.shape[0], components), generator=generator).to(spectra)
        start = spectra[:, picked.to(spectra.device)] + spectra.mean() * (0.1 + noise)
        activations = torch.rand((components, spectra.shape[1]), generator=generator).to(spectra)
        scale = spectra.sum() / (activations.sum() * start.norm(dim=0).mean()).clamp_min(TINY)
        return cls(start / start.norm(dim=0), activations * scale / spectra.shape[0] ** 0.5, sparsity)

    def objective(self, spectra: Tensor, chunk: int = 65536) -> float:
        """1/2 |X - W H|^2 + mu * sum H, in double precision."""
        total = 0.0
        for part, active in zip(
            torch.split(spectra, chunk, 1), torch.split(self.activations, chunk, 1), strict=True
        ):
            error = (part - self.dictionary @ active).square().sum(dtype=torch.float64)
            total += float(error) / 2 + self.sparsity * float(active.sum(dtype=torch.float64))
        return total

    def step(self, spectra: Tensor, chunk: int = 65536) -> None:
        """One round of updates, of H and then of W; neither raises the objective.

        Args:
            spectra: X, (bins, columns) >= 0.
            chunk: columns that are worked on at a time.
        """
        gram = self.dictionary.T @ self.dictionary
        for part, active in zip(
            torch.split(spectra, chunk, 1), torch.split(self.activations, chunk, 1), strict=True
        ):
            down = (gram @ active).add_(self.sparsity + TINY)
            active.mul_(self.dictionary.T @ part).div_(down)
        self._step_dictionary(spectra)

    def _step_dictionary(self, spectra: Tensor) -> None:
        """Multiplicative update of W along the sphere; halved until the objective does not rise.

        The gradient of the objective at W / |W| has a positive and a negative part; their quotient, to a power of 1 or
        less, is the update. In practice the power 1 almost always holds.
        """
        cross = spectra @ self.activations.T  # X H'
        square = self.activations @ self.activations.T  # H H'
        old = self.dictionary
        model = old @ square
        up = cross + old * (old * model).sum(0)
        down = model + old * (old * cross).sum(0)
        ratio = up / down.clamp_min(TINY)
        before = _fit_error(old, cross, square)
        for power in (1.0, 0.5, 0.25, 0.125):
            fresh = old * ratio**power
            fresh = fresh / fresh.norm(dim=0).clamp_min(TINY)
            if _fit_error(fresh, cross, square) <= before:
                self.dictionary = fresh
                return

    def fit(self, spectra: Tensor, steps: int, tolerance: float = 1e-5) -> Iterator[float]:
        """Run until nothing changes.

        Args:
            spectra: X, (bins, columns) >= 0.
            steps: rounds at most.
            tolerance: stop when a round lowers the objective by less than this share of it.

        Yields:
            The objective after each round.
        """
        last = float("inf")
        for _ in range(steps):
            self.step(spectra)
            now = self.objective(spectra)
            yield now
            if last - now < tolerance * now:
                return
            last = now


def _fit_error(dictionary: Tensor, cross: Tensor, square: Tensor) -> float:
    """|X - W H|^2 less |X|^2, from products with H alone; (bins, K), X H' and H H'."""
    fit = (dictionary.double() * cross.double()).sum()
    return float(((dictionary.T.double() @ dictionary.double()) * square.double()).sum() - 2 * fit)


def activate(dictionary: Tensor, spectra: Tensor, sparsity: float, steps: int = 50) -> Tensor:
    """Activations of a fixed dictionary.

    Args:
        dictionary: W, (bins, components) >= 0, columns of unit norm.
        spectra: X, (bins, columns) >= 0.
        sparsity: mu >= 0.
        steps: rounds of the update.

    Returns:
        H, (components, columns) >= 0.
    """
    gram, cross = dictionary.T @ dictionary, dictionary.T @ spectra
    active = cross.clone()
    for _ in range(steps):
        active = active * cross / (gram @ active + sparsity + TINY)
    return active
