"""Methods whose answer is known: four bands of frequency, each of them kept by nine tenths, and one that finds nothing.

Run as a program, the page with them as "l2i" and "nothing" on the debug backend, whose weights are made on the spot.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from lmaczs.clap.recording import Recording
from lmaczs.clap.target import Target
from lmaczs.explainers.base import Method, MethodEntry
from lmaczs.signal.spectral import frequencies_hz
from lmaczs.signal.windows import clip_frames
from lmaczs.types import Component, Explanation, Progress, no_progress

# Band k lies between edges k and k + 1.
EDGES_HZ = (0, 500, 1200, 2500, 8001)
# Of the bands, and of a component that speaks against every prompt.
RELEVANCE = (0.35, 1.0, 0.12, 0.62, -0.4)
# Of the lanes.
ORDER = (1, 3, 0, 2)
# Of a band that its component plays; the rest plays the other tenth.
SHARE = 0.9
THRESHOLD = 0.3


@dataclass(frozen=True, eq=False)
class Bands(Method):
    """See above."""

    entry: ClassVar[MethodEntry] = MethodEntry("l2i", "L2I", "", "Four bands.", domains=("stft",))

    def passes(self) -> float:
        """See `Method.passes`."""
        return 0.0

    def explain(self, recording: Recording, target: Target, progress: Progress = no_progress) -> Explanation:
        """See `Method.explain`."""
        hertz = frequencies_hz(self.backend.spectral)
        frames = clip_frames(recording.plan.num_samples, self.backend.spectral)
        found = []
        for band in ORDER:
            pattern = ((EDGES_HZ[band] <= hertz) & (hertz < EDGES_HZ[band + 1])).float()
            gain = SHARE * pattern[:, None].expand(-1, frames)
            found.append(Component(band, RELEVANCE[band], gain, pattern, torch.ones(frames)))
        mask = torch.stack([part.gain for part in found if part.relevance > THRESHOLD]).sum(0)
        return Explanation(
            self.name,
            target.prompt,
            mask,
            self.domain,
            "present",
            components=tuple(found),
            relevance_threshold=THRESHOLD,
        )


@dataclass(frozen=True, eq=False)
class Nothing(Method):
    """Says of every sound that nothing in it speaks for the prompt."""

    entry: ClassVar[MethodEntry] = MethodEntry("nothing", "Nothing", "", "Finds nothing.", domains=("stft",))

    def passes(self) -> float:
        """See `Method.passes`."""
        return 0.0

    def explain(self, recording: Recording, target: Target, progress: Progress = no_progress) -> Explanation:
        """See `Method.explain`."""
        frames = clip_frames(recording.plan.num_samples, self.backend.spectral)
        mask = torch.zeros(self.backend.spectral.n_bins, frames)
        return Explanation(self.name, target.prompt, mask, self.domain, "absent")


METHODS = {
    "l2i": "bands:Bands",
    "grad-cam": "lmaczs.explainers.gradcam:GradCAM",
    "nothing": "bands:Nothing",
}


def main() -> None:
    """Serve the page."""
    from lmaczs import explainers
    from lmaczs.ui.layout import build_demo
    from lmaczs.ui.settings import Settings

    explainers.METHODS.clear()
    explainers.METHODS.update(METHODS)
    build_demo(Settings(backend="debug")).serve()


if __name__ == "__main__":
    main()
