"""A classifier and the methods that explain it, and the pieces of work that they do; keeps nothing and locks nothing."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from lmaczs.errors import LMACError
from lmaczs.types import AudioClip, ExplainResult, MaskDomain, Prediction, Progress
from lmaczs.ui import text

if TYPE_CHECKING:
    from torch import Tensor

    from lmaczs.clap.base import CLAPBackend
    from lmaczs.explainers.base import Explainer
    from lmaczs.pipeline import Recording

logger = logging.getLogger(__name__)
DOMAINS: tuple[MaskDomain, ...] = ("stft", "mel")


class Runner(Protocol):
    """Does the work that may need many encoder passes: an `Engine` here, or `lmaczs.ui.zero_gpu.LentRunner`."""

    def listen(self, clip: AudioClip, progress: Progress) -> "Recording":
        """Let the classifier hear a recording."""

    def explain(
        self,
        recording: "Recording",
        prompts: Sequence[str],
        target: str | None,
        method: str | None,
        domain: MaskDomain,
        progress: Progress,
    ) -> ExplainResult:
        """Explain one prompt; the parts are not measured yet."""

    def measure(
        self, result: ExplainResult, recording: "Recording", progress: Progress
    ) -> "tuple[Tensor, int]":
        """Let the classifier hear the parts of an explanation."""


class Engine:
    """A loaded classifier with its methods, which are made at the first use; not for several threads at once."""

    def __init__(self, backend: "CLAPBackend") -> None:
        """Take a classifier.

        Args:
            backend: the CLAP, loaded.
        """
        self.backend = backend
        self._methods: dict[MaskDomain, dict[str, Explainer]] = {}

    def methods(self, domain: MaskDomain = "stft") -> "dict[str, Explainer]":
        """Every method that can run here, by key, the default and the fast ones first."""
        from lmaczs import load_explainer
        from lmaczs.explainers import EXPLAINERS

        if domain not in self._methods:
            found: dict[str, Explainer] = {}
            for name in EXPLAINERS:
                try:
                    found[name] = load_explainer(name, self.backend, domain)
                except LMACError as error:
                    logger.info("without %s in the %s domain: %s", name, domain, error)
            self._methods[domain] = found
        return self._methods[domain]

    def method(self, name: str | None = None, domain: MaskDomain = "stft") -> "Explainer":
        """A method or control by key, or the default method.

        Raises:
            LMACError: it cannot run here.
        """
        from lmaczs.ui.controls import CONTROLS, Control

        if name in CONTROLS:
            return Control(self.backend, domain, name)
        found = self.methods(domain)
        if not found:
            raise LMACError(text.NO_METHOD.format(backend=self.backend.name))
        key = next(iter(found)) if name is None else name
        if key not in found:
            raise LMACError(f"There is no method '{str(key)[:40]}' here: choose one of {', '.join(found)}.")
        return found[key]

    def listen(self, clip: AudioClip, progress: Progress) -> "Recording":
        """See `lmaczs.pipeline.open_recording`."""
        from lmaczs.pipeline import open_recording

        return open_recording(clip, self.backend, progress)

    def classify(self, recording: "Recording", prompts: Sequence[str]) -> Prediction:
        """See `lmaczs.pipeline.classify`."""
        from lmaczs.pipeline import classify

        return classify(recording, prompts, self.backend)

    def explain(
        self,
        recording: "Recording",
        prompts: Sequence[str],
        target: str | None,
        method: str | None,
        domain: MaskDomain,
        progress: Progress,
    ) -> ExplainResult:
        """See `lmaczs.pipeline.explain`; the parts are not measured yet."""
        from lmaczs.pipeline import explain

        explainer = self.method(method, domain)
        return explain(
            recording, prompts, self.backend, explainer, target=target, score=False, progress=progress
        )

    def measure(
        self, result: ExplainResult, recording: "Recording", progress: Progress
    ) -> "tuple[Tensor, int]":
        """See `lmaczs.pipeline.logits_of_parts`."""
        from lmaczs.pipeline import logits_of_parts

        return logits_of_parts(result, recording, self.backend, progress)
