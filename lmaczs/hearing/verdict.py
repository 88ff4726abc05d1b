"""Whether to believe an explanation, in words: said once here, for the page, the command line, JSON and tables.

An explanation is *enough* if what it keeps, heard alone, still says so; it is *needed* if what it removes no longer does.
Both are judged by the probability of the explained prompt relative to that of the whole recording. A prompt that the
whole recording does not say (another one is more than twice as probable) is told apart: a part may bring it out, or not.
"""

from dataclasses import asdict, dataclass
from typing import Literal

from lmaczs.types import ExplainResult

# Share of the whole recording's probability that the kept part must reach, and the rest must fall below.
ENOUGH, NEEDED = 0.5, 0.5
# Share of the most probable prompt's probability from which the whole recording says a prompt, too.
SAID = 0.5
# Probability from which what is kept says a prompt that the whole recording does not say.
BROUGHT_OUT = 0.5

Level = Literal["good", "partly", "bad", "none"]


@dataclass(frozen=True)
class Verdict:
    """A verdict on one explanation.

    Attributes:
        key: for programs, one of `VERDICTS`.
        level: "good": believe it; "partly"; "bad": it failed; "none": there is nothing to judge.
        short: a few words for where there is little room.
        words: one sentence for people.
    """

    key: str
    level: Level
    short: str
    words: str


_ALL = (
    Verdict(
        "believe", "good", "Believe it",
        "Believe it: this part alone still says so, and without it the sound no longer does.",
    ),
    Verdict(
        "enough", "partly", "Enough, not needed", "Enough, but not needed: this part alone says so, and so does the rest."
    ),
    Verdict(
        "needed", "partly", "Needed, not enough",
        "Needed, but not enough: without this part the sound no longer says so, nor does it alone.",
    ),
    Verdict(
        "failed", "bad", "It failed",
        "This explanation failed: this part alone does not say so, and the rest still does.",
    ),
    Verdict("absent", "none", "Nothing speaks for it", "Nothing in this sound speaks for this prompt."),
    Verdict(
        "unsure", "none", "Nothing fits", "The classifier itself is unsure: none of the prompts fits this sound."
    ),
    Verdict(
        "drowned", "partly", "Drowned by the rest",
        "The whole sound does not say so, but this part alone does: the rest drowns it.",
    ),
    Verdict(
        "unheard", "none", "Not heard",
        "The classifier does not hear this prompt here: this part is what comes nearest to it.",
    ),
    Verdict(
        "alone", "none", "Only one prompt",
        "A single prompt is always certain: add others to see whether to believe this.",
    ),
)  # fmt: skip
VERDICTS: dict[str, Verdict] = {verdict.key: verdict for verdict in _ALL}


def verdict_of(result: ExplainResult) -> Verdict | None:
    """Judge an explanation; None where its parts were not measured, and would tell something.

    Args:
        result: with `probability` of the original, the kept and the removed sound.
    """
    if result.explanation.evidence == "absent":
        return VERDICTS["absent"]
    if not result.probability:
        return None
    whole, kept, removed = (result.probability[track] for track in ("original", "kept", "removed"))
    prediction = result.prediction
    if prediction.match and set(prediction.match) == {"none"}:
        key = "unsure"
    elif set(prediction.prompts) <= {result.target} and min(whole, kept, removed) == 1:
        key = "alone"
    elif whole < SAID * float(prediction.probabilities.max()):
        key = "drowned" if kept >= BROUGHT_OUT else "unheard"
    else:
        enough, needed = kept >= ENOUGH * whole, removed < NEEDED * whole
        key = {(True, True): "believe", (True, False): "enough", (False, True): "needed"}.get(
            (enough, needed), "failed"
        )
    return VERDICTS[key]


def verdict_row(result: ExplainResult) -> dict[str, str] | None:
    """The verdict as JSON values, null where there is none."""
    verdict = verdict_of(result)
    return None if verdict is None else asdict(verdict)
