"""FLINT's post-hoc interpreter (Parekh et al. 2021), a baseline of fidelity: attributes of hidden maps, then linear.

Its attributes are no sounds: they are one number each for a whole window, without a spectrum that could be played. As in
the comparison of Parekh et al. 2022 it shares the front of Psi with L2I, so that both see the same of the classifier.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.explainers.l2i.networks import Entrance, InterpreterConfig

POOLED_STEPS = 3  # of time, as many as the released network keeps
# Weights of the losses: of reconstruction, of the entropies and of the attributes' size.
RECONSTRUCTION, ENTROPY, SPARSITY = 5.0, 0.2, 0.15


class Flint(nn.Module):
    """Hidden maps -> attributes -> logits, and a decoder that makes the attributes tell what the sound was."""

    def __init__(self, config: InterpreterConfig) -> None:
        """Build with fresh weights.

        Args:
            config: as of L2I's interpreter for a closed set; there are as many attributes as components.
        """
        super().__init__()
        assert config.classes is not None
        self.config = config
        width = config.width
        self.entrances = nn.ModuleList(
            Entrance(channels, max(width // 4, 8), config.bands, width) for channels in config.hidden_channels
        )
        self.dropout = nn.Dropout1d(config.dropout)
        self.mix = nn.Conv1d(width, width, 5, padding=2)
        self.attribute = nn.Linear(width * POOLED_STEPS, config.components)
        self.linear = nn.Linear(config.components, config.classes, bias=False)
        self.seeds = nn.Linear(config.components, 16 * -(-config.frames // 4))
        self.decoder = nn.ModuleList(
            nn.Conv1d(wide_in, wide_out, 5, padding=2)
            for wide_in, wide_out in ((16, 32), (32, 64), (64, 128))
        )
        self.spectrum = nn.Conv1d(128, config.bins, 3, padding=1)

    def forward(self, hidden: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Four maps, each (batch, channels, time, freq) -> attributes (batch, J) >= 0, logits (batch, classes)."""
        steps = max(maps.shape[2] for maps in hidden)
        rows = torch.stack([enter(maps, steps) for enter, maps in zip(self.entrances, hidden, strict=True)])
        rows = F.relu(self.mix(self.dropout(F.relu(rows.sum(0)))))
        attributes = F.relu(self.attribute(F.adaptive_avg_pool1d(rows, POOLED_STEPS).flatten(1)))
        return attributes, self.linear(attributes)

    def decode(self, attributes: Tensor) -> Tensor:
        """(batch, J) -> the log-magnitude that they stand for, (batch, bins, frames) >= 0."""
        rows = self.seeds(attributes).unflatten(1, (16, -1))
        for level, layer in enumerate(self.decoder):
            rows = F.interpolate(F.relu(layer(rows)), scale_factor=2 if level < 2 else 1)
        return F.relu(
            self.spectrum(F.interpolate(rows, self.config.frames, mode="linear", align_corners=False))
        )


def flint_losses(attributes: Tensor, decoded: Tensor, log_mag: Tensor) -> dict[str, Tensor]:
    """All of FLINT's losses but fidelity, weighted.

    Args:
        attributes: (batch, J) >= 0.
        decoded: (batch, bins, frames), from `Flint.decode`.
        log_mag: (batch, bins, frames), the sound.

    Returns:
        () each: reconstruction; size; entropy, of each window's attributes (few should be active) less that of their
        mean over the batch (different ones for different sounds).
    """
    own = torch.softmax(attributes, dim=1)
    mean = torch.softmax(attributes.mean(0), dim=0)
    conciseness = -torch.special.entr(mean).sum() + torch.special.entr(own).sum(1).mean()
    return {
        "loss/reconstruction": RECONSTRUCTION * F.mse_loss(decoded, log_mag),
        "loss/size": SPARSITY * attributes.abs().mean(),
        "loss/entropy": ENTROPY * conciseness,
    }
