"""What is in a folder of datasets: counts, what cannot be read, and recordings that training and evaluation share."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path

import soundfile

from lmaczs.data.clip_csv import list_csv
from lmaczs.data.clips import Clip, Listing
from lmaczs.data.places import local_copy
from lmaczs.data.registry import DATASETS
from lmaczs.data.shards import list_shards
from lmaczs.data.tables import TABLE_SUFFIXES, read_table
from lmaczs.errors import AudioError, DatasetError
from lmaczs.signal.audio import load_clip

FINDERS = 4  # threads that read headers: on network disks they mostly wait


@dataclass(frozen=True)
class Finding:
    """What one dataset or collection holds.

    Attributes:
        name: key of the dataset, the collection that a CSV or shard names, or the CSV.
        clips: whose recordings are there.
        captions: of those clips.
        hours: of those recordings that can be read.
        unreadable: names of recordings that cannot be read, and why.
        missing: clips without a recording.
        missing_captions: their captions.
        bad_rows: one sentence each.
    """

    name: str
    clips: tuple[Clip, ...]
    captions: int
    hours: float
    unreadable: tuple[str, ...] = ()
    missing: int = 0
    missing_captions: int = 0
    bad_rows: tuple[str, ...] = ()

    def __add__(self, other: "Finding") -> "Finding":
        """Both as one, under the first name."""
        sums = [getattr(self, entry.name) + getattr(other, entry.name) for entry in fields(self)[1:]]
        return Finding(self.name, *sums)


@dataclass(frozen=True)
class Overlap:
    """Originals that two datasets were both cut from.

    Attributes:
        first: dataset for evaluation.
        second: the other one.
        originals: e.g. "freesound 100032", sorted.
    """

    first: str
    second: str
    originals: tuple[str, ...]


def find_listings(folder: str | Path) -> dict[str, Listing]:
    """Every dataset, CSV of recordings and set of shards in a folder or one level inside it.

    Raises:
        DatasetError: no such folder, or nothing in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f"'{folder.name}' is no folder: give the one that the datasets lie in.")
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")]
    found: dict[str, Listing] = {}
    for dataset in DATASETS.values():
        place = next((place for place in places if dataset.locate(place)), None)
        if place is not None:
            try:
                found[dataset.key] = dataset.list_clips(place)
            except DatasetError as error:
                found[dataset.key] = Listing((), (), (str(error),))
    for table in sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLE_SUFFIXES):
        try:
            # Other tables lie about too, such as Clotho's: only those with a column path are lists of recordings.
            if not read_table(table, table.name).lacking(("path",)):
                found[table.name] = list_csv(table)
        except (DatasetError, OSError):
            continue
    for place in places:
        if any(place.glob("*.tar")):
            found[place.name] = list_shards(place)
    if not found:
        raise DatasetError(
            f"'{folder.name}' holds none of the known datasets, no CSV with a column path and no shards: "
            "'lmaczs datasets list' shows what is known and where to get it."
        )
    return found


def examine(
    listing: Listing,
    name: str,
    decode: bool,
    progress: Callable[[Iterable[float | str], int], Iterable[float | str]],
) -> list[Finding]:
    """Count a listing, one finding for every collection that it names.

    Args:
        listing: to count.
        name: of the listing; what is missing or bad is counted there.
        decode: read every recording to its end instead of its header, which also finds silence and cut files.
        progress: wraps an iterable of known length, to show how far it is.
    """
    with ThreadPoolExecutor(FINDERS) as pool:
        look = pool.map(lambda clip: _seconds(clip, decode), listing.clips)
        seconds = list(progress(look, len(listing.clips)))
    findings = []
    for key in dict.fromkeys(clip.dataset or name for clip in listing.clips):
        rows = [row for row, clip in enumerate(listing.clips) if (clip.dataset or name) == key]
        clips = tuple(listing.clips[row] for row in rows)
        captions = sum(len(clip.captions) for clip in clips)
        hours = sum(value for row in rows if not isinstance(value := seconds[row], str)) / 3600
        faults = tuple(value for row in rows if isinstance(value := seconds[row], str))
        findings.append(Finding(key, clips, captions, hours, faults))
    findings.sort(key=lambda finding: -len(finding.clips))
    if listing.missing or listing.bad_rows:
        left_out = (len(listing.missing), listing.missing_captions, listing.bad_rows)
        findings.append(Finding(name, (), 0, 0.0, (), *left_out))
    return merged(findings)


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Findings of one name added up, in the order in which the names came first."""
    groups: dict[str, Finding] = {}
    for finding in findings:
        groups[finding.name] = groups[finding.name] + finding if finding.name in groups else finding
    return list(groups.values())


def find_overlaps(findings: Sequence[Finding]) -> list[Overlap]:
    """Originals that a set for evaluation shares with any other set, and with itself over its folds or splits.

    A model that was trained on the one has heard a part of the other.
    """
    evaluated = {key for key, dataset in DATASETS.items() if dataset.role == "evaluation"}
    originals = {f.name: {clip.original for clip in f.clips if clip.original} for f in findings}
    overlaps = []
    for finding in findings:
        if finding.name not in evaluated:
            continue
        splits: dict[str, set[str]] = defaultdict(set)
        for clip in finding.clips:
            if clip.original:
                splits[clip.split].add(clip.original)
        for one, two in combinations(sorted(splits), 2):
            if shared := splits[one] & splits[two]:
                overlaps.append(
                    Overlap(f"{finding.name} {one}", f"{finding.name} {two}", tuple(sorted(shared)))
                )
        for other in findings:
            # Two sets for evaluation are one pair, not two.
            again = other.name in evaluated and other.name <= finding.name
            if not again and (shared := originals[finding.name] & originals[other.name]):
                overlaps.append(Overlap(finding.name, other.name, tuple(sorted(shared))))
    return overlaps


def _seconds(clip: Clip, decode: bool) -> float | str:
    """Length of a recording, or the sentence why it cannot be read."""
    try:
        with local_copy(clip) as file:
            information = None
            if not decode:
                with suppress(OSError, RuntimeError, ValueError, TypeError):
                    information = soundfile.info(str(file))
            # Without a sensible header: formats that libsndfile does not know, or the sentence what is wrong.
            if information is None or not (information.frames > 0 and information.duration < 1e6):
                return load_clip(file).duration_s
            return float(information.duration)
    except AudioError as error:
        return str(error)
