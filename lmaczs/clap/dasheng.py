"""Dasheng (Dinkel et al. 2024), the audio encoder of GLAP: a transformer over strips of four mel frames, 40 ms each.

Names of modules follow the reference (package dasheng), so that its weights load by name.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.band_norm import normalise_bands
from lmaczs.clap.htsat import MLP

# Below the loudest cell of a window: what is quieter is raised to there.
TOP_DB = 120.0
MAPS = 4


@dataclass(frozen=True)
class DashengConfig:
    """Shape of the encoder; the defaults are those of Dasheng base.

    Attributes:
        n_mels: bands; a patch holds all of them.
        width: channels.
        depth: blocks; at least `MAPS`.
        heads: of the attention.
        inner: width within a block's second half.
        patch: frames of one patch.
        positions: patches at most.
    """

    n_mels: int = 64
    width: int = 768
    depth: int = 12
    heads: int = 12
    inner: int = 3072
    patch: int = 4
    positions: int = 252


class Attention(nn.Module):
    """Self-attention of several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, time, channels), the same shape."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(query, key, value)
        mixed: Tensor = self.proj(found.transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """A block that normalises first."""

    def __init__(self, config: DashengConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.attn = Attention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.mlp = MLP(config.width, config.inner)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, time, channels), the same shape."""
        tokens = tokens + self.attn(self.norm1(tokens))
        found: Tensor = tokens + self.mlp(self.norm2(tokens))
        return found


class PatchEmbed(nn.Module):
    """Strips of the spectrogram -> tokens."""

    def __init__(self, config: DashengConfig) -> None:
        super().__init__()
        shape = (config.n_mels, config.patch)
        self.proj = nn.Conv2d(1, config.width, shape, stride=shape)

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, n_mels, frames) -> (batch, width, 1, frames // patch)."""
        found: Tensor = self.proj(maps.unsqueeze(1))
        return found


class Dasheng(nn.Module):
    """See the module's docstring.

    Attributes:
        hidden_channels: of the four hidden maps, shallow to deep.
    """

    def __init__(self, config: DashengConfig | None = None) -> None:
        """Build with fresh weights.

        Args:
            config: shape; None is Dasheng base.
        """
        super().__init__()
        config = self.config = config or DashengConfig()
        self.hidden_channels = (config.width,) * MAPS
        self.bn0 = nn.BatchNorm2d(config.n_mels, momentum=0.01)
        self.patch_embed = PatchEmbed(config)
        self.time_pos_embed = nn.Parameter(0.02 * torch.randn(1, config.width, 1, config.positions))
        self.freq_pos_embed = nn.Parameter(0.02 * torch.randn(1, config.width, 1, 1))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        # After so many blocks the tokens are a hidden map; each map passes a module of its own, where it can be met.
        self.after = [round((place + 1) * config.depth / MAPS) for place in range(MAPS)]
        self.maps = nn.ModuleList(nn.Identity() for _ in range(MAPS))

    @property
    def cam_layers(self) -> dict[str, nn.Module]:
        """Where the hidden maps pass, (batch, channels, time, 1)."""
        return {f"block{number}": layer for number, layer in zip(self.after, self.maps, strict=True)}

    def forward(self, log_mel: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encode a log-mel map.

        Args:
            log_mel: (batch, n_mels, frames), dB; at most `positions` patches.

        Returns:
            features: (batch, width), the mean over time of the last block, normalised.
            hidden: four maps, shallow to deep, each (batch, width, time, 1).

        Raises:
            ValueError: more frames than the encoder has positions for.
        """
        frames, longest = log_mel.shape[2], self.config.patch * (self.config.positions + 1) - 1
        if frames > longest:
            raise ValueError(f"{frames} frames do not fit into the encoder's {longest}")
        floor = log_mel.amax(dim=(1, 2), keepdim=True) - TOP_DB
        patches = self.patch_embed(normalise_bands(self.bn0, torch.maximum(log_mel, floor)))
        patches = patches + self.time_pos_embed[..., : patches.shape[3]] + self.freq_pos_embed
        tokens = patches.flatten(2).transpose(1, 2)
        hidden: list[Tensor] = []
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens)
            if number in self.after:
                hidden.append(self.maps[len(hidden)](tokens.transpose(1, 2).unsqueeze(3)))
                tokens = hidden[-1].squeeze(3).transpose(1, 2)
        return self.norm(tokens).mean(1), tuple(level.float() for level in hidden)
