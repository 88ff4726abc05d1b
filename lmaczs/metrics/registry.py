"""Every number that this project reports, one `MetricEntry` each.

Tables, the page, the columns of explain-many, model cards and documents iterate over `METRICS`; no other list of metrics
exists. To add one: a function in a file of this folder, one entry here, one test.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import Tensor

from lmaczs.metrics.faithfulness import faithfulness
from lmaczs.metrics.shape import mask_shape
from lmaczs.metrics.top_k import top_k_change

Better = Literal["higher", "lower", ""]
Scope = Literal["explanation", "evaluation", "curve", "mixture", "sequence", "planted", "events"]


@dataclass(frozen=True)
class MaskSample:
    """One mask of one recording, and what the classifier says of both parts of the sound; input of every metric.

    Attributes:
        logits: (prompts,), logit_scale * cosine of the whole recording.
        kept_logits: (prompts,), the same of what the mask keeps.
        removed_logits: (prompts,), the same of what the mask removes.
        target: index of the explained prompt.
        mask: (freq, frames) in [0, 1].
        evidence: of the explanation: "present", "absent" or "unknown".
    """

    logits: Tensor
    kept_logits: Tensor
    removed_logits: Tensor
    target: int
    mask: Tensor
    evidence: str = "unknown"

    @cached_property
    def faithfulness(self) -> dict[str, float]:
        """See `lmaczs.metrics.faithfulness.faithfulness`."""
        return self._faithfulness(double_softmax=False)

    @cached_property
    def shape(self) -> dict[str, float]:
        """See `lmaczs.metrics.shape.mask_shape`."""
        return {key: float(value) for key, value in mask_shape(self.mask.unsqueeze(0)).items()}

    def shape_of_cells(self, key: Literal["sps", "comp"]) -> float:
        """Sparseness or complexity; nan for an empty mask, whose complexity of 0 no explanation could reach."""
        return self.shape[key] if self.shape["mm"] > 0 else math.nan

    @cached_property
    def top_changes(self) -> list[float]:
        """See `lmaczs.metrics.top_k.top_k_change`, of three prompts."""
        changes: list[float] = top_k_change(self.logits[None], self.kept_logits[None], 3)[0].tolist()
        return changes

    def drop_with_double_softmax(self) -> float:
        """Average drop as public code of the paper's authors has it, in percent."""
        return self._faithfulness(double_softmax=True)["ad"]

    def _faithfulness(self, double_softmax: bool) -> dict[str, float]:
        target = self.logits.new_tensor([self.target]).long()
        three = (self.logits[None], self.kept_logits[None], self.removed_logits[None])
        values = faithfulness(*three, target, double_softmax=double_softmax)
        return {key: float(value) for key, value in values.items()}


@dataclass(frozen=True)
class MetricEntry:
    """All facts about one metric.

    Attributes:
        key: in result files.
        label: for people.
        unit: unit or range.
        better: which way is better; "" where neither is.
        meaning: one plain sentence.
        decimals: digits to show.
        scope: where it is measured. "explanation": with every single explanation, on the page, by the command line, by
            explain-many and by `evaluate`. "evaluation": by `evaluate` only. "curve": by `evaluate`, from curves over the
            area of the mask. "mixture": on mixtures with known parts. "sequence": on sequences of known sounds.
            "planted": on copies that decide by a known cue. "events": on scenes whose events are known by time.
        compute: of the scopes "explanation" and "evaluation": the number; nan where a recording has none.
        at_equal_area: also measured for the top cells of every mask, all masks having the same area.
        ranked: whether methods are ranked by it; never where neither way is better.
        yes_or_no: for a single recording the number says yes or no.
        source: key of the metric whose values are shown in this column; "" is the metric's own key.
        statistic: of the values over recordings.
    """

    key: str
    label: str
    unit: str
    better: Better
    meaning: str
    decimals: int = 2
    scope: Scope = "evaluation"
    compute: Callable[[MaskSample], float] | None = None
    at_equal_area: bool = False
    ranked: bool = True
    yes_or_no: bool = False
    source: str = ""
    statistic: Literal["mean", "median"] = "mean"

    @property
    def direction(self) -> str:
        """An arrow for the head of a table column: "↑" where higher is better, "↓" where lower is, else ""."""
        return {"higher": "↑", "lower": "↓", "": ""}[self.better]

    @property
    def heading(self) -> str:
        """Label, direction and unit for the head of a table column."""
        return " ".join(part for part in (self.label, self.direction, f"[{self.unit}]") if part)

    @property
    def column(self) -> str:
        """Key of the values that are shown."""
        return self.source or self.key


_ENTRIES = (
    MetricEntry(
        "ff", "FF", "-1..1", "higher",
        "How far the target's probability falls when the kept part is taken away.",
        scope="explanation", compute=lambda sample: sample.faithfulness["ff"], at_equal_area=True,
    ),
    MetricEntry(
        "ff_median", "FF median", "-1..1", "higher", "Median of FF over the recordings.",
        at_equal_area=True, ranked=False, source="ff", statistic="median",
    ),
    MetricEntry(
        "ai", "AI", "%", "higher",
        "Share of clips whose kept part alone convinces more than the whole.", 1,
        scope="explanation", compute=lambda sample: sample.faithfulness["ai"], at_equal_area=True, yes_or_no=True,
    ),
    MetricEntry(
        "ad", "AD", "%", "lower",
        "Share of the target's probability that is lost on the kept part alone.", 1,
        scope="explanation", compute=lambda sample: sample.faithfulness["ad"], at_equal_area=True,
    ),
    MetricEntry(
        "ag", "AG", "%", "higher",
        "Share of the remaining doubt that is gone on the kept part alone.", 1,
        scope="explanation", compute=lambda sample: sample.faithfulness["ag"], at_equal_area=True,
    ),
    MetricEntry(
        "fid_in", "Fid-In", "0..1", "higher",
        "How often the kept part alone gets the decision of the whole.",
        scope="explanation", compute=lambda sample: sample.faithfulness["fid_in"], at_equal_area=True, yes_or_no=True,
    ),
    MetricEntry(
        "sps", "Sparseness", "0..1", "higher",
        "Gini index of the mask, where it is not empty: 0 is uniform, near 1 is a few cells.", 3,
        scope="explanation", compute=lambda sample: sample.shape_of_cells("sps"),
    ),
    MetricEntry(
        "comp", "Complexity", "nats", "lower",
        "Entropy of the mask, where it is not empty: the logarithm of how many cells share it.",
        scope="explanation", compute=lambda sample: sample.shape_of_cells("comp"),
    ),
    MetricEntry(
        "mm", "Mask mean", "0..1", "",
        "Mean of the mask: the share of the time-frequency plane that it keeps.", 3,
        scope="explanation", compute=lambda sample: sample.shape["mm"],
    ),
    MetricEntry(
        "absent", "Nothing found", "%", "",
        "Share of clips of which the method says that nothing in them speaks for the prompt.", 1,
        compute=lambda sample: 100.0 * (sample.evidence == "absent"),
    ),
    MetricEntry(
        "deletion_auc", "Deletion", "0..1", "lower",
        "Area under the probability as the top cells are taken away.", scope="curve",
    ),
    MetricEntry(
        "insertion_auc", "Insertion", "0..1", "higher",
        "Area under the probability as the top cells are added.", scope="curve",
    ),
    MetricEntry(
        "top1_change", "Top-1", "pp", "higher",
        "Change of the explained prompt's probability on the kept part.", 1,
        compute=lambda sample: sample.top_changes[0],
    ),
    MetricEntry(
        "top2_change", "Top-2", "pp", "lower",
        "Change of the second most probable prompt's probability on the kept part.", 1,
        compute=lambda sample: sample.top_changes[1],
    ),
    MetricEntry(
        "top3_change", "Top-3", "pp", "lower",
        "Change of the third most probable prompt's probability on the kept part.", 1,
        compute=lambda sample: sample.top_changes[2],
    ),
    MetricEntry(
        "ad_double", "AD, double softmax", "%", "lower",
        "AD as the papers' code has it; only to compare with them.", 1,
        compute=MaskSample.drop_with_double_softmax, ranked=False,
    ),
    MetricEntry(
        "si_sdr_i", "SI-SDRi", "dB", "higher",
        "How much nearer the kept part is to the sound prompted for than the mixture is.",
        scope="mixture", at_equal_area=True,
    ),
    MetricEntry(
        "si_sdr_i_known", "SI-SDRi known", "dB", "higher",
        "The same where the model has the prompt in its top 5.",
        scope="mixture", at_equal_area=True,
    ),
    MetricEntry(
        "on_target", "On target", "0..1", "higher",
        "Share of the kept energy on cells where that sound is louder.", scope="mixture",
    ),
    MetricEntry(
        "pointing", "Pointing", "0..1", "higher",
        "How often the mask's largest cell is one of those.", scope="mixture",
    ),
    MetricEntry(
        "mask_cosine", "Mask cosine", "0..1", "lower",
        "Likeness of the masks for a mixture's two sounds.", scope="mixture",
    ),
    MetricEntry(
        "mass_in_place", "Mask in the right third", "0..1", "higher",
        "Share of the mask that lies where the sound prompted for is heard; 1/3 is chance.", scope="sequence",
    ),
    MetricEntry(
        "energy_in_place", "Energy in the right third", "0..1", "higher",
        "Share of the kept energy that lies where the sound prompted for is heard.", scope="sequence",
    ),
    MetricEntry(
        "cue_hit", "Hits", "0..1", "higher",
        "How often the mask's largest cell lies on the cue; an empty mask misses.", scope="planted",
    ),
    MetricEntry(
        "cue_mass", "Mask on the cue", "0..1", "higher",
        "Share of the mask as it comes that lies on the cue.", scope="planted",
    ),
    MetricEntry(
        "cue_found", "Found at 10 %", "0..1", "higher",
        "Of the cells that the top 10 % of the mask can share with the cue, how many they do.", scope="planted",
    ),
    MetricEntry(
        "cue_gone", "Gone without 10 %", "%", "higher",
        "How often the decision is another one without the top 10 % of the mask.", 1, scope="planted",
    ),
    MetricEntry(
        "event_f1", "F1 at -20 dB", "0..1", "higher",
        "How well the times agree at which something is kept and at which the event sounds, in frames of 100 ms: F1 of "
        "what is kept within 20 dB of its loudest frame.", scope="events",
    ),
    MetricEntry(
        "event_precision", "Precision", "0..1", "higher",
        "Of the frames that are kept so, how many the event sounds in.", scope="events",
    ),
    MetricEntry(
        "event_recall", "Recall", "0..1", "higher",
        "Of the frames that the event sounds in, how many are kept so.", scope="events",
    ),
    MetricEntry(
        "event_f1_best", "F1 at the best threshold", "0..1", "higher",
        "The largest F1 that any threshold on the kept energy reaches for this event.", scope="events",
    ),
    MetricEntry(
        "event_correlation", "Correlation", "-1..1", "higher",
        "Point-biserial correlation of the kept amplitude with whether the event sounds.", scope="events",
    ),
    MetricEntry(
        "event_si_sdr_i", "SI-SDRi", "dB", "higher",
        "How much nearer to the event's own sound what is kept is than the scene.", 1, scope="events",
    ),
)  # fmt: skip
METRICS: dict[str, MetricEntry] = {entry.key: entry for entry in _ENTRIES}


def entries_of(*scopes: Scope) -> list[MetricEntry]:
    """Entries of some scopes, in the order of the tables."""
    return [entry for entry in METRICS.values() if entry.scope in scopes]


def explanation_keys() -> tuple[str, ...]:
    """Keys of the numbers that every single explanation has, in the order of the tables."""
    return tuple(entry.key for entry in entries_of("explanation"))


def measure(
    sample: MaskSample, scope: Literal["explanation", "evaluation"] = "explanation"
) -> dict[str, float]:
    """Compute all metrics of a scope.

    Args:
        sample: one mask and what the classifier says of its parts.
        scope: "explanation" or "evaluation".

    Returns:
        Metric key -> number; nan where the recording has none, such as a third prompt among two.
    """
    return {entry.key: entry.compute(sample) for entry in entries_of(scope) if entry.compute is not None}


def measure_at_equal_area(sample: MaskSample) -> dict[str, float]:
    """The same for a mask of top cells: of the computed metrics those that are meaningful at equal area."""
    return {
        entry.key: entry.compute(sample)
        for entry in METRICS.values()
        if entry.at_equal_area and entry.compute is not None
    }
