"""A small set in SONYC-UST's layout, mixed from ESC-50: for multi-label trainings where the real recordings are missing.

Some of SONYC's coarse tags have no class of their own in ESC-50; the nearest ones stand for them (machines for
machinery, church bells for music), so figures on this set say nothing about SONYC-UST itself.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lmaczs.data.sonyc_ust import AGREED, COLUMNS, TAGS

CLASSES: dict[str, tuple[str, ...]] = {
    "engine": ("engine", "airplane", "helicopter", "train"),
    "machinery-impact": ("washing machine", "vacuum cleaner"),
    "non-machinery-impact": ("door wood knock", "glass breaking", "footsteps", "fireworks", "can opening"),
    "powered-saw": ("chainsaw", "hand saw"),
    "alert-signal": ("siren", "car horn", "clock alarm"),
    "music": ("church bells",),
    "human-voice": ("crying baby", "laughing", "coughing", "sneezing", "breathing", "snoring"),
    "dog": ("dog",),
}
SOURCES = (0.1, 0.35, 0.35, 0.2)  # how often a mixture has 0 to 3 tagged sounds
BACKGROUND_DB = (-6.0, -20.0)  # of the untagged sound beneath, re the first tagged one
GAIN_DB = 6.0  # tagged sounds differ by at most so much


@dataclass(frozen=True)
class Recipe:
    """What one mixture is made of.

    Attributes:
        parts: places of clips in the list that was given.
        gains_db: of each, re its own root mean square brought to one level.
        tags: in it, in the order of `TAGS`.
    """

    parts: tuple[int, ...]
    gains_db: tuple[float, ...]
    tags: tuple[str, ...]


def tag_of(label: str) -> str | None:
    """Tag of an ESC-50 class, with spaces or underscores in its name; None for those without one."""
    name = label.replace("_", " ")
    return next((tag for tag, classes in CLASSES.items() if name in classes), None)


def draw_recipes(labels: Sequence[str], count: int, seed: int) -> list[Recipe]:
    """Draw mixtures: up to three tagged sounds of different tags over one untagged sound.

    Args:
        labels: ESC-50 class of each clip.
        count: mixtures.
        seed: of the draw.

    Raises:
        ValueError: a tag, or the background, has no clip.
    """
    generator = torch.Generator().manual_seed(seed)
    pools: dict[str | None, list[int]] = {}
    for place, label in enumerate(labels):
        pools.setdefault(tag_of(label), []).append(place)
    if lacking := [tag or "background" for tag in (*TAGS, None) if tag not in pools]:
        raise ValueError(f"no clip for {lacking[0]}")

    def pick(tag: str | None) -> int:
        return pools[tag][int(torch.randint(len(pools[tag]), (), generator=generator))]

    def between(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    recipes = []
    for _ in range(count):
        number = int(torch.multinomial(torch.tensor(SOURCES), 1, generator=generator))
        tags = [TAGS[place] for place in torch.randperm(len(TAGS), generator=generator)[:number].tolist()]
        parts = [pick(None), *(pick(tag) for tag in tags)]
        gains = [
            between(*BACKGROUND_DB) if tags else 0.0,
            *(between(-GAIN_DB / 2, GAIN_DB / 2) for _ in tags),
        ]
        recipes.append(Recipe(tuple(parts), tuple(gains), tuple(tag for tag in TAGS if tag in tags)))
    return recipes


def write_tables(folder: Path, rows: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
    """Write `annotations.csv` as SONYC-UST has it, and `clips.csv` for the training scripts.

    Args:
        folder: of the set.
        rows: file name -> split and tags.
    """
    with (folder / "annotations.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["split", "audio_filename", "annotator_id", *COLUMNS])
        for name, (split, tags) in rows.items():
            table.writerow([split, name, AGREED, *(int(tag in tags) for tag in TAGS)])
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "dataset", "fold", "label", "captions"])
        for name, (split, tags) in rows.items():
            text = " and ".join(tags) or "noise of a street"
            table.writerow([f"audio/{name}", "tagged-mixtures", split, "", text])
