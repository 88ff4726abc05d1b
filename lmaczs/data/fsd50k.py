"""FSD50K (Fonseca et al. 2022): 51,197 Freesound clips of up to 30 s in 200 classes; 40,966 of them for development."""

import json
import re
from typing import Any

from lmaczs.data.base import Dataset, Rows
from lmaczs.data.clips import words

PARTS = ("dev", "eval")


def read(rows: Rows) -> None:
    """`FSD50K.ground_truth/`, `FSD50K.metadata/`, `FSD50K.dev_audio/` and `FSD50K.eval_audio/`; names are Freesound ids.

    The set has no captions: CLAP was trained on the uploader's title and description, and so is LMAC-ZS.
    """
    for part in PARTS:
        table = f"FSD50K.ground_truth/{part}.csv"
        if part == "eval" and not (rows.root / table).is_file():
            continue
        information = clip_information(rows, f"FSD50K.metadata/{part}_clips_info_FSD50K.json")
        for row in rows.table(table, ("fname", "labels")):
            text = caption(information.get(row["fname"]))
            labels = [spoken(label) for label in row["labels"].split(",") if label.strip()]
            rows.add(
                row.place,
                f"FSD50K.{part}_audio/{row['fname']}.wav",
                split=row["split"] or part,
                captions=[text or " and ".join(labels)],
                labels=labels,
                original=f"freesound {row['fname']}",
            )


def clip_information(rows: Rows, file: str) -> dict[str, Any]:
    """What the uploaders wrote, by Freesound id; empty where the file is not there or damaged, which is said."""
    try:
        information = json.loads((rows.root / file).read_text("utf-8"))
    except (OSError, ValueError):
        information = None
    if not isinstance(information, dict):
        rows.refuse(f"'{file}'", "it is missing or damaged, so labels stand in for titles and descriptions")
        return {}
    return information


def caption(entry: object) -> str:
    """Title and description in one line, without tags of HTML and the ending of a file name.

    As the CLAP corpora have it: "title description" with "wav" taken out.
    """
    if not isinstance(entry, dict):
        return ""
    text = " ".join(str(entry.get(field) or "") for field in ("title", "description"))
    text = re.sub(r"<[^>]*>|https?://\S+", " ", text)
    text = re.sub(r"\.?\b(wav|aiff?|flac|mp3|ogg)\b", " ", text, flags=re.IGNORECASE)
    return " ".join(text.replace("_", " ").split())


def spoken(label: str) -> str:
    """'Dishes_and_pots_and_pans' -> 'dishes and pots and pans'; 'Chatter_(talk)' keeps its brackets out."""
    return words(re.sub(r"[()]", "", label))


FSD50K = Dataset(
    key="fsd50k",
    title="FSD50K",
    page="https://zenodo.org/records/4060432",
    licence="CC BY 4.0; each recording its own",
    role="training",
    folder="FSD50K",
    table="FSD50K.ground_truth/dev.csv",
    splits=("train", "val", "eval"),
    read=read,
)
