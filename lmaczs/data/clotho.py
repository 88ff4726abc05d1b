"""Clotho 2.1 (Drossos et al. 2019): 15 to 30 s from Freesound, five captions each; 3,839 + 1,045 + 1,045 clips."""

from lmaczs.data.base import Dataset, Rows

SPLITS = ("development", "validation", "evaluation")
AUDIO_FOLDERS = ("", "clotho_audio_files/", "data/")  # in place, as DCASE's starter code, as its baseline


def read(rows: Rows) -> None:
    """`clotho_captions_*.csv`, `clotho_metadata_*.csv` and a folder of recordings per split.

    The development split must be there, the others may be. Metadata is Latin-1 and says "Not found" for some ids.
    """
    for split in SPLITS:
        table = f"clotho_captions_{split}.csv"
        if split != "development" and not (rows.root / table).is_file():
            continue
        ids: dict[str, str] = {}
        if (rows.root / f"clotho_metadata_{split}.csv").is_file():
            for row in rows.table(f"clotho_metadata_{split}.csv", ("file_name",)):
                ids[row["file_name"]] = row["sound_id"]
        folder = next((f for f in AUDIO_FOLDERS if (rows.root / f / split).is_dir()), "")
        for row in rows.table(table, ("file_name", "caption_1")):
            sound = ids.get(row["file_name"], "")
            rows.add(
                row.place,
                f"{folder}{split}/{row['file_name']}",
                split=split,
                captions=[row[f"caption_{number}"] for number in range(1, 6)],
                original=f"freesound {sound}" if sound.isdecimal() else "",
            )


CLOTHO = Dataset(
    key="clotho",
    title="Clotho",
    page="https://zenodo.org/records/4783391",
    licence="Tampere University, non-commercial; each recording its own",
    role="training",
    folder="clotho",
    table="clotho_captions_development.csv",
    splits=SPLITS,
    read=read,
)
