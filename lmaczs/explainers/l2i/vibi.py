"""VIBI (Bang et al. 2021), a baseline of fidelity: which chunks of the spectrogram suffice to tell the decision.

The classifier is a black box to it. An explainer chooses k chunks of the log-mel spectrogram, an approximator sees only
those and tells the decision; both are trained together through a relaxed choice. The authors' code draws the relaxed
choice by `sample`, which lets no gradient through, so that their explainer learns from the prior alone; here it is
`rsample`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import RelaxedOneHotCategorical

FLOOR_DB = 60.0  # below the mean of the window; what is not chosen looks like this
TEMPERATURE = 0.7
PRIOR_WEIGHT = 0.1  # beta, of the distance from the uniform choice


@dataclass(frozen=True)
class VibiConfig:
    """Shape of the two networks.

    Attributes:
        n_mels: mel bands of the input.
        frames: of the input.
        classes: of the classifier.
        rows: chunks along frequency.
        columns: chunks along time.
        chosen: chunks that the approximator sees, k.
        widths: channels of the approximator's blocks; the explainer has half.
    """

    n_mels: int
    frames: int
    classes: int
    rows: int = 8
    columns: int = 10
    chosen: int = 16
    widths: tuple[int, ...] = (32, 64, 128, 256)

    def __post_init__(self) -> None:
        """Refuse what no network can have.

        Raises:
            ValueError: a value is out of range.
        """
        sizes = (self.n_mels, self.frames, self.classes, self.rows, self.columns, *self.widths)
        if not self.widths or not all(1 <= size <= 65_536 for size in sizes):
            raise ValueError("a size is outside 1 to 65536")
        if not 1 <= self.chosen <= self.rows * self.columns:
            raise ValueError(f"{self.chosen} chunks cannot be chosen out of {self.rows * self.columns}")


class Vibi(nn.Module):
    """Explainer and approximator."""

    def __init__(self, config: VibiConfig) -> None:
        """Build with fresh weights."""
        super().__init__()
        self.config = config
        halves = tuple(width // 2 for width in config.widths)
        # As many rows as chunks.
        self.explainer = _blocks(halves, last_stride=1)
        self.chunk = nn.Conv2d(halves[-1], 1, 1)
        self.approximator = _blocks(config.widths, last_stride=2)
        self.linear = nn.Linear(config.widths[-1], config.classes)

    def choice(self, levels: Tensor) -> Tensor:
        """How likely each chunk is chosen: levels (batch, n_mels, frames) -> logs (batch, chunks)."""
        maps = F.adaptive_avg_pool2d(
            self.explainer(levels.unsqueeze(1)), (self.config.rows, self.config.columns)
        )
        return torch.log_softmax(self.chunk(maps).flatten(1), dim=1)

    def forward(self, levels: Tensor, chosen: Tensor) -> Tensor:
        """Tell the decision from chunks.

        Args:
            levels: (batch, n_mels, frames) from `levels_of`.
            chosen: (batch, chunks) in [0, 1].

        Returns:
            (batch, classes) logits.
        """
        chunks = chosen.view(-1, 1, self.config.rows, self.config.columns)
        mask = F.interpolate(chunks, levels.shape[1:], mode="nearest")
        logits: Tensor = self.linear(self.approximator(levels.unsqueeze(1) * mask).amax(dim=(2, 3)))
        return logits

    def decide(self, levels: Tensor) -> Tensor:
        """What it tells once trained, from the k likeliest chunks: (batch, n_mels, frames) -> (batch, classes) logits."""
        return self.forward(levels, top_chunks(self.choice(levels), self.config.chosen))


def levels_of(mel_power: Tensor) -> Tensor:
    """Input of both networks: 0 at FLOOR_DB below the window's mean power and less, 1 at 20 dB more, and so on.

    Args:
        mel_power: (batch, n_mels, frames) >= 0.

    Returns:
        (batch, n_mels, frames) >= 0.
    """
    level = mel_power.mean(dim=(1, 2), keepdim=True).clamp_min(1e-10)
    return 0.5 * torch.log10(mel_power / level + 10 ** (-FLOOR_DB / 10)) + FLOOR_DB / 20


def relaxed_choice(log_choice: Tensor, chosen: int) -> Tensor:
    """k soft draws, and of each chunk its largest share in any of them (Bang et al. 2021, eq. 8); carries gradients.

    Args:
        log_choice: (batch, chunks), logs of the probabilities.
        chosen: k.

    Returns:
        (batch, chunks) in [0, 1].
    """
    draws = RelaxedOneHotCategorical(torch.tensor(TEMPERATURE), logits=log_choice).rsample((chosen,))
    return draws.amax(0)


def top_chunks(log_choice: Tensor, chosen: int) -> Tensor:
    """The k likeliest chunks: (batch, chunks) of zeros and ones."""
    return torch.zeros_like(log_choice).scatter(1, log_choice.topk(chosen, dim=1).indices, 1.0)


def prior_loss(log_choice: Tensor, chosen: int) -> Tensor:
    """beta k KL(choice || uniform), (): keeps the explainer from settling early."""
    chunks = log_choice.shape[1]
    distance = (log_choice.exp() * log_choice).sum(1) + torch.tensor(float(chunks)).log()
    return PRIOR_WEIGHT * chosen * distance.mean()


def _blocks(widths: tuple[int, ...], last_stride: int) -> nn.Sequential:
    """Convolutions that halve both axes: (batch, 1, mel, time) -> (batch, widths[-1], ...)."""
    layers: list[nn.Module] = []
    for place, (wide_in, wide_out) in enumerate(zip((1, *widths[:-1]), widths, strict=True), start=1):
        stride = last_stride if place == len(widths) else 2
        layers += [nn.Conv2d(wide_in, wide_out, 3, stride, padding=1), nn.BatchNorm2d(wide_out), nn.ReLU()]
    return nn.Sequential(*layers)
