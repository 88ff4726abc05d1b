"""A classifier and the methods that explain it, and the pieces of work that they do; keeps nothing and locks nothing."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from lmaczs.errors import LMACError
from lmaczs.explainers import METHODS, load_explainer
from lmaczs.types import AudioClip, ExplainResult, MaskDomain, Prediction, Progress
from lmaczs.ui import text
from lmaczs.ui.controls import PAGE_CONTROLS

if TYPE_CHECKING:
    from torch import Tensor

    from lmaczs.clap.base import CLAPBackend
    from lmaczs.explainers.base import Method
    from lmaczs.hearing import HeardOverTime, Recording

logger = logging.getLogger(__name__)


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
        self._methods: dict[MaskDomain, dict[str, Method]] = {}

    def methods(self, domain: MaskDomain = "stft") -> "dict[str, Method]":
        """Every method that can run here, by key, the default and the fast ones first."""
        if domain not in self._methods:
            found: dict[str, Method] = {}
            for name in METHODS:
                try:
                    found[name] = load_explainer(name, self.backend, domain)
                except LMACError as error:
                    logger.info("without %s in the %s domain: %s", name, domain, error)
            self._methods[domain] = found
        return self._methods[domain]

    def method(self, name: str | None = None, domain: MaskDomain = "stft") -> "Method":
        """A method or control by key, or the default method.

        Raises:
            LMACError: it cannot run here.
        """
        from lmaczs.evaluation.masks import Control
        from lmaczs.ui.drawn_mask import PREFIX, DrawnMask

        if name in PAGE_CONTROLS:
            return Control(self.backend, domain, control=str(name), seed="page")
        if name is not None and name.startswith(PREFIX):
            return DrawnMask(self.backend, domain, key=name)
        found = self.methods(domain)
        if not found:
            raise LMACError(text.NO_METHOD.format(backend=self.backend.name))
        key = next(iter(found)) if name is None else name
        if key not in found:
            raise LMACError(f"There is no method '{str(key)[:40]}' here: choose one of {', '.join(found)}.")
        return found[key]

    def listen(self, clip: AudioClip, progress: Progress) -> "Recording":
        """See `lmaczs.hearing.listen`."""
        from lmaczs.hearing import listen

        return listen(clip, self.backend, progress)

    def classify(self, recording: "Recording", prompts: Sequence[str]) -> Prediction:
        """See `lmaczs.hearing.classify`."""
        from lmaczs.hearing import classify

        return classify(recording, prompts, self.backend)

    def listen_over_time(self, recording: "Recording", progress: Progress) -> "HeardOverTime":
        """See `lmaczs.hearing.listen_over_time`; never worth a lent GPU."""
        from lmaczs.hearing import listen_over_time

        return listen_over_time(recording, self.backend, progress=progress)

    def explain(
        self,
        recording: "Recording",
        prompts: Sequence[str],
        target: str | None,
        method: str | None,
        domain: MaskDomain,
        progress: Progress,
    ) -> ExplainResult:
        """See `lmaczs.hearing.explain`; the parts are not measured yet."""
        from lmaczs.hearing import explain

        chosen = self.method(method, domain)
        return explain(
            recording, prompts, self.backend, chosen, target=target, measure=False, progress=progress
        )

    def at_area(self, whole: ExplainResult, name: str, share: float) -> ExplainResult:
        """See `lmaczs.hearing.at_equal_area`; never worth a lent GPU."""
        from lmaczs.hearing import at_equal_area

        return at_equal_area(whole, name, share, self.backend)

    def measure(
        self, result: ExplainResult, recording: "Recording", progress: Progress
    ) -> "tuple[Tensor, int]":
        """See `lmaczs.hearing.logits_of_parts`."""
        from lmaczs.hearing import logits_of_parts

        return logits_of_parts(result, recording, self.backend, progress)
