"""How well a CLAP tells the labels of a data set apart by prompts alone, and whether loudness confuses it."""

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.data.clip_table import ClipEntry
from lmaczs.errors import LMACError
from lmaczs.evaluation.hearing import embed
from lmaczs.evaluation.judge import Judge
from lmaczs.evaluation.rows import ResultRows, Row
from lmaczs.signal.audio import load_clip, resample
from lmaczs.types import AudioClip

GROUP = 16
GAINS_DB = (-12.0, 12.0)
KEYS = ("path",)
TEXT_COLUMNS = ("label", "predicted", "predicted_quiet", "predicted_loud", "error")
NUMBER_COLUMNS = ("rank", "probability")


def judge_zero_shot(
    judge: Judge, clips: Sequence[ClipEntry], results: ResultRows, quiet: bool = False
) -> list[Row]:
    """Classify every clip as it is, 12 dB quieter and 12 dB louder.

    The louder copy is not clipped at full scale: what is asked is whether the level itself matters.

    Args:
        judge: the CLAP and the labels; its explainers are not used.
        clips: to classify.
        results: grows by one row a clip; a clip that cannot be read has its reason in the column error.
        quiet: no progress bar.

    Returns:
        One row a clip, in order.
    """
    with tqdm(total=len(clips), unit="clip", desc="classifying", disable=quiet) as bar:
        for first in range(0, len(clips), GROUP):
            group = clips[first : first + GROUP]
            waiting = [clip for clip in group if "predicted" not in results.rows.get((clip.path,), ())]
            usable: list[tuple[ClipEntry, AudioClip]] = []
            for clip in waiting:
                try:
                    usable.append((clip, resample(load_clip(clip.file), judge.backend.spectral.sample_rate)))
                except LMACError as error:
                    results.add([{"path": clip.path, "label": clip.label, "error": str(error)}])
            if usable:
                results.add(_judge_group(judge, *zip(*usable, strict=True)))
            bar.update(len(group))
    return results.finish([(clip.path,) for clip in clips])


@torch.no_grad()
def _judge_group(judge: Judge, clips: Sequence[ClipEntry], audio: Sequence[AudioClip]) -> list[Row]:
    waveforms = [clip.waveform for clip in audio]
    logits = judge.logits(embed(waveforms, judge.backend))
    quiet, loud = (
        judge.logits(embed([waveform * 10 ** (gain / 20) for waveform in waveforms], judge.backend)).argmax(1)
        for gain in GAINS_DB
    )
    probability = logits.double().softmax(1).amax(1)
    return [
        {
            "path": clip.path,
            "label": clip.label,
            "error": None,
            "predicted": judge.labels[int(logits[index].argmax())],
            "predicted_quiet": judge.labels[int(quiet[index])],
            "predicted_loud": judge.labels[int(loud[index])],
            "rank": 1.0 + int((logits[index] > logits[index, judge.labels.index(clip.label)]).sum()),
            "probability": float(probability[index]),
        }
        for index, clip in enumerate(clips)
    ]


def confusion_counts(rows: Sequence[Row], labels: Sequence[str]) -> Tensor:
    """How often each label was taken for each other one.

    Args:
        rows: of `judge_zero_shot`; those with an error are passed over.
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


def zero_shot_summary(rows: Sequence[Row], labels: Sequence[str]) -> dict:
    """Accuracies, the gain check and the commonest confusions, as JSON values.

    Args:
        rows: of `judge_zero_shot`.
        labels: all labels to choose from.

    Returns:
        n_clips, n_failed, n_labels; top1_percent and top5_percent (None without clips); chance_percent;
        changed_percent: gain in dB -> share of clips whose top prompt changes; per_label: label -> n,
            top1_percent,
        top5_percent; confusions: the ten commonest, with how many clips of the label they are.
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


def zero_shot_markdown(summary: dict, title: str) -> str:
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
