"""A small vision transformer over patches of a log-mel map, in the family that the universal decoder learns from."""

import torch
from torch import Tensor, nn

PATCH, WIDTH, DEPTH, HEADS = 16, 96, 6, 4


class Block(nn.Module):
    """A pre-norm transformer layer whose input and output are maps, so that hooks find one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 3 * WIDTH, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, WIDTH, time, freq) -> the same shape."""
        tokens: Tensor = self.layer(maps.flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).reshape(maps.shape)


class SmallViT(nn.Module):
    """Patches of 16 frames and 16 bands -> transformer -> mean.

    Attributes:
        hidden_channels: of the four maps, shallow to deep; all have one grid.
    """

    hidden_channels = (WIDTH,) * 4

    def __init__(self, n_mels: int, frames: int) -> None:
        """Build with fresh weights for maps of one size."""
        super().__init__()
        self.norm = nn.BatchNorm1d(n_mels)
        self.patches = nn.Conv2d(1, WIDTH, PATCH, stride=PATCH)
        self.place = nn.Parameter(0.02 * torch.randn(1, WIDTH, frames // PATCH, n_mels // PATCH))
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.last = nn.LayerNorm(WIDTH)

    @property
    def cam_layers(self) -> dict[str, nn.Module]:
        """The four deepest blocks; the last one's map is too late for its own attention, as in every ViT."""
        return {f"block{number}": block for number, block in list(enumerate(self.blocks, start=1))[-4:]}

    def forward(self, log_mel: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encode (batch, n_mels, frames) -> features (batch, WIDTH); four maps (batch, WIDTH, time, freq)."""
        maps = self.patches(self.norm(log_mel).transpose(1, 2).unsqueeze(1)) + self.place
        hidden = []
        for block in self.blocks:
            maps = block(maps)
            hidden.append(maps)
        return self.last(maps.mean(dim=(2, 3))), tuple(hidden[-4:])
