"""What speaks for a prompt over many recordings: bands and moments of masks, and components."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmaczs.plots import mel_scale
from lmaczs.types import ExplainResult

# Edges of the bands of a profile, Hz.
BANDS_HZ = (0, 125, 250, 500, 1000, 2000, 4000, 8000, 16000, 24000)
MOMENTS = 10
COMPONENTS = 5


@dataclass(frozen=True)
class Profile:
    """What one method found for one prompt, in one recording or on average.

    Attributes:
        prompt: that was explained.
        method: key.
        count: recordings with a mask that is not empty.
        bands: upper edge in Hz -> mean of the masks there, up to half of the sampling rate.
        moments: (MOMENTS,) mean of the masks in each tenth of the recordings.
        components: number of a component -> relevance, 0 where a recording does not have it; of methods that have some.
    """

    prompt: str
    method: str
    count: int
    bands: dict[int, float]
    moments: tuple[float, ...]
    components: dict[int, float]

    @property
    def best_components(self) -> dict[int, float]:
        """The most relevant `COMPONENTS` of them, in order."""
        return dict(sorted(self.components.items(), key=lambda item: -item[1])[:COMPONENTS])


def profile_of(result: ExplainResult) -> Profile | None:
    """The profile of one explanation; None where its mask is empty."""
    mask, hertz = result.explanation.mask.double().numpy(), result.frequencies_hz.numpy()
    if not mask.any():
        return None
    weight, bands = np.gradient(mel_scale(hertz)), {}
    for low, high in zip(BANDS_HZ, BANDS_HZ[1:], strict=False):
        # The last row lies at half of the rate, where no band begins.
        rows = (hertz >= low) & ((hertz < high) | (hertz == hertz[-1]))
        if low < hertz[-1] and rows.any():
            edge = min(high, round(float(hertz[-1])))
            bands[edge] = float(np.average(mask[rows].mean(1), weights=weight[rows]))
    # A recording of fewer frames than tenths has some without any.
    moments = tuple(
        float(part.mean()) if part.size else 0.0 for part in np.array_split(mask.mean(0), MOMENTS)
    )
    components = {part.index: part.relevance for part in result.explanation.components}
    return Profile(result.target, result.explanation.method, 1, bands, moments, components)


def averaged(profiles: Sequence[Profile]) -> Profile:
    """The mean of profiles of one method for one prompt; each recording counts the same.

    Args:
        profiles: of one recording each; at least one.
    """
    count = len(profiles)

    def mean(values: Sequence[dict[int, float]]) -> dict[int, float]:
        keys = dict.fromkeys(key for one in values for key in one)
        return {key: sum(one.get(key, 0.0) for one in values) / count for key in keys}

    moments = tuple(np.mean([one.moments for one in profiles], axis=0).tolist())
    bands, components = mean([one.bands for one in profiles]), mean([one.components for one in profiles])
    return Profile(profiles[0].prompt, profiles[0].method, count, bands, moments, components)
