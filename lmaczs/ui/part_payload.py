"""An explanation that is not complete yet, as the player draws and plays it: `lmaczs.hearing.Partwise`."""

from pathlib import Path
from typing import Any

import numpy as np

from lmaczs.hearing import ExplainedPart, Partwise
from lmaczs.ui.payload import frames_a_column, linear_rows, mask_picture, save_picture, write_track


def begun_payload(work: Partwise, clip: dict[str, Any]) -> dict[str, Any]:
    """Like `explanation_payload`, with no picture and no sound but those of "parts", which come one after the other.

    Args:
        work: of which nothing may be explained yet.
        clip: `clip_payload` of the recording.
    """
    prompts = list(dict.fromkeys((*work.prediction.prompts, work.target)))
    return {
        "clip": clip,
        "prompts": prompts,
        "target": prompts.index(work.target),
        "method": work.method,
        "domain": work.domain,
        "evidence": "unknown",
        "where": "",
        "seconds": None,
        "mask": None,
        "kept": None,
        "parts": [],
        "probability": None,
        "metrics": None,
        "verdict": None,
    }


def part_payload(work: Partwise, part: ExplainedPart, folder: Path) -> dict[str, Any]:
    """Write one part's files and describe them; what it removes is the recording less what it keeps.

    Args:
        work: that the part belongs to.
        part: explained.
        folder: the files go here; paths in the payload are relative to its parent, as {"file": name}.

    Returns:
        "start" and "samples" of its sound in the recording, "column" of its picture in that of the whole mask: where two
        parts share a column, their values add up.
    """
    step = frames_a_column(work)
    before = part.first_frame % step
    last = part.first_frame + part.mask.shape[1]
    # Whole columns of the recording's pictures; the last one is filled up as theirs is.
    after = 0 if last == work.magnitude_db.shape[1] else -last % step
    around = ((0, 0), (before, after))
    mask = np.pad(linear_rows(part.mask.numpy(), work.frequencies_hz.numpy()), around)
    save_picture(mask_picture(mask, step), folder / f"mask-{part.start}.png")
    kept = write_track(work.clip, part.kept.numpy(), folder / f"kept-{part.start}")
    return {
        "start": part.start,
        "samples": len(part.kept),
        "column": part.first_frame // step,
        "mask": {"file": f"{folder.name}/mask-{part.start}.png"},
        "kept": {"file": f"{folder.name}/{kept}"},
    }
