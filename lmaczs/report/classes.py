"""What speaks for a prompt over many recordings: bands and moments of masks, and components."""

from collections import defaultdict
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
    """What one method found for one prompt.

    Attributes:
        prompt: that was explained.
        method: key.
        count: recordings with a mask that is not empty.
        bands: upper edge in Hz -> mean of the masks there, up to half of the sampling rate.
        moments: (MOMENTS,) mean of the masks in each tenth of the recordings.
        components: number of a component -> mean relevance, of methods that have some; the most relevant first.
    """

    prompt: str
    method: str
    count: int
    bands: dict[int, float]
    moments: tuple[float, ...]
    components: dict[int, float]


def profile(results: Sequence[ExplainResult]) -> Profile | None:
    """Average the explanations of one prompt by one method over recordings.

    Each recording counts the same. Where a method found nothing there is nothing to average.

    Args:
        results: of one method, for the same prompt.

    Returns:
        None if all masks are empty.
    """
    found = [result for result in results if bool(result.explanation.mask.any())]
    if not found:
        return None
    bands: defaultdict[int, list[float]] = defaultdict(list)
    relevance: defaultdict[int, float] = defaultdict(float)
    moments = []
    for result in found:
        mask, hertz = result.explanation.mask.double().numpy(), result.frequencies_hz.numpy()
        weight = np.gradient(mel_scale(hertz))
        for low, high in zip(BANDS_HZ, BANDS_HZ[1:], strict=False):
            # The last row lies at half of the rate, where no band begins.
            rows = (hertz >= low) & ((hertz < high) | (hertz == hertz[-1]))
            if low < hertz[-1] and rows.any():
                bands[min(high, round(float(hertz[-1])))].append(
                    float(np.average(mask[rows].mean(1), weights=weight[rows]))
                )
        moments.append([float(part.mean()) for part in np.array_split(mask.mean(0), MOMENTS)])
        for part in result.explanation.components:
            relevance[part.index] += part.relevance / len(found)
    best = sorted(relevance.items(), key=lambda item: -item[1])[:COMPONENTS]
    return Profile(
        found[0].target,
        found[0].explanation.method,
        len(found),
        {edge: float(np.mean(values)) for edge, values in bands.items()},
        tuple(np.nan_to_num(np.nanmean(moments, axis=0)).tolist()),
        dict(best),
    )
