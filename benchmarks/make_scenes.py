"""Scenes with sounds at known times in real backgrounds, for `lmaczs evaluate --events`.

    python benchmarks/make_scenes.py --clips test.csv --backgrounds clips.csv --background-where category=ambience \\
        --scenes 60 --out out/scenes
    python -m lmaczs evaluate --events out/scenes/events.csv --methods lmac-zs,grad-cam++ --out out/located

Each scene lasts 10 to 30 s and has one to three events of different labels; times, levels and choices hang on the seed
alone.
Writes the scenes, each event by itself (`part`), and events.csv.
"""

import argparse
import csv
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import soundfile
import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.cli.clip_arguments import key_value_pairs
from lmaczs.data.clip_table import select_clips
from lmaczs.data.clips import Clip
from lmaczs.errors import LMACError
from lmaczs.signal.audio import load_clip, resample, tile_to_length
from lmaczs.signal.mixing import FRAME, mix_at_snr

RATE = 32000
SECONDS = (10.0, 30.0)
EVENTS = (1, 2, 3)
# Of an event over the background, each where it sounds, dB.
SNR_DB = (3.0, 12.0)
# An event ends where it stays that far below its loudest 10 ms; nothing of it is shorter or longer than this, s.
QUIET_DB, SHORTEST_S, LONGEST_S = 40.0, 0.3, 5.0
PEAK = 0.9


def what_sounds(waveform: Tensor) -> Tensor:
    """A clip without the silence around it, LONGEST_S at most: (samples,)."""
    frames = waveform[: len(waveform) // FRAME * FRAME].view(-1, FRAME).square().mean(1)
    loud = (frames > frames.max() * 10 ** (-QUIET_DB / 10)).nonzero()[:, 0]
    return waveform[int(loud[0]) * FRAME : (int(loud[-1]) + 1) * FRAME][: round(LONGEST_S * RATE)]


def read(clip: Clip) -> Tensor:
    """(samples,) at RATE.

    Raises:
        AudioError: it cannot be used.
    """
    return resample(load_clip(clip.file), RATE).waveform


def make_scene(
    by_label: dict[str, list[Clip]], backgrounds: Sequence[Clip], generator: random.Random
) -> tuple[Tensor, list[tuple[str, float, float, Tensor]]]:
    """One scene.

    Returns:
        (samples,), and for each event label, onset and offset (s) and its sound alone, (samples,).

    Raises:
        AudioError: a clip cannot be used.
    """
    samples = round(generator.uniform(*SECONDS) * RATE)
    background = tile_to_length(read(generator.choice(backgrounds)), samples)
    scene, events = background, []
    for label in generator.sample(sorted(by_label), generator.choice(EVENTS)):
        sound = what_sounds(read(generator.choice(by_label[label])))
        if len(sound) < SHORTEST_S * RATE:
            continue
        _, sound = mix_at_snr(background[: len(sound)], sound, -generator.uniform(*SNR_DB))
        start = generator.randrange(samples - len(sound))
        part = torch.zeros(samples)
        part[start : start + len(sound)] = sound
        scene = scene + part
        events.append((label, start / RATE, (start + len(sound)) / RATE, part))
    gain = PEAK / float(scene.abs().max())
    return scene * gain, [(label, onset, offset, part * gain) for label, onset, offset, part in events]


def main(flags: Sequence[str] | None = None) -> None:
    """Make scenes until there are enough with an event."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", required=True, metavar="CSV", help="labelled recordings for the events")
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE")
    parser.add_argument("--backgrounds", required=True, metavar="CSV", help="recordings without events")
    parser.add_argument("--background-where", action="append", default=[], metavar="COLUMN=VALUE")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(flags)
    generator, rows = random.Random(arguments.seed), []
    try:
        clips = select_clips(arguments.clips, key_value_pairs(arguments.where, "--where")).clips
        wanted = key_value_pairs(arguments.background_where, "--background-where")
        backgrounds = select_clips(arguments.backgrounds, wanted).clips
        by_label: dict[str, list[Clip]] = {}
        for clip in clips:
            by_label.setdefault(clip.label, []).append(clip)
        if len(by_label) < max(EVENTS):
            raise LMACError(f"--clips has {len(by_label)} labels: at least {max(EVENTS)} are needed.")
        arguments.out.mkdir(parents=True, exist_ok=True)
        for number in tqdm(range(arguments.scenes), desc="scenes", unit="scene"):
            events: list[tuple[str, float, float, Tensor]] = []
            while not events:
                scene, events = make_scene(by_label, backgrounds, generator)
            name = f"scene-{number:03d}"
            soundfile.write(arguments.out / f"{name}.wav", scene.numpy(), RATE, subtype="PCM_24")
            for place, (label, onset, offset, part) in enumerate(events):
                file = f"{name}-{place}.wav"
                soundfile.write(arguments.out / file, part.numpy(), RATE, subtype="PCM_24")
                rows.append((f"{name}.wav", f"{onset:.3f}", f"{offset:.3f}", label, file))
    except LMACError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    with (arguments.out / "events.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "onset", "offset", "label", "part"))
        writer.writerows(rows)


if __name__ == "__main__":
    main()
