"""What is still to do: the clips of a source that a folder of results does not hold as they are now."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tqdm import tqdm

from lmaczs.data.clips import Clip, Listing
from lmaczs.data.places import content_sha256
from lmaczs.many.destination import Destination
from lmaczs.many.units import FILES, SHARD, Unit, cut_units

READERS = 4  # threads that compare recordings with what was explained: on network disks they mostly wait


@dataclass(frozen=True)
class Plan:
    """Work, and what was found on the way to it.

    Attributes:
        units: to do.
        clips: in them; None where only the readers of shards will know.
        changed: clips and shards that are other ones than those that were explained.
        damaged: files of results that were damaged, whose clips are done again.
    """

    units: tuple[Unit, ...]
    clips: int | None
    changed: tuple[str, ...]
    damaged: tuple[str, ...]


def plan_units(destination: Destination, listing: Listing, size: int, retry_failed: bool = False) -> Plan:
    """Compare a source with the results that are there, and drop rows of sounds that have changed.

    Every recording whose row is there is read once, to compare its bytes with those that were explained; one that
    cannot be read now keeps its row.

    Args:
        destination: prepared.
        listing: of the source.
        size: files of each unit.
        retry_failed: also drop the rows of clips that failed.
    """
    begun, damaged = destination.tidy()
    known = destination.finished_clips(FILES)
    changed = _changed({clip: known[clip.path] for clip in listing.clips if clip.path in known})
    shards = {clip: Unit(SHARD, (clip,)) for clip in listing.shards}
    sources = {clip: unit.name for clip, unit in shards.items() if destination.is_finished(unit.name)}
    other_shards = _changed({clip: destination.source_of(name) for clip, name in sources.items()})
    paths = {clip.path for clip in changed}
    destination.drop(
        lambda row: row["path"] in paths or (retry_failed and row["error"] is not None),
        reopen={sources[shard] for shard in other_shards},
    )
    more, _ = destination.tidy()
    finished = destination.finished_clips(FILES)
    clips = [clip for clip in listing.clips if clip.path not in finished]
    units = [unit for unit in shards.values() if not destination.is_finished(unit.name)]
    return Plan(
        (*cut_units(clips, size, begun | more), *units),
        None if units else len(clips),
        tuple(clip.path for clip in (*changed, *other_shards)),
        tuple(damaged),
    )


def _changed(stored: dict[Clip, str | None]) -> Sequence[Clip]:
    """Clips or shards whose bytes can be read now and have another fingerprint than the stored one."""
    with ThreadPoolExecutor(READERS) as pool:
        now = tqdm(
            pool.map(content_sha256, stored), "comparing", len(stored), unit="file", leave=False, disable=None
        )
        return [clip for clip, found in zip(stored, now, strict=True) if found not in (None, stored[clip])]
