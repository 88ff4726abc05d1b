"""The one way from a sound to a scored explanation; the page, the command line and every evaluation call it."""

from lmaczs.clap.recording import HeardOverTime, Recording, embed, listen, listen_over_time
from lmaczs.clap.target import Target, make_target
from lmaczs.hearing.equal_area import at_equal_area
from lmaczs.hearing.explaining import classify, explain, explain_clip, explain_top, split
from lmaczs.hearing.measuring import classify_over_time, fill, logits_of_parts, measure
from lmaczs.hearing.partwise import ExplainedPart, Partwise

__all__ = [
    "ExplainedPart",
    "HeardOverTime",
    "Partwise",
    "Recording",
    "Target",
    "at_equal_area",
    "classify",
    "classify_over_time",
    "embed",
    "explain",
    "explain_clip",
    "explain_top",
    "fill",
    "listen",
    "listen_over_time",
    "logits_of_parts",
    "make_target",
    "measure",
    "split",
]
