"""Mix clips of ESC-50 into a small set in SONYC-UST's layout, with eight tags.

    python -m train.make_tagged_mixtures --clips data/clips.csv --hold-out 4 --out runs/tagged-mixtures

Mixtures of the split "validate" are made of clips of the held-out fold alone. Takes a minute.
"""

import argparse
import sys
from pathlib import Path

if not __package__:  # started as a file: put the repository in the place of this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import soundfile
from tqdm import tqdm

from lmaczs.data.shards import load_dataset_clip
from lmaczs.signal.audio import resample, tile_to_length
from lmaczs.signal.mixing import mix_at_gains
from train.clips import read_clips, split_clips
from train.plain_errors import plain_errors
from train.tagged_mixtures import draw_recipes, write_tables

RATE, SECONDS = 16000, 5


def make(csv_path: Path, hold_out: str, out: Path, counts: dict[str, int], seed: int = 0) -> None:
    """Write the set.

    Args:
        csv_path: table with ESC-50 in it, dataset "esc50".
        hold_out: fold whose clips make the split "validate".
        out: new folder.
        counts: mixtures of each split, "train" and "validate".
        seed: of the draw.
    """
    clips = [clip for clip in read_clips(csv_path) if clip.dataset == "esc50"]
    train, held_out = split_clips(clips, [f"esc50:{hold_out}"])
    (out / "audio").mkdir(parents=True, exist_ok=True)
    rows: dict[str, tuple[str, tuple[str, ...]]] = {}
    for split, group in (("train", train), ("validate", held_out[f"esc50:{hold_out}"])):
        recipes = draw_recipes([clip.label for clip in group], counts[split], seed + (split != "train"))
        for number, recipe in enumerate(tqdm(recipes, desc=split, unit="mixture")):
            parts = [
                tile_to_length(
                    resample(load_dataset_clip(group[place].source), RATE).waveform, SECONDS * RATE
                )
                for place in recipe.parts
            ]
            name = f"{split}-{number:05d}.wav"
            mixture = mix_at_gains(parts, recipe.gains_db)
            soundfile.write(out / "audio" / name, mixture.numpy(), RATE, subtype="PCM_16")
            rows[name] = split, recipe.tags
    write_tables(out, rows)


def main() -> None:
    """Read the flags and make the set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, required=True, help="CSV with ESC-50 in it")
    parser.add_argument("--hold-out", default="4", help="fold of the split 'validate' (4)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--train", type=int, default=1500, help="mixtures to train with (1500)")
    parser.add_argument("--validate", type=int, default=300, help="mixtures to test with (300)")
    arguments = parser.parse_args()
    counts = {"train": arguments.train, "validate": arguments.validate}
    make(arguments.clips, arguments.hold_out, arguments.out, counts)


if __name__ == "__main__":
    with plain_errors():
        main()
