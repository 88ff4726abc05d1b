"""The network of the universal decoder: relevance maps of any grid -> order of the cells, and what an area is worth."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.explainers.areas import AREAS
from lmaczs.explainers.details import contrasts, standardise
from lmaczs.explainers.lmac_any.relevance import CHANNELS, SCALARS, Relevance, in_deviations
from lmaczs.signal.spectral import power_to_db

# Of the detail of single cells: their contrast in time and in frequency, and their own gradient x power.
DETAILS = 3
# What each detail adds at most, in standard deviations of the order that the relevance maps give.
SHARPENING = 0.5
# What the region of the decision adds to the order, in its standard deviations. A network may take a dog for the reason
# whatever the classifier hears; with the region, planted cues are found and masks are smaller. Chosen on 60 development
# clips.
REGION = 0.5


@dataclass(frozen=True)
class AnyConfig:
    """Shape of the network; stored as config.json of its release.

    Attributes:
        widths: channels of its levels, fine to coarse.
    """

    widths: tuple[int, ...] = (16, 24, 32, 48)


@dataclass(frozen=True)
class CellDetails:
    """What single cells of the mask's grid show.

    Attributes:
        values: (windows, DETAILS, rows, frames) in (-1, 1).
        spread: (rows, n_mels) rows that sum to 1, from mel bands to the rows of the mask; None on the mel grid.
    """

    values: Tensor
    spread: Tensor | None


class Level(nn.Module):
    """Two convolutions with normalisation."""

    def __init__(self, wide_in: int, wide_out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(wide_in, wide_out, 3, padding=1)
        self.second = nn.Conv2d(wide_out, wide_out, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(4, wide_out) for _ in range(2))

    def forward(self, maps: Tensor, skip: Tensor | None = None) -> Tensor:
        """(windows, in, time, freq) -> (windows, out, time, freq); the last of the `in` channels may come as `skip`."""
        # Without a graph in place: fresh memory for maps of this size takes longer than the values in it.
        in_place = not torch.is_grad_enabled()
        maps = F.silu(self.norms[0](self._enter(maps, skip)), in_place)
        return F.silu(self.norms[1](self.second(maps)), in_place)

    def _enter(self, maps: Tensor, skip: Tensor | None) -> Tensor:
        if skip is None:
            entered: Tensor = self.first(maps)
            return entered
        # What the convolution of both joined gives: joining them takes as long as the convolution.
        weight, split = self.first.weight, maps.shape[1]
        entered = F.conv2d(maps, weight[:, :split], self.first.bias, padding=1)
        entered += F.conv2d(skip, weight[:, split:], padding=1)
        return entered


class AnyDecoder(nn.Module):
    """A U-Net over relevance maps (see `relevance`); it sees no text, and of a classifier nothing but these maps."""

    def __init__(self, config: AnyConfig | None = None) -> None:
        """Build with fresh weights; until it knows better, it adds up what speaks for the prompt."""
        super().__init__()
        self.config = config or AnyConfig()
        widths = self.config.widths
        self.down = nn.ModuleList(
            Level(wide_in, wide_out) for wide_in, wide_out in zip((CHANNELS, *widths), widths, strict=False)
        )
        self.up = nn.ModuleList(
            Level(coarse + fine, fine) for coarse, fine in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.last = nn.Conv2d(widths[0], 1 + DETAILS, 1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)
        self.gains = nn.Sequential(
            nn.Linear(widths[-1] + SCALARS, 64),
            nn.SiLU(),
            nn.Linear(64, 64),
            nn.SiLU(),
            nn.Linear(64, len(AREAS)),
        )
        # On a CPU the network is a third faster like this.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs do not know it

    def forward(
        self, found: Relevance, cells: CellDetails, guide: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Order the cells of windows.

        Args:
            found: relevance maps.
            cells: details on the grid of the mask.
            guide: (windows, widths[-1], time, freq) of any size, added to the coarsest maps; None adds nothing.

        Returns:
            logits (windows, rows, frames), a higher cell speaks more for the prompt; and gains (windows, len(AREAS)), the
            expected probability of what is kept less that of what is removed, for that share of the cells.
        """
        maps, skips = found.maps.contiguous(memory_format=torch.channels_last), []
        for number, level in enumerate(self.down):
            maps = level(maps if number == 0 else F.avg_pool2d(maps, 2, ceil_mode=True))
            skips.append(maps)
        if guide is not None:
            maps = maps + F.interpolate(guide, maps.shape[-2:], mode="bilinear", align_corners=False)
        summary = torch.cat([maps.mean(dim=(2, 3)), found.scalars], dim=1)
        for level, skip in zip(self.up, skips[-2::-1], strict=True):
            maps = F.interpolate(maps, skip.shape[-2:], mode="bilinear", align_corners=False)
            maps = level(maps, skip)
        parts = self.last(maps).float().transpose(2, 3)
        order = standardise(parts[:, 0] + found.maps[:, 1:].mean(dim=1).transpose(1, 2))
        sharpening = SHARPENING * torch.sigmoid(parts[:, 1:])
        if cells.spread is not None:
            order, sharpening = cells.spread @ order, cells.spread @ sharpening
        logits = standardise(order + (sharpening * cells.values).sum(1))
        region = found.region if cells.spread is None else standardise(cells.spread @ found.region)
        return logits + REGION * region, self.gains(summary).float()


def cell_details(power: Tensor, attribution: Tensor, spread: Tensor | None) -> CellDetails:
    """Details of the cells of a mask.

    Args:
        power: (windows, rows, frames) on the mask's grid.
        attribution: same shape, gradient x power.
        spread: (rows, n_mels) as in `CellDetails`; None where the mask lies on mel bands.
    """
    loudness = standardise(power_to_db(power))
    found = torch.stack([*contrasts(loudness), in_deviations(attribution)], dim=1)
    return CellDetails(found.tanh_(), spread)
