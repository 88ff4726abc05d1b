"""Lists of labelled recordings: a CSV with the columns path and label, paths relative to the CSV."""

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmaczs.errors import LMACError


@dataclass(frozen=True)
class ClipEntry:
    """One line of a clip table.

    Attributes:
        path: as written in the table; names the clip in result files.
        file: where the recording lies.
        label: class name.
    """

    path: str
    file: Path
    label: str


@dataclass(frozen=True)
class ClipSelection:
    """The clips to work on and the labels to tell them apart by.

    Attributes:
        clips: in the order of the table.
        labels: sorted; of every clip of the same data sets, also where a fold or a limit leaves some out.
    """

    clips: tuple[ClipEntry, ...]
    labels: tuple[str, ...]


def select_clips(table: str | Path, where: Mapping[str, str] | None = None) -> ClipSelection:
    """Read a clip table and pick lines.

    Args:
        table: CSV with the columns path and label; others, such as dataset and fold, can be asked for in
            `where`.
        where: column -> value that a line must have.

    Raises:
        LMACError: the table is missing, lacks a column or a line that fits, or names a clip twice.
    """
    table, where = Path(table), dict(where or {})
    try:
        with table.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LMACError(
            f"'{table.name}' cannot be read as a clip table: give a CSV file in UTF-8 with the columns "
            "path and label."
        ) from error
    for column in ("path", "label", *where):
        if column not in columns:
            raise LMACError(
                f"'{table.name}' has no column '{column}': it has {', '.join(columns) or 'none'}; path and "
                "label are needed, and the columns that --where names."
            )
    chosen = [row for row in rows if all(row[column] == value for column, value in where.items())]
    if not chosen:
        wanted = " and ".join(f"{column}={value}" for column, value in where.items()) or "any content"
        raise LMACError(f"No line of '{table.name}' has {wanted}: check the spelling of the column's values.")
    seen: set[str] = set()
    for row in chosen:
        if not row["path"] or not row["label"]:
            raise LMACError(f"'{table.name}' has a line without path or label: complete it or remove it.")
        if row["path"] in seen:
            raise LMACError(f"'{table.name}' names '{Path(row['path']).name}' twice: every clip counts once.")
        seen.add(row["path"])
    sets = {row.get("dataset") for row in chosen}
    labels = {row["label"] for row in rows if row.get("dataset") in sets and row["label"]}
    clips = tuple(ClipEntry(row["path"], table.parent / row["path"], row["label"]) for row in chosen)
    return ClipSelection(clips, tuple(sorted(labels)))


def limit_by_label(clips: Sequence[ClipEntry], limit: int, seed: int = 0) -> tuple[ClipEntry, ...]:
    """A smaller, seeded choice with about the same number of clips of each label, in the order given.

    Args:
        clips: to choose from.
        limit: how many to keep, at least 1; all where there are fewer.
        seed: of the choice.

    Raises:
        LMACError: the limit is below 1.
    """
    if limit < 1:
        raise LMACError(f"The limit is {limit}: give at least 1 clip.")
    generator = random.Random(seed)
    by_label: dict[str, list[int]] = {}
    for index, clip in enumerate(clips):
        by_label.setdefault(clip.label, []).append(index)
    queues = [by_label[label] for label in sorted(by_label)]
    for queue in queues:
        generator.shuffle(queue)
    generator.shuffle(queues)  # a limit below the number of labels takes other ones with another seed
    rounds = max(len(queue) for queue in queues)
    turns = [queue[turn] for turn in range(rounds) for queue in queues if turn < len(queue)]
    return tuple(clips[index] for index in sorted(turns[:limit]))
