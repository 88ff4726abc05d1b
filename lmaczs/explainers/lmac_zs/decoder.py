"""The LMAC-ZS decoder: from the encoder's four deepest maps, a prompt and the spectrogram itself to a map of cells.

Paissan et al. 2024, section 2.3 and Figure 2 give the outline: transposed convolutions over the encoder's maps, the
prompt by cross-attention. They leave sizes open; this decoder fits maps of any size, so one class serves every backend.
Two additions: the last stages see the spectrogram at full resolution (the deep maps alone cannot tell neighbouring
bins apart), and a small head says how much of the sound speaks for the prompt (`DecoderOutput.values`).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.explainers.areas import AREAS
from lmaczs.explainers.details import DETAILS


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of a decoder; stored as config.json of its release.

    Attributes:
        hidden_channels: of the encoder's four maps, shallow to deep.
        text_dim: width of the joint space.
        n_mels: mel bands of the encoder's input.
        mask_bins: rows of the mask; n_fft // 2 + 1 for "stft", n_mels for "mel".
        domain: "stft" or "mel".
        channels: of the four upsampling stages and of the full-resolution stage, deep to fine.
        num_text_tokens: tokens that the prompt's vector is spread over; with one, attention is a constant.
        num_heads: of the cross-attention.
        prompt: how it enters: "values" (tokens are added to the maps) or "scores" (see `ScoreDecoder`).
    """

    hidden_channels: tuple[int, ...]
    text_dim: int
    n_mels: int = 64
    mask_bins: int = 513
    domain: str = "stft"
    channels: tuple[int, ...] = (128, 64, 48, 32, 16)
    num_text_tokens: int = 8
    num_heads: int = 4
    prompt: str = "values"

    def __post_init__(self) -> None:
        """Refuse what no decoder can have.

        Raises:
            ValueError: a value is out of range.
        """
        if self.domain not in ("stft", "mel"):
            raise ValueError(f"the domain '{self.domain}' is neither stft nor mel")
        if self.prompt not in ("values", "scores"):
            raise ValueError(f"the prompt enters as values or scores, not as '{self.prompt}'")
        if len(self.hidden_channels) != 4 or len(self.channels) != 5:
            raise ValueError("a decoder needs the channels of four maps and of five stages")
        sizes = (*self.hidden_channels, *self.channels, self.n_mels, self.mask_bins, self.text_dim)
        if not all(1 <= size <= 65_536 for size in (*sizes, self.num_text_tokens, self.num_heads)):
            raise ValueError("a size is outside 1 to 65536")
        if self.channels[0] % self.num_heads or self.channels[1] % self.num_heads:
            raise ValueError(f"{self.num_heads} heads do not divide its channels")


class TextBlock(nn.Module):
    """Lets every position attend to the prompt's tokens, then scales and shifts the channels by the prompt."""

    def __init__(self, channels: int, text_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, channels)
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(text_dim, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels)
        self.film = nn.Linear(text_dim, 2 * channels)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, maps: Tensor, tokens: Tensor) -> Tensor:
        """Maps (pairs, channels, time, freq) and tokens (pairs, tokens, text_dim) -> maps."""
        # (pairs, positions, channels)
        states = self.norm(maps).flatten(2).transpose(1, 2)

        def split(states: Tensor) -> Tensor:
            return torch.unflatten(states, -1, (self.heads, -1)).transpose(1, 2)

        key, value = self.key_value(tokens).chunk(2, dim=-1)
        heard = F.scaled_dot_product_attention(split(self.query(states)), split(key), split(value))
        heard = self.out(heard.transpose(1, 2).flatten(2))
        maps = maps + heard.transpose(1, 2).reshape(maps.shape)
        return _film(maps, self.film(tokens.mean(1)))


class Stage(nn.Module):
    """Doubles both axes with a transposed convolution, meets the next map and mixes."""

    def __init__(self, wide_in: int, skip: int, wide_out: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(wide_in, wide_out, 4, stride=2, padding=1)
        self.skip = nn.Conv2d(skip, wide_out, 1)
        self.mix = nn.Conv2d(wide_out, wide_out, 3, padding=1)
        self.norm = nn.GroupNorm(8, wide_out)

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        """(pairs, in, time, freq) and (pairs, skip, time', freq') -> (pairs, out, time', freq')."""
        maps = self.up(maps)
        if maps.shape[-2:] != skip.shape[-2:]:
            maps = F.interpolate(maps, skip.shape[-2:], mode="bilinear", align_corners=False)
        return F.silu(self.norm(self.mix(F.silu(maps + self.skip(skip)))))


@dataclass(frozen=True)
class DecoderOutput:
    """What a decoder says of pairs of windows and prompts.

    Attributes:
        logits: (pairs, mask_bins, frames); a higher cell speaks more for the prompt.
        values: (pairs, len(AREAS)); the expected worth of keeping that share of the cells.
    """

    logits: Tensor
    values: Tensor


class LMACZSDecoder(nn.Module):
    """See the module's docstring."""

    def __init__(self, config: DecoderConfig, mel_to_bins: Tensor | None = None) -> None:
        """Build with fresh weights.

        Args:
            config: shape.
            mel_to_bins: (mask_bins, n_mels) rows that sum to 1, spreading mel bands over STFT bins; None for "mel".
        """
        super().__init__()
        self.config = config
        deep, third, second, first, fine = config.channels
        shallow, *_, next_deep, deepest = config.hidden_channels
        middle = config.hidden_channels[1]
        self.tokens = nn.Linear(config.text_dim, config.num_text_tokens * config.text_dim)
        self.enter = nn.Conv2d(deepest, deep, 1)
        self.enter_next = nn.Conv2d(next_deep, deep, 1)
        self.text = nn.ModuleList(
            TextBlock(width, config.text_dim, config.num_heads) for width in (deep, third)
        )
        self.stage_third = Stage(deep, middle, third)
        self.stage_second = Stage(third, shallow, second)
        self.stage_first = Stage(second, 1, first)
        self.stage_fine = Stage(first, 1, fine)
        self.film = nn.ModuleList(nn.Linear(config.text_dim, 2 * width) for width in (second, first, fine))
        if mel_to_bins is not None:
            self.register_buffer("mel_to_bins", mel_to_bins)
        self.last = nn.Conv2d(fine, 1 + DETAILS, 1)
        nn.init.zeros_(self.last.weight)
        loud_first = torch.tensor([0.0, 0.5, *[0.0] * (DETAILS - 1)])  # until the decoder knows better
        self.last.bias = nn.Parameter(loud_first)
        self.worth = nn.Sequential(
            nn.Linear(deep + config.text_dim + 1, 128), nn.SiLU(), nn.Linear(128, len(AREAS))
        )

    def listen(
        self, hidden: tuple[Tensor, ...], text: Tensor, similarity: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The coarse half: bring prompt and deepest maps together.

        Args:
            hidden: four maps, shallow to deep, each (pairs, channels, time, freq).
            text: (pairs, text_dim), unit norm.
            similarity: (pairs,) cosine of the window with its prompt.

        Returns:
            maps (pairs, channels, time, freq); tokens (pairs, num_text_tokens, text_dim);
            values (pairs, len(AREAS)), the expected worth of keeping that share of the cells.
        """
        tokens = self.tokens(text).unflatten(1, (self.config.num_text_tokens, -1))
        maps = self.enter(hidden[3])
        if hidden[2].shape[-2:] != maps.shape[-2:]:
            maps = F.interpolate(maps, hidden[2].shape[-2:], mode="bilinear", align_corners=False)
        maps = F.silu(maps + self.enter_next(hidden[2]))
        maps = self.text[0](maps, tokens)
        summary = torch.cat([maps.mean(dim=(2, 3)), text, similarity.unsqueeze(1)], dim=1)
        return maps, tokens, self.worth(summary).float()

    def forward(
        self, hidden: tuple[Tensor, ...], text: Tensor, similarity: Tensor, log_mel: Tensor, cells: Tensor
    ) -> DecoderOutput:
        """Judge every cell for one prompt per window.

        Args:
            hidden: four maps, shallow to deep, each (pairs, channels, time, freq).
            text: (pairs, text_dim), unit norm.
            similarity: (pairs,) cosine of the window with its prompt.
            log_mel: (pairs, n_mels, frames), standardised.
            cells: (pairs, DETAILS, mask_bins, frames) from `details`, on the grid of the mask.
        """
        maps, tokens, values = self.listen(hidden, text, similarity)
        mel = log_mel.transpose(1, 2).unsqueeze(1)  # (pairs, 1, time, mel)
        maps = self.text[1](self.stage_third(maps, hidden[1]), tokens)
        maps = _film(self.stage_second(maps, hidden[0]), self.film[0](text))
        maps = _film(self.stage_first(maps, F.avg_pool2d(mel, 2)), self.film[1](text))
        maps = _film(self.stage_fine(maps, mel), self.film[2](text))
        parts = self.last(maps).float().transpose(2, 3)  # (pairs, 1 + DETAILS, mel, time)
        if self.config.domain == "stft":
            parts = self.mel_to_bins @ parts
        # Smooth maps say how much loudness and its local contrast count where; the cells bring the fine structure.
        logits = parts[:, 0] + (parts[:, 1:] * cells).sum(1)
        return DecoderOutput(logits, values)


def _film(maps: Tensor, parameters: Tensor) -> Tensor:
    """FiLM: scale and shift each channel of (pairs, channels, ...) by parameters (pairs, 2 * channels)."""
    scale, shift = parameters[:, :, None, None].chunk(2, dim=1)
    return maps * (1 + scale) + shift
