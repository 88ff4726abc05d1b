"""What a study consists of, as study.json beside its sounds; and in which order each listener meets it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lmaczs.errors import LMACError

DESIGN = "study.json"
# Parekh et al. 2022, section 4.3, word for word.
QUESTION = (
    "How well does the interpretation correspond to the part of input audio associated with the given class?"
)
CONSENT = (
    "I take part of my own will and may stop at any time. What is kept: my ratings and a random number, and nothing that "
    "says who I am."
)
# Conditions that every item has besides the methods (as in ITU-R BS.1534, MUSHRA).
REFERENCE, ANCHOR = "ideal mask", "random cells"


@dataclass(frozen=True)
class Stimulus:
    """One interpretation.

    Attributes:
        condition: method, or REFERENCE or ANCHOR; listeners never see it.
        sound: file below the study's folder; its name says nothing.
    """

    condition: str
    sound: str


@dataclass(frozen=True)
class Item:
    """One input audio with a class and all interpretations of it.

    Attributes:
        label: the given class.
        sound: file of the input audio.
        stimuli: its interpretations, in the order of `Study.conditions`.
    """

    label: str
    sound: str
    stimuli: tuple[Stimulus, ...]


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        title: for listeners.
        conditions: methods first, then REFERENCE and ANCHOR.
        items: that are rated.
        practice: an item to get used to the page; its ratings are not analysed.
        seed: of the orders.
        settings: what made it, for people.
    """

    title: str
    conditions: tuple[str, ...]
    items: tuple[Item, ...]
    practice: Item
    seed: int
    settings: dict[str, str]

    def order(self, listener: int) -> list[tuple[int, list[int]]]:
        """In which order a listener meets items, and the interpretations of each.

        Both are rows of a balanced Latin square (Williams 1949): over as many listeners as there are items, each item
        stands in each place once, and each is followed by each other equally often.

        Args:
            listener: number, from 0.

        Returns:
            (item, places of its stimuli in the order to show) each.
        """
        items = balanced_row(len(self.items), self.seed + listener)
        return [(item, balanced_row(len(self.conditions), self.seed + listener + item * 7)) for item in items]


def balanced_row(size: int, number: int) -> list[int]:
    """A row of Williams' square: of an odd size the rows come in both directions, 2 * size in all."""
    first = [0]
    for step in range(1, size):
        first.append((step + 1) // 2 if step % 2 else size - step // 2)
    row = [(place + number) % size for place in first]
    return row[::-1] if size % 2 and (number // size) % 2 else row


def write_study(study: Study, folder: Path) -> None:
    """Write study.json, last: a folder with it is whole."""
    part = folder / f"{DESIGN}.part"
    part.write_text(json.dumps(asdict(study), indent=1, ensure_ascii=False) + "\n", "utf-8")
    part.replace(folder / DESIGN)


def read_study(folder: Path) -> Study:
    """Read a study's design.

    Raises:
        LMACError: the folder holds none, or it is damaged.
    """
    try:
        found = json.loads((folder / DESIGN).read_text("utf-8"))

        def item(value: dict[str, object]) -> Item:
            stimuli: Sequence[dict[str, str]] = value["stimuli"]  # type: ignore[assignment]
            return Item(str(value["label"]), str(value["sound"]), tuple(Stimulus(**one) for one in stimuli))

        return Study(
            title=found["title"],
            conditions=tuple(found["conditions"]),
            items=tuple(map(item, found["items"])),
            practice=item(found["practice"]),
            seed=int(found["seed"]),
            settings=found["settings"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LMACError(
            f"'{folder.name}' holds no study: make one with 'lmaczs study make CLIPS --out {folder.name}'."
        ) from error
