"""AudioCaps (Kim et al. 2019): 10 s of YouTube sound from AudioSet with one caption (train) or five (val, test)."""

from lmaczs.data.base import Dataset, Rows

SPLITS = ("train", "val", "test")
AUDIO_FOLDERS = ("audio/{split}", "audio", "{split}", "waveforms/{split}", "waveforms")


def read(rows: Rows) -> None:
    """`train.csv`, `val.csv` and `test.csv` of the official repository, beside it or in its `dataset/`.

    The recordings are not handed out with the captions; whoever has fetched them has named them after the YouTube id.
    Rows of one stretch of a video are one clip with several captions.
    """
    for split in SPLITS:
        table = next(
            (name for name in (f"dataset/{split}.csv", f"{split}.csv") if (rows.root / name).is_file()), None
        )
        if table is None:
            continue
        clips: dict[tuple[str, str], tuple[str, list[str]]] = {}
        for row in rows.table(table, ("youtube_id", "start_time", "caption")):
            _, captions = clips.setdefault((row["youtube_id"], row["start_time"]), (row.place, []))
            captions.append(row["caption"])
        for (video, begin), (place, captions) in clips.items():
            folders = [folder.format(split=split) for folder in AUDIO_FOLDERS]
            rows.add(
                place,
                rows.find(folders, file_stems(video, begin)) or f"{folders[0]}/{video}.wav",
                split=split,
                captions=captions,
                original=f"youtube {video}",
                name=f"{video}_{begin}",
            )


def file_stems(video: str, begin: str) -> list[str]:
    """How the tools that fetch the set name a clip: by id, with a Y before it, or with start and end."""
    stems = [video, f"Y{video}", f"{video}_{begin}"]
    if begin.isdecimal():
        seconds = int(begin)
        stems += [f"{video}_{seconds}_{seconds + 10}", f"{video}_{seconds * 1000}_{(seconds + 10) * 1000}"]
    return stems


AUDIOCAPS = Dataset(
    key="audiocaps",
    title="AudioCaps",
    page="https://github.com/cdjkim/audiocaps",
    licence="captions MIT; recordings as on YouTube",
    role="training",
    folder="audiocaps",
    table="dataset/train.csv",
    splits=SPLITS,
    read=read,
    table_moved=("train.csv",),
)
