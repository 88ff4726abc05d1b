"""How well a CLAP tells the labels of a data set apart by prompts alone, and whether loudness confuses it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.recording import embed
from lmaczs.data.clips import Clip
from lmaczs.errors import LMACError
from lmaczs.evaluation.clips import rank_of
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.provenance import sound_sha256
from lmaczs.evaluation.scores import Row, ScoreTable
from lmaczs.signal.audio import load_clip, resample

GAINS_DB = (-12.0, 12.0)


def evaluate_zero_shot(
    evaluator: MaskEvaluator, clips: Sequence[Clip], table: ScoreTable, quiet: bool = False
) -> list[Row]:
    """Classify every clip as it is, 12 dB quieter and 12 dB louder.

    The louder copy is not clipped at full scale: what is asked is whether the level itself matters.

    Args:
        evaluator: the classifier and the labels.
        clips: to classify.
        table: gets the decisions; a clip that cannot be read has its reason in "error".
        quiet: no progress bar.

    Returns:
        One row a clip, in order.
    """
    with table, tqdm(clips, unit="clip", desc="classifying", disable=quiet) as bar:
        for clip in bar:
            sound = sound_sha256(clip.file)
            row = table.open_row("none", clip.path, sound)
            if "predicted" not in row or row.get("label") != clip.label:
                table.add("none", clip.path, sound, _decisions(evaluator, clip))
    return table.finish([("none", clip.path) for clip in clips])


def _decisions(evaluator: MaskEvaluator, clip: Clip) -> Row:
    backend, labels = evaluator.backend, evaluator.labels
    try:
        waveform = resample(load_clip(clip.file), backend.spectral.sample_rate).waveform
    except LMACError as error:
        return {"label": clip.label, "error": str(error)}
    logits = evaluator.logits(
        embed([waveform, *(waveform * 10 ** (gain / 20) for gain in GAINS_DB)], backend)
    )
    predicted, quiet, loud = (labels[index] for index in logits.argmax(1).tolist())
    return {
        "label": clip.label,
        "error": None,
        "predicted": predicted,
        "predicted_quiet": quiet,
        "predicted_loud": loud,
        "rank": rank_of(logits[0], labels.index(clip.label)),
        "probability": float(evaluator.probabilities(logits[0]).amax()),
    }


def confusion_counts(rows: Sequence[Row], labels: Sequence[str]) -> Tensor:
    """How often each label was taken for each other one.

    Args:
        rows: of `evaluate_zero_shot`; those with an error are passed over.
        labels: order of both axes.

    Returns:
        (labels, labels) int64, true label by predicted label.
    """
    counts = torch.zeros(len(labels), len(labels), dtype=torch.int64)
    index = {label: number for number, label in enumerate(labels)}
    for row in rows:
        if "predicted" in row:
            counts[index[str(row["label"])], index[str(row["predicted"])]] += 1
    return counts


def zero_shot_summary(rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Any]:
    """Accuracies, the gain check and the commonest confusions, as JSON values.

    Args:
        rows: of `evaluate_zero_shot`.
        labels: all labels to choose from.

    Returns:
        n_clips, n_failed, n_labels; top1_percent and top5_percent (None without clips); chance_percent;
        changed_percent: gain in dB -> share of clips whose top prompt changes; per_label: label -> n,
            top1_percent, top5_percent; confusions: the ten commonest, with how many clips of the label they are.
    """
    scored = [row for row in rows if "predicted" in row]
    counts = confusion_counts(rows, labels)
    wrong = counts - counts.diag().diag()
    order = wrong.flatten().argsort(descending=True, stable=True)[:10].tolist()
    pairs = [(cell // len(labels), cell % len(labels)) for cell in order]
    changed = {"-12": "predicted_quiet", "+12": "predicted_loud"}
    return {
        "n_clips": len(scored),
        "n_failed": len(rows) - len(scored),
        "n_labels": len(labels),
        "top1_percent": _percent([row["rank"] <= 1 for row in scored]),
        "top5_percent": _percent([row["rank"] <= 5 for row in scored]),
        "chance_percent": 100.0 / len(labels),
        "changed_percent": {
            gain: _percent([row[column] != row["predicted"] for row in scored])
            for gain, column in changed.items()
        },
        "per_label": {
            label: {
                "n": len(own),
                "top1_percent": _percent([row["rank"] <= 1 for row in own]),
                "top5_percent": _percent([row["rank"] <= 5 for row in own]),
            }
            for label in labels
            for own in [[row for row in scored if row["label"] == label]]
        },
        "confusions": [
            {
                "label": labels[true],
                "predicted": labels[taken],
                "n": int(wrong[true, taken]),
                "of": int(counts[true].sum()),
            }
            for true, taken in pairs
            if wrong[true, taken]
        ],
    }


def _percent(hits: Sequence[bool]) -> float | None:
    return 100.0 * sum(hits) / len(hits) if hits else None


def zero_shot_markdown(summary: Mapping[str, Any], title: str) -> str:
    """The summary for people."""
    shown = {
        key: "–" if (value := summary[key]) is None else f"{value:.1f} %"
        for key in ("top1_percent", "top5_percent")
    }
    lines = [
        f"# Zero-shot classification: {title}",
        "",
        f'Prompts: "this is the sound of {{label}}" for all {summary["n_labels"]} labels of the set.',
        "",
        "| top-1 ↑ | top-5 ↑ | chance, top-1 | n | not readable |",
        "|---:|---:|---:|---:|---:|",
        f"| {shown['top1_percent']} | {shown['top5_percent']} | {summary['chance_percent']:.1f} % | "
        f"{summary['n_clips']} | {summary['n_failed']} |",
        "",
        "Clips whose top prompt changes when only the level does:",
        "",
        "| gain | changed ↓ | n |",
        "|---:|---:|---:|",
        *(
            f"| {gain} dB | {'–' if share is None else f'{share:.2f} %'} | {summary['n_clips']} |"
            for gain, share in summary["changed_percent"].items()
        ),
        "",
        "## Commonest confusions",
        "",
        "| label | taken for | clips |",
        "|---|---|---:|",
        *(
            f"| {row['label']} | {row['predicted']} | {row['n']} of {row['of']} |"
            for row in summary["confusions"]
        ),
        "",
        "![confusion matrix](confusion.png)",
        "",
        "## Per label",
        "",
        "| label | top-1 ↑ | top-5 ↑ | n |",
        "|---|---:|---:|---:|",
    ]
    for label, row in sorted(
        summary["per_label"].items(), key=lambda item: -(item[1]["top1_percent"] or 0.0)
    ):
        if row["n"]:
            lines.append(
                f"| {label} | {row['top1_percent']:.0f} % | {row['top5_percent']:.0f} % | {row['n']} |"
            )
    return "\n".join(lines) + "\n"
