"""CNN14 audio encoder (Kong et al. 2020, PANNs) with free block widths, and CLAP's projection head.

Widths (64, 128, 256, 512, 1024, 2048) give the encoder of Microsoft's 2022 CLAP; narrow ones give the compact CLAP.
Differences from the public code: activations are not computed in place, so hidden maps stay intact under hooks.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.band_norm import normalise_bands


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and ReLU, then average pooling."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, maps: Tensor, pool: int) -> Tensor:
        """(batch, in, time, freq) -> (batch, out, time // pool, freq // pool)."""
        maps = F.relu(self.bn1(self.conv1(maps)))
        maps = F.relu(self.bn2(self.conv2(maps)))
        maps = F.avg_pool2d(maps, pool) if pool > 1 else maps
        # Under autocast: explanations and decoders work on full-precision maps.
        return maps.to(torch.promote_types(maps.dtype, torch.float32))


class CNN14(nn.Module):
    """Convolution blocks over a log-mel map, pooled to one vector.

    Args:
        widths: channels of each block; all blocks but the last halve time and frequency.
        n_mels: mel bands of the input.
        dropout: probability in training, after every block (0.2 in PANNs) and before `fc1` (0.5 there).
        embed_width: output features of `fc1`.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256, 512, 1024, 2048),
        n_mels: int = 64,
        dropout: tuple[float, float] = (0.2, 0.5),
        embed_width: int = 2048,
    ) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(n_mels)
        self.dropout = dropout
        self.num_blocks = len(widths)
        self.hidden_channels = tuple(widths[-4:])
        # Measured on CPUs: slim blocks run a seventh faster with channels last, wide ones a quarter slower.
        self.memory_format = torch.channels_last if max(widths) <= 512 else torch.contiguous_format
        for index, (wide_in, wide_out) in enumerate(zip((1, *widths[:-1]), widths, strict=True), start=1):
            # Numbered attributes instead of a ModuleList: the key names of the public checkpoints.
            setattr(self, f"conv_block{index}", ConvBlock(wide_in, wide_out))
        self.fc1 = nn.Linear(widths[-1], embed_width)

    def block(self, index: int) -> ConvBlock:
        """Convolution block `index`, counted from 1 as in the paper."""
        found: ConvBlock = getattr(self, f"conv_block{index}")
        return found

    @property
    def cam_layers(self) -> dict[str, nn.Module]:
        """The four deepest blocks, whose outputs are the hidden maps; (batch, channels, time, freq)."""
        return {f"block{i}": self.block(i) for i in range(self.num_blocks - 3, self.num_blocks + 1)}

    def forward(self, log_mel: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encode a log-mel map.

        Args:
            log_mel: (batch, n_mels, frames), dB.

        Returns:
            features: (batch, embed_width) >= 0.
            hidden: outputs of the four deepest blocks, shallow to deep, each (batch, channels, time, freq).
        """
        maps = normalise_bands(self.bn0, log_mel)
        maps = maps.transpose(1, 2).unsqueeze(1)  # (batch, 1, time, mel)
        maps = maps.contiguous(memory_format=self.memory_format)
        hidden = []
        for index in range(1, self.num_blocks + 1):
            maps = self.block(index)(maps, pool=1 if index == self.num_blocks else 2)
            hidden.append(maps)
            maps = F.dropout(maps, self.dropout[0], self.training)
        pooled = maps.mean(dim=3)
        pooled = pooled.amax(dim=2) + pooled.mean(dim=2)
        pooled = F.dropout(pooled, self.dropout[1], self.training)
        return F.relu(self.fc1(pooled)), tuple(hidden[-4:])


class Projection(nn.Module):
    """CLAP's projection into the joint space: LayerNorm(W1 x + W2 gelu(W1 x)) (Elizalde et al. 2023)."""

    def __init__(self, in_features: int, embed_dim: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.linear1 = nn.Linear(in_features, embed_dim, bias=False)
        self.linear2 = nn.Linear(embed_dim, embed_dim, bias=False)
        self.layer_norm = nn.LayerNorm(embed_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, in_features) -> (batch, embed_dim), not yet of unit norm."""
        first = self.linear1(features)
        projected: Tensor = self.layer_norm(first + self.dropout(self.linear2(F.gelu(first))))
        return projected
