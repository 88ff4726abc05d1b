"""HTSAT audio encoder (Chen et al. 2022): a Swin transformer (Liu et al. 2021) over a folded log-mel map.

The map is stretched to four times the image's width in frames, cut into four chunks in time, and the chunks are stacked
like lines of a page into a square image: row = chunk * n_mels + mel. Inside, everything follows the public code that
Microsoft's 2023 CLAP and LAION's share. What is different here: each stage hands out its map in true time order, as
every explainer expects it; attention maps are not kept; there is no branch that crops or augments.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.band_norm import normalise_bands

# Key patterns of the public code -> ours; the last stage's norm and the mergings have other places here.
HTSAT_KEYS = (
    (r"^encoder\.layers\.(\d+)\.downsample\.", r"encoder.merges.\1."),
    (r"^encoder\.norm\.", "encoder.layers.3.norm."),
)
APART = -100.0  # added to the attention between parts of a shifted window that do not touch in the image


@dataclass(frozen=True)
class HTSATConfig:
    """Shape of an encoder; the defaults are HTSAT-tiny, which both Microsoft's and LAION's unfused CLAP use.

    Attributes:
        n_mels: mel bands of the input.
        image_size: side of the folded image; a multiple of n_mels.
        patch: side of a patch, cells.
        width: channels of the first stage; every stage doubles them.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        window: side of an attention window, patches.
        mlp_ratio: inner width of the perceptrons relative to their input.
        qkv_bias: whether query, key and value have a bias.
        block_eps: of the layer norms inside the blocks.
    """

    n_mels: int = 64
    image_size: int = 256
    patch: int = 4
    width: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 8
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    block_eps: float = 1e-5

    @property
    def chunks(self) -> int:
        """Lines of the page: chunks of time that are stacked in the image."""
        return self.image_size // self.n_mels

    @property
    def max_frames(self) -> int:
        """Frames that the input is stretched to; it may not have more."""
        return self.image_size * self.chunks

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each stage."""
        return tuple(self.width * 2**stage for stage in range(len(self.depths)))

    def side(self, stage: int) -> int:
        """Rows and columns of a stage, in its own cells."""
        return self.image_size // self.patch // (1 << stage)


def unfold_time(tokens: Tensor, chunks: int) -> Tensor:
    """From lines of a page to true time order.

    Args:
        tokens: (batch, chunks * freq, time of a chunk, channels).
        chunks: lines.

    Returns:
        (batch, channels, time, freq).
    """
    # (batch, chunk, freq, time, channels)
    lines: Tensor = tokens.unflatten(1, (chunks, -1))
    return lines.permute(0, 4, 1, 3, 2).flatten(2, 3)


def fold_time(maps: Tensor, chunks: int) -> Tensor:
    """Undo `unfold_time`: (batch, channels, time, freq) -> (batch, chunks * freq, time of a chunk, channels)."""
    lines: Tensor = maps.unflatten(2, (chunks, -1))
    return lines.permute(0, 2, 4, 3, 1).flatten(1, 2)


def to_windows(tokens: Tensor, size: int) -> Tensor:
    """(batch, rows, columns, channels) -> (batch * windows, size * size, channels)."""
    batch, rows, columns, channels = tokens.shape
    grid = tokens.view(batch, rows // size, size, columns // size, size, channels)
    return grid.transpose(2, 3).reshape(-1, size * size, channels)


def from_windows(windows: Tensor, size: int, rows: int, columns: int) -> Tensor:
    """Undo `to_windows`: -> (batch, rows, columns, channels)."""
    grid = windows.view(-1, rows // size, columns // size, size, size, windows.shape[-1])
    return grid.transpose(2, 3).reshape(-1, rows, columns, windows.shape[-1])


def relative_positions(size: int) -> Tensor:
    """Row of the bias table for each pair of cells of a window: (size**2, size**2) int64."""
    cells = torch.cartesian_prod(torch.arange(size), torch.arange(size))
    apart = cells[:, None] - cells[None] + size - 1
    return apart[..., 0] * (2 * size - 1) + apart[..., 1]


def shift_mask(side: int, size: int, shift: int) -> Tensor:
    """What may attend to what once the image has been rolled by `shift`: (windows, size**2, size**2), 0 or `APART`."""
    region = torch.zeros(side)
    region[-size:-shift] = 1
    region[-shift:] = 2
    label = (3 * region[:, None] + region[None])[None, :, :, None]
    label = to_windows(label, size)[..., 0]
    return torch.where(label[:, :, None] == label[:, None], 0.0, APART)


class WindowAttention(nn.Module):
    """Self-attention inside windows, with a learned bias for relative positions."""

    positions: Tensor

    def __init__(self, channels: int, size: int, heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * size - 1) ** 2, heads))
        self.register_buffer("positions", relative_positions(size), persistent=False)
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, windows: Tensor, apart: Tensor | None) -> Tensor:
        """Windows (batch * windows, cells, channels), mask (windows, cells, cells) -> windows."""
        query, key, value = (
            self.qkv(windows).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        )
        bias = self.relative_position_bias_table[self.positions].permute(2, 0, 1).unsqueeze(0)
        if apart is not None:
            bias = (bias + apart.unsqueeze(1)).repeat(len(windows) // len(apart), 1, 1, 1)
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        projected: Tensor = self.proj(heard.transpose(1, 2).flatten(2))
        return projected


class MLP(nn.Module):
    """Two layers with a GELU between them."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, inner)
        self.fc2 = nn.Linear(inner, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., channels) -> (..., channels)."""
        widened: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return widened


class SwinBlock(nn.Module):
    """Attention inside windows, which every second block shifts by half a window, then a perceptron."""

    def __init__(self, config: HTSATConfig, stage: int, shifted: bool) -> None:
        super().__init__()
        channels, side = config.channels[stage], config.side(stage)
        self.size = min(config.window, side)
        # A window as large as the image has nothing to shift over.
        self.shift = config.window // 2 if shifted and side > config.window else 0
        self.norm1 = nn.LayerNorm(channels, eps=config.block_eps)
        self.attn = WindowAttention(channels, self.size, config.heads[stage], config.qkv_bias)
        self.norm2 = nn.LayerNorm(channels, eps=config.block_eps)
        self.mlp = MLP(channels, int(channels * config.mlp_ratio))
        apart = shift_mask(side, self.size, self.shift) if self.shift else None
        self.register_buffer("apart", apart, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, rows, columns, channels) -> the same shape."""
        _, rows, columns, _ = tokens.shape
        moved = self.norm1(tokens)
        if self.shift:
            moved = moved.roll((-self.shift, -self.shift), dims=(1, 2))
        moved = from_windows(self.attn(to_windows(moved, self.size), self.apart), self.size, rows, columns)
        if self.shift:
            moved = moved.roll((self.shift, self.shift), dims=(1, 2))
        tokens = tokens + moved
        mixed: Tensor = self.mlp(self.norm2(tokens))
        return tokens + mixed


class PatchMerging(nn.Module):
    """Joins squares of four cells into one with twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, rows, columns, channels) -> (batch, rows // 2, columns // 2, 2 * channels)."""
        parts = [tokens[:, row::2, column::2] for column in range(2) for row in range(2)]
        merged: Tensor = self.reduction(self.norm(torch.cat(parts, dim=-1)))
        return merged


class Stage(nn.Module):
    """Blocks at one resolution; hands out its map in true time order, where GradCAM can hook it."""

    def __init__(self, config: HTSATConfig, stage: int) -> None:
        super().__init__()
        self.chunks = config.chunks
        self.blocks = nn.ModuleList(
            SwinBlock(config, stage, shifted=index % 2 == 1) for index in range(config.depths[stage])
        )
        last = stage == len(config.depths) - 1
        self.norm = nn.LayerNorm(config.channels[stage]) if last else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, rows, columns, channels) -> (batch, channels, time, freq), float32 also under autocast."""
        for block in self.blocks:
            tokens = block(tokens)
        return unfold_time(self.norm(tokens), self.chunks).float()


class PatchEmbed(nn.Module):
    """Squares of the image -> tokens."""

    def __init__(self, patch: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, channels, patch, stride=patch)
        self.norm = nn.LayerNorm(channels)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 1, side, side) -> (batch, rows, columns, channels)."""
        embedded: Tensor = self.norm(self.proj(image).permute(0, 2, 3, 1))
        return embedded


class HTSAT(nn.Module):
    """See the module's docstring.

    Attributes:
        hidden_channels: of the four hidden maps, shallow to deep.
    """

    def __init__(self, config: HTSATConfig | None = None) -> None:
        """Build with fresh weights.

        Args:
            config: shape; None is HTSAT-tiny.
        """
        super().__init__()
        self.config = config or HTSATConfig()
        self.hidden_channels = self.config.channels
        self.bn0 = nn.BatchNorm2d(self.config.n_mels)
        self.patch_embed = PatchEmbed(self.config.patch, self.config.width)
        stages = range(len(self.config.depths))
        self.layers = nn.ModuleList(Stage(self.config, stage) for stage in stages)
        self.merges = nn.ModuleList(PatchMerging(self.config.channels[stage]) for stage in stages[:-1])

    @property
    def cam_layers(self) -> dict[str, nn.Module]:
        """The stages, whose outputs are the hidden maps; (batch, channels, time, freq)."""
        return {f"stage{index}": layer for index, layer in enumerate(self.layers, start=1)}

    def to_image(self, maps: Tensor) -> Tensor:
        """Stretch and fold.

        Args:
            maps: (batch, n_mels, frames).

        Returns:
            (batch, 1, image_size, image_size).

        Raises:
            ValueError: more frames than the image holds.
        """
        frames, longest = maps.shape[2], self.config.max_frames
        if frames > longest:
            raise ValueError(f"{frames} frames do not fit into the encoder's {longest}")
        maps = maps.unsqueeze(1)
        if frames < longest:
            size = (self.config.n_mels, longest)
            maps = F.interpolate(maps, size, mode="bicubic", align_corners=True)
        # (batch, 1, mel, chunk, time)
        lines: Tensor = maps.unflatten(3, (self.config.chunks, -1))
        return lines.transpose(2, 3).flatten(2, 3)

    def forward(self, log_mel: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encode a log-mel map.

        Args:
            log_mel: (batch, n_mels, frames), dB; at most `config.max_frames` frames.

        Returns:
            features: (batch, channels of the last stage).
            hidden: outputs of the stages, shallow to deep, each (batch, channels, time, freq) in true time order; the
                cells of each share the whole time axis equally. The last one is normalised, and `features` is its mean.
        """
        tokens = self.patch_embed(self.to_image(normalise_bands(self.bn0, log_mel)))
        hidden = [self.layers[0](tokens)]
        for merge, layer in zip(self.merges, self.layers[1:], strict=True):
            hidden.append(layer(merge(fold_time(hidden[-1], self.config.chunks))))
        return hidden[-1].mean(dim=(2, 3)), tuple(hidden)
