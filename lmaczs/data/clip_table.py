"""Lists of recordings as tables: a column path, and what else there is of label, captions, dataset, fold and others.

Paths are relative to the table, absolute, or URLs. "./a.wav" and "a.wav" are one clip.
"""

import csv
import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lmaczs.data.clips import Clip, original_of, tidy_captions
from lmaczs.data.tables import Row, read_table
from lmaczs.errors import DatasetError, LMACError

COLUMNS = ("path", "dataset", "fold", "label", "concept", "captions", "original")


@dataclass(frozen=True)
class ClipSelection:
    """The clips to work on and the labels to tell them apart by.

    Attributes:
        clips: in the order of the table.
        labels: sorted; of every clip of the same data sets, also where a fold or a limit leaves some out.
    """

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]


def clip_of(row: Row, folder: str) -> Clip:
    """The clip that a row describes; its recording need not be there.

    Args:
        row: with a path; captions have `|` between them. `original` says what the clip was cut from, e.g.
            "freesound 100032"; it is read off names like ESC-50's where it is missing.
        folder: path or URL of the table's folder.
    """
    path = row["path"] if "://" in row["path"] else str(PurePosixPath(row["path"]))
    return Clip(
        path,
        path if "://" in path or path.startswith("/") else f"{folder}/{path}",
        labels=(row["label"],),
        captions=tidy_captions(row["captions"].split("|")),
        dataset=row["dataset"],
        split=f"fold {row['fold']}" if row["fold"] else row["split"],
        concept=row["concept"],
        original=row["original"] or original_of(PurePosixPath(path).name),
    )


def select_clips(table: str | Path, where: Mapping[str, str] | None = None) -> ClipSelection:
    """Read a table of labelled clips and pick lines.

    Args:
        table: with the columns path and label; others, such as dataset and fold, can be asked for in `where`.
        where: column -> value that a line must have.

    Raises:
        LMACError: the table is missing, lacks a column or a line that fits, or gives a clip two labels.
    """
    table, where = Path(table), dict(where or {})
    try:
        content = read_table(table, table.name)
    except (OSError, DatasetError) as error:
        raise LMACError(
            f"'{table.name}' cannot be read as a clip table: give a CSV file in UTF-8 with the columns "
            "path and label."
        ) from error
    if absent := content.lacking(("path", "label", *where)):
        raise LMACError(
            f"'{table.name}' has no column '{absent}': it has {', '.join(content.columns)[:200] or 'none'}; path and "
            "label are needed, and the columns that --where names."
        )
    chosen = [row for row in content.rows if all(row[key] == value for key, value in where.items())]
    if not chosen:
        wanted = " and ".join(f"{column}={value}" for column, value in where.items()) or "any content"
        raise LMACError(f"No line of '{table.name}' has {wanted}: check the spelling of the column's values.")
    clips: dict[str, Clip] = {}
    for row in chosen:
        if not row["path"] or not row["label"]:
            raise LMACError(f"{row.place} is without path or label: complete it or remove it.")
        clip = clip_of(row, str(table.parent))
        if clips.setdefault(clip.path, clip).label != clip.label:
            raise LMACError(
                f"'{table.name}' names '{Path(clip.path).name}' twice, as '{clips[clip.path].label}' and as "
                f"'{clip.label}': keep one of the lines."
            )
    sets = {clip.dataset for clip in clips.values()}
    labels = {row["label"] for row in content.rows if row["dataset"] in sets and row["label"]}
    return ClipSelection(tuple(clips.values()), tuple(sorted(labels)))


def limit_by_label(clips: Sequence[Clip], limit: int, seed: int = 0) -> tuple[Clip, ...]:
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


def as_csv(clips: Sequence[Clip], table: str | Path) -> str:
    """The text of a table that `clip_of` reads, and `evaluate --clips` where every clip has a label.

    Args:
        clips: with files of their own.
        table: where the table will lie; its paths are relative to that folder, and do not lead out of it.

    Raises:
        DatasetError: a clip lies in a shard or outside the table's folder.
    """
    table = Path(table)
    if any(clip.size for clip in clips):
        raise DatasetError("Recordings in shards have no paths of their own: unpack the .tar files first.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for clip in clips:
        try:
            path = clip.file.resolve().relative_to(table.resolve().parent).as_posix()
        except ValueError as error:
            raise DatasetError(
                f"'{table.name}' must lie in a folder above the recordings, as its paths are relative to it: choose "
                "another --out."
            ) from error
        captions = "|".join(caption.replace("|", "/") for caption in clip.captions)
        fold = clip.split.removeprefix("fold ")
        writer.writerow((path, clip.dataset, fold, clip.label, clip.concept, captions, clip.original))
    return text.getvalue()
