"""The pieces of work that may need many encoder passes, as plain functions: a studio calls them here or on a lent GPU."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lmaczs.types import AudioClip, ExplainResult, MaskDomain, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from lmaczs.pipeline import Recording
    from lmaczs.ui.studio import Studio


def listen(studio: "Studio", clip: AudioClip, progress: Progress) -> "Recording":
    """See `lmaczs.pipeline.open_recording`."""
    from lmaczs.pipeline import open_recording

    return open_recording(clip, studio.backend, progress)


def explain(
    studio: "Studio",
    recording: "Recording",
    prompts: Sequence[str],
    target: str | None,
    method: str | None,
    domain: MaskDomain,
    progress: Progress,
) -> ExplainResult:
    """See `lmaczs.pipeline.explain`; its parts are not checked yet."""
    from lmaczs.pipeline import explain

    explainer = studio.explainer(method, domain)
    return explain(
        recording, prompts, studio.backend, explainer, target=target, score=False, progress=progress
    )


def check(
    studio: "Studio", result: ExplainResult, recording: "Recording", progress: Progress
) -> "tuple[Tensor, int]":
    """See `lmaczs.pipeline.logits_of_parts`."""
    from lmaczs.pipeline import logits_of_parts

    return logits_of_parts(result, recording, studio.backend, progress)


# Key -> (studio, arguments that can be sent to another process, progress) -> result.
TASKS: dict[str, Callable[..., Any]] = {
    "listen": listen,
    "explain": explain,
    "check": check,
}
