"""Methods whose masks are known, so that everything around them shows."""

import pytest
import torch

from lmaczs.explainers.base import MethodEntry, WindowMaps, WindowMethod
from lmaczs.types import no_progress


class FixedMask(WindowMethod):
    """The same mask for every window: one value, everywhere or in one box."""

    entry = MethodEntry("fixed", "Fixed mask", "nobody", "Keeps one box.")

    def __init__(self, backend, value=1.0, box=None, domain="stft"):
        for name, given in {"backend": backend, "domain": domain, "value": value, "box": box}.items():
            object.__setattr__(self, name, given)

    def passes(self):
        return 0.0

    def map_windows(self, audio, target, progress=no_progress):
        grid = audio.mel_power if self.domain == "mel" else audio.stft.real
        mask = torch.zeros_like(grid)
        mask[:, *(self.box or (slice(None), slice(None)))] = self.value
        progress(1.0, "fixed")
        return WindowMaps(mask)


class LoudCells(WindowMethod):
    """Depends on every cell of the window, so that a wrong window, order or scale shows."""

    entry = MethodEntry("loud", "Loud cells", "nobody", "Keeps what is loud.")

    def passes(self):
        return 0.0

    def map_windows(self, audio, target, progress=no_progress):
        level = audio.stft.abs().sqrt()
        progress(1.0, "loud")
        return WindowMaps(level / level.amax(dim=(1, 2), keepdim=True).clamp_min(1e-6))


@pytest.fixture
def fixed_mask():
    """`fixed_mask(backend, value, box, domain)`."""
    return FixedMask


@pytest.fixture
def loud_cells():
    """`loud_cells(backend)`."""
    return LoudCells
