"""MACS (Martín-Morató and Mesaros 2021): 3,930 street scenes of 10 s with two to five captions each."""

from typing import Any

from lmaczs.data.base import Dataset, Rows
from lmaczs.errors import LMACError

AUDIO_FOLDERS = ("audio", "TAU-urban-acoustic-scenes-2019-development/audio")


def read(rows: Rows) -> None:
    """`MACS.yaml`, with the recordings of TAU Urban Acoustic Scenes 2019 development (https://zenodo.org/records/2589280).

    All annotators' sentences are captions. Segments of one place, "airport-stockholm-12-488-a.wav" being the segment 488
    of the place 12, were recorded in one session.
    """
    folder = next((f for f in AUDIO_FOLDERS if (rows.root / f).is_dir()), AUDIO_FOLDERS[0])
    for number, entry in enumerate(entries(rows), start=1):
        place = f"'MACS.yaml', entry {number}"
        name = entry.get("filename") if isinstance(entry, dict) else None
        notes = entry.get("annotations") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not isinstance(notes, list):
            rows.refuse(place, "it has no file name or no annotations")
            continue
        sentences = [str(note.get("sentence") or "") for note in notes if isinstance(note, dict)]
        tags = {
            str(tag).replace("_", " ")
            for note in notes
            if isinstance(note, dict)
            for tag in note.get("tags") or ()
        }
        session = "-".join(name.split("-")[:3])
        rows.add(
            place,
            f"{folder}/{name}",
            captions=sentences or [""],
            labels=sorted(tags),
            original=f"tau {session}",
        )


def entries(rows: Rows) -> list[Any]:
    """The list of files, read by the C parser where there is one: the Python parser takes a minute.

    Raises:
        LMACError: PyYAML is not installed.
        DatasetError: the file is not the set's.
    """
    try:
        import yaml
    except ImportError as error:
        raise LMACError("MACS is a YAML file and needs the package PyYAML: pip install pyyaml.") from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load((rows.root / "MACS.yaml").read_text("utf-8"), Loader=loader)
        files = content["files"]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise rows.damaged("MACS.yaml") from error
    if not isinstance(files, list):
        raise rows.damaged("MACS.yaml")
    return files


MACS = Dataset(
    key="macs",
    title="MACS",
    page="https://zenodo.org/records/5114771",
    licence="Tampere University, non-commercial",
    role="training",
    folder="MACS",
    table="MACS.yaml",
    splits=(),
    read=read,
)
