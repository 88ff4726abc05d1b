"""Miniatures of the official layouts: real folder and column names, a few tones, and rows that cannot be used."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import yaml

RATE = 8000


def tone(path: Path, seconds: float = 0.5) -> None:
    """A short recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(int(seconds * RATE)) * 0.3), RATE)


def table(path: Path, rows: Sequence[Sequence], encoding: str = "utf-8") -> None:
    """A CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows(rows)


def esc50(root: Path) -> None:
    """Three clips that are there, one that is not, and three bad rows."""
    home = root / "ESC-50-master"
    names = ["1-100032-A-0.wav", "1-17367-A-10.wav", "5-100032-B-0.wav"]
    for name in names:
        tone(home / "audio" / name)
    rows = [["filename", "fold", "target", "category", "esc10", "src_file", "take"]]
    rows += [
        [names[0], 1, 0, "dog", True, 100032, "A"],
        [names[1], 1, 10, "crying_baby", True, 17367, "A"],
        [names[2], 5, 0, "dog", True, 100032, "B"],
        ["2-1-A-0.wav", 2, 0, "dog", True, 1, "A"],
        ["2-2-A-0.wav", 2, 0, "", True, 2, "A"],
        ["../../secret.wav", 2, 0, "dog", True, 3, "A"],
        [names[0], 1, 0, "dog", True, 100032, "A"],
    ]
    table(home / "meta/esc50.csv", rows)


def urbansound8k(root: Path) -> None:
    """Two clips, and a row that ends early."""
    home = root / "UrbanSound8K"
    tone(home / "audio/fold5/100032-3-0-0.wav")
    tone(home / "audio/fold10/203356-3-0-1.wav")
    head = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
    rows = [head, ["100032-3-0-0.wav", 100032, 0.0, 0.3, 1, 5, 3, "dog_bark"]]
    rows += [["203356-3-0-1.wav", 203356, 1.0, 4.0, 2, 10, 1, "car_horn"], ["9-1-0-0.wav", 9]]
    table(home / "metadata/UrbanSound8K.csv", rows)


def clotho(root: Path) -> None:
    """Two development clips, one of them from the Freesound sound of `esc50`, and one for evaluation."""
    home = root / "clotho"
    head = ["file_name", *(f"caption_{n}" for n in range(1, 6))]
    sentences = [f"A dog  barks {n} times ." for n in range(1, 5)]
    rows = [
        head,
        ["Dog in Málaga.wav", *sentences, sentences[0]],
        ["Rain.wav", "Rain falls .", "", "", "", ""],
    ]
    rows += [["No words.wav", "", "", "", "", ""]]
    table(home / "clotho_captions_development.csv", rows)
    head = ["file_name", "keywords", "sound_id", "sound_link", "start_end_samples", "manufacturer", "license"]
    rows = [head, ["Dog in Málaga.wav", "dog;bark", 100032, "", "[0, 9]", "somebody", ""]]
    rows += [["Rain.wav", "rain", "Not found", "Not found", "", "", ""]]
    table(home / "clotho_metadata_development.csv", rows, "latin-1")
    table(home / "clotho_captions_evaluation.csv", [["file_name", *(f"caption_{n}" for n in range(1, 6))],
                                                    ["Wind.wav", *["Wind blows ."] * 5]])  # fmt: skip
    for name in ("development/Dog in Málaga.wav", "development/Rain.wav", "evaluation/Wind.wav"):
        tone(home / name)


def fsd50k(root: Path) -> None:
    """Three development clips, one without what the uploader wrote, and one for evaluation without metadata."""
    home = root / "FSD50K"
    rows = [["fname", "labels", "mids", "split"], ["64760", "Electric_guitar,Guitar", "/m/1,/m/2", "train"]]
    rows += [
        ["16399", "Chatter,Human_voice", "/m/3,/m/4", "val"],
        ["7", "Bark", "/m/5", "train"],
        ["", "Bark", "", ""],
    ]
    table(home / "FSD50K.ground_truth/dev.csv", rows)
    table(
        home / "FSD50K.ground_truth/eval.csv",
        [["fname", "labels", "mids"], ["37199", "Bark,Dog", "/m/5,/m/6"]],
    )
    wrote = {
        "64760": {
            "title": "Guitar_riff.WAV",
            "description": "A <b>riff</b>,\r\nplayed twice: https://x.org/a",
            "tags": [],
        },
        "16399": {"title": "people.wav", "description": "", "tags": ["talk"]},
    }
    path = home / "FSD50K.metadata/dev_clips_info_FSD50K.json"
    path.parent.mkdir()
    path.write_text(json.dumps(wrote))
    for name in ("dev_audio/64760", "dev_audio/16399", "dev_audio/7", "eval_audio/37199"):
        tone(home / f"FSD50K.{name}.wav")


def audiocaps(root: Path) -> None:
    """One clip for training and one for validation, named as two tools name them; a third without a recording."""
    home = root / "audiocaps"
    head = ["audiocap_id", "youtube_id", "start_time", "caption"]
    rows = [head, [91139, "r1nicOVtvkQ", 130, "A woman talks as water pours"], [2, "-gone", 20, "Clanking"]]
    table(home / "dataset/train.csv", rows)
    rows = [
        head,
        *([n, "vfY_TJq7n_U", 130, f"Rustling {n}"] for n in range(5)),
        [9, "vfY_TJq7n_U", "", "no time"],
    ]
    table(home / "dataset/val.csv", rows)
    tone(home / "audio/train/Yr1nicOVtvkQ.wav")
    tone(home / "audio/vfY_TJq7n_U_130000_140000.flac")


def macs(root: Path) -> None:
    """Two scenes of one place and an entry without annotations."""
    home = root / "MACS"

    def note(sentence: str, *tags: str) -> dict:
        return {"annotator_id": 1, "sentence": sentence, "tags": list(tags)}

    names = ["airport-stockholm-12-488-a.wav", "airport-stockholm-12-489-a.wav"]
    files = [
        {
            "filename": names[0],
            "annotations": [note("people talk", "adults_talking"), note("a bell rings", "music")],
        },
        {"filename": names[1], "annotations": [note("steps", "footsteps")]},
        {"filename": "bus-paris-1-1-a.wav"},
    ]
    home.mkdir()
    (home / "MACS.yaml").write_text(yaml.safe_dump({"files": files}))
    for name in names:
        tone(home / "TAU-urban-acoustic-scenes-2019-development/audio" / name)


def ljspeech(root: Path) -> None:
    """Two sentences, one with a lone quotation mark, and one without a recording."""
    home = root / "LJSpeech-1.1"
    lines = ["LJ001-0001|Printing, in the only sense|Printing, in the only sense"]
    lines += ['LJ001-0002|in being "comparatively modern.|in being modern.', "LJ002-0001|gone|gone"]
    for name in ("LJ001-0001", "LJ001-0002"):
        tone(home / f"wavs/{name}.wav")
    (home / "metadata.csv").write_text("\n".join(lines) + "\n")


LAYOUTS = {
    "esc50": esc50,
    "urbansound8k": urbansound8k,
    "clotho": clotho,
    "fsd50k": fsd50k,
    "audiocaps": audiocaps,
    "macs": macs,
    "ljspeech": ljspeech,
}
