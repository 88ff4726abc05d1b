"""A decoder whose order of cells can only be read off the classifier's maps: the prompt enters as attention scores.

In the first decoder the prompt's tokens are added to the maps and scale their channels, and the spectrogram has a path
of its own: together they can find the dog in any sound, whatever the classifier hears. Here the prompt meets the deep
maps in cross-attention (Paissan et al. 2024, Figure 2), and only the *scores* go on, centred over the positions: where
the maps say nothing, the scores are the same everywhere and nothing is left of the prompt. The spectrogram itself adds
to the order no more than a bounded sharpening.
"""

from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.explainers.areas import AREAS
from lmaczs.explainers.details import DETAILS, standardise
from lmaczs.explainers.lmac_zs.decoder import DecoderConfig, DecoderOutput, LMACZSDecoder, Stage

# Attention heads, each with its own scores, and their width.
HEADS, WIDTH = 32, 16
# What each detail of a cell adds at most, in standard deviations of the order.
SHARPENING = 0.5


class Scores(nn.Module):
    """How well each position of a map fits the prompt, by several heads; centred over the positions."""

    def __init__(self, channels: int, text_dim: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.key = nn.Conv2d(channels, HEADS * WIDTH, 1, bias=False)
        self.query = nn.Linear(text_dim, HEADS * WIDTH)

    def forward(self, maps: Tensor, text: Tensor) -> Tensor:
        """(pairs, channels, time, freq) and (pairs, text_dim) -> (pairs, HEADS, time, freq)."""
        # In this order: torch's backward of the normalisation crashed on maps with channels last (2.13, CPU).
        keys = self.key(self.norm(maps.contiguous())).unflatten(1, (HEADS, WIDTH))
        queries = F.normalize(self.query(text).unflatten(1, (HEADS, WIDTH)), dim=2)
        scores = torch.einsum("phwtf,phw->phtf", keys, queries)
        return scores - scores.mean(dim=(2, 3), keepdim=True)


class ScoreDecoder(nn.Module):
    """See the module's docstring; used as `LMACZSDecoder`."""

    mel_to_bins: Tensor

    def __init__(self, config: DecoderConfig, mel_to_bins: Tensor | None = None) -> None:
        """Build with fresh weights; arguments as of `LMACZSDecoder`."""
        super().__init__()
        self.config = config
        deep, third, second, first, fine = config.channels
        shallow, middle, next_deep, deepest = config.hidden_channels
        self.enter = nn.Conv2d(deepest, deep, 1)
        self.enter_next = nn.Conv2d(next_deep, deep, 1)
        self.mix = nn.Conv2d(deep, deep, 3, padding=1)
        self.scores = Scores(deep, config.text_dim)
        self.scores_middle = Scores(middle, config.text_dim)
        self.stage_third = Stage(HEADS, HEADS, third)
        self.stage_second = Stage(third, shallow, second)
        self.stage_first = Stage(second, second, first)
        self.refine = nn.Conv2d(first, fine, 3, padding=1)
        if mel_to_bins is not None:
            self.register_buffer("mel_to_bins", mel_to_bins)
        self.last = nn.Conv2d(fine, 1 + DETAILS, 1)
        self.worth = nn.Sequential(
            nn.Linear(2 * HEADS + 1, 128), nn.SiLU(), nn.Linear(128, 64), nn.SiLU(), nn.Linear(64, len(AREAS))
        )

    def listen(
        self, hidden: tuple[Tensor, ...], text: Tensor, similarity: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The coarse half: compare the deep maps with the prompt.

        Args:
            hidden: four maps, shallow to deep, each (pairs, channels, time, freq).
            text: (pairs, text_dim), unit norm.
            similarity: (pairs,) cosine of the window with its prompt.

        Returns:
            scores of the two deepest maps and of the one below, (pairs, HEADS, time, freq) each; values (pairs,
            len(AREAS)), the expected worth of keeping that share of the cells.
        """
        maps = self.enter(hidden[3])
        if hidden[2].shape[-2:] != maps.shape[-2:]:
            maps = F.interpolate(maps, hidden[2].shape[-2:], mode="bilinear", align_corners=False)
        maps = self.mix(F.silu(maps + self.enter_next(hidden[2])))
        scores = self.scores(maps, text)
        summary = torch.cat(
            [scores.amax(dim=(2, 3)), scores.square().mean(dim=(2, 3)), similarity.unsqueeze(1)], dim=1
        )
        return scores, self.scores_middle(hidden[1], text), self.worth(summary).float()

    def forward(
        self, hidden: tuple[Tensor, ...], text: Tensor, similarity: Tensor, log_mel: Tensor, cells: Tensor
    ) -> DecoderOutput:
        """Judge every cell for one prompt per window; arguments as of `LMACZSDecoder.forward`."""
        scores, middle, values = self.listen(hidden, text, similarity)
        maps = self.stage_second(self.stage_third(scores, middle), hidden[0])
        half = (log_mel.shape[2] // 2, log_mel.shape[1] // 2)
        smooth = F.interpolate(maps, half, mode="bilinear", align_corners=False)
        maps = self.stage_first(maps, smooth)
        maps = F.interpolate(maps, log_mel.shape[:0:-1], mode="bilinear", align_corners=False)
        parts = self.last(F.silu(self.refine(maps))).float().transpose(2, 3)
        order, sharpening = standardise(parts[:, 0]), SHARPENING * torch.sigmoid(parts[:, 1:])
        if self.config.domain == "stft":
            order, sharpening = self.mel_to_bins @ order, self.mel_to_bins @ sharpening
        return DecoderOutput(order + (sharpening * torch.tanh(cells)).sum(1), values)


Decoder: TypeAlias = LMACZSDecoder | ScoreDecoder


def new_decoder(config: DecoderConfig, spread: Tensor | None) -> Decoder:
    """A decoder with fresh weights; `spread` as `mel_to_bins` of `LMACZSDecoder`."""
    return (ScoreDecoder if config.prompt == "scores" else LMACZSDecoder)(config, spread)
