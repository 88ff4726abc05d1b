"""The strongest cells of an explanation alone: every method with the same share of the sound, so that they compare."""

from dataclasses import replace

import torch

from lmaczs.clap.base import CLAPBackend
from lmaczs.hearing.explaining import audible
from lmaczs.metrics.shape import top_masks
from lmaczs.signal.masking import masked_waveform
from lmaczs.types import ExplainResult, Listening


@torch.no_grad()
def at_equal_area(result: ExplainResult, name: str, share: float, backend: CLAPBackend) -> ExplainResult:
    """Keep the strongest cells of an explanation, and nothing else of the recording.

    The cells are those that `lmaczs.metrics.shape.top_masks` chooses, as in the tables at equal area. Where nothing
    speaks for the prompt there are no strongest cells: the mask stays empty.

    Args:
        result: as the method gave it.
        name: key of what comes out.
        share: of the cells, in (0, 1).
        backend: the classifier.

    Returns:
        The same question with another mask, a binary one without components; nothing of it is measured yet.
    """
    clip, whole = result.clip, result.explanation
    mask = top_masks(whole.mask.unsqueeze(0), [share])[0, 0] * bool(whole.mask.max() > 0)
    kept = masked_waveform(clip.waveform, audible(mask, whole.domain, backend), backend.spectral).cpu()
    parts = {"kept": kept, "removed": clip.waveform - kept}
    kept_clip, removed_clip = (
        replace(clip, waveform=sound, name=f"{clip.name}-{part}", notes=()) for part, sound in parts.items()
    )
    return replace(
        result,
        explanation=replace(whole, method=name, mask=mask, components=(), relevance_threshold=None),
        listening=Listening(kept=kept_clip, removed=removed_clip),
        metrics={},
        probability={},
        shares={},
    )
