"""SONYC-UST (Cartwright et al. 2019, 2020): 10 s of New York's streets, tagged with eight coarse classes of noise.

The labels of a clip are all the coarse tags that are in it, and there may be none.
"""

from lmaczs.data.base import Dataset, Rows

TAGS = (
    "engine",
    "machinery-impact",
    "non-machinery-impact",
    "powered-saw",
    "alert-signal",
    "music",
    "human-voice",
    "dog",
)
COLUMNS = tuple(f"{number}_{tag}_presence" for number, tag in enumerate(TAGS, start=1))
AGREED = "0"  # annotator_id of what SONYC's team agreed on; positive ids are volunteers, negative ones single members


def read(rows: Rows) -> None:
    """`annotations.csv`, a line for each annotator of a clip, and `audio/` with or without a folder for each split.

    As in Parekh et al. 2022: a training clip has a tag where any of its annotators heard it (value 1; -1 stands for not
    asked); clips of the other splits count only where the team agreed on their tags, and have those.
    """
    found: dict[tuple[str, str], tuple[str, set[str]]] = {}
    for row in rows.table("annotations.csv", ("split", "audio_filename", "annotator_id", *COLUMNS)):
        if row["split"] != "train" and row["annotator_id"] != AGREED:
            continue
        if unknown := [column for column in COLUMNS if row[column] not in ("-1", "0", "1")]:
            rows.refuse(row.place, f"'{unknown[0]}' is '{row[unknown[0]]}', not -1, 0 or 1")
            continue
        _, heard = found.setdefault((row["split"], row["audio_filename"]), (row.place, set()))
        heard |= {tag for tag, column in zip(TAGS, COLUMNS, strict=True) if row[column] == "1"}
    for (split, name), (place, heard) in found.items():
        file = f"audio/{split}/{name}"
        if not rows.has(rows.root / file):
            file = f"audio/{name}"
        rows.add(place, file, split=split, labels=[tag for tag in TAGS if tag in heard])


SONYC_UST = Dataset(
    key="sonyc-ust",
    title="SONYC-UST",
    page="https://zenodo.org/record/3966543",
    licence="CC BY 4.0",
    role="evaluation",
    folder="SONYC_UST",
    table="annotations.csv",
    splits=("train", "validate", "test"),
    read=read,
)
