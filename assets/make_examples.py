"""Make the example sounds of the page: mixtures whose parts are known, because a recipe says what went in.

    python assets/make_examples.py                # writes assets/examples/*.wav and examples.json
    python assets/make_examples.py --parts out    # and every part on its own, as loud as it is in the mixture

Needs espeak-ng for the speech. Every run gives the same files, bit for bit, with the same espeak-ng.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

import sounds
from sounds import SAMPLE_RATE, Waveform

EXAMPLES = Path(__file__).parent / "examples"
ORIGIN = "made by this project, assets/make_examples.py"
LICENCE = "Apache-2.0"
FLOOR_DB = -66.0  # noise of a quiet microphone, RMS re full scale: no real recording is digitally silent


@dataclass(frozen=True)
class Part:
    """One sound in a mixture.

    Attributes:
        sound: key of SOUNDS, or "speech: WORDS".
        gain_db: level relative to the sound's own -20 dB RMS.
        start_s: where it begins, s.
        duration_s: how long it lasts, s; None is until the end.
    """

    sound: str
    gain_db: float = 0.0
    start_s: float = 0.0
    duration_s: float | None = None


@dataclass(frozen=True)
class Recipe:
    """One example.

    Attributes:
        name: file stem.
        title: a few words.
        parts: what is in it.
        prompts: sentences offered for it; the first ones name the parts, the others are not in it.
        duration_s: length, s.
    """

    name: str
    title: str
    parts: tuple[Part, ...]
    prompts: tuple[str, ...]
    duration_s: float = 5.0


SOUNDS: dict[str, Callable[[float, np.random.Generator], Waveform]] = {
    "siren": sounds.siren,
    "rain": sounds.rain,
    "church bells": sounds.church_bell,
    "crickets": sounds.crickets,
    "engine": sounds.engine,
    "car horn": sounds.car_horn,
    "alarm clock": sounds.alarm_clock,
    "door knock": sounds.door_knock,
    "clock": sounds.clock_tick,
    "sea waves": sounds.sea_waves,
    "birds": sounds.bird_song,
    "helicopter": sounds.helicopter,
    "vacuum cleaner": sounds.vacuum_cleaner,
}

RECIPES = (
    Recipe(
        "knock-and-alarm",
        "A knock on the door while the alarm rings",
        (Part("door knock", 2.0), Part("alarm clock", -10.0)),
        (
            "someone knocking on a door",
            "an alarm clock beeping",
            "a dog barking",
            "glass breaking",
            "footsteps",
        ),
    ),
    Recipe(
        "siren-and-engine",
        "A siren over an idling engine",
        (Part("siren", -11.0), Part("engine")),
        (
            "a siren wailing",
            "an engine idling",
            "a dog barking",
            "church bells ringing",
            "rain falling",
        ),
    ),
    Recipe(
        "speech-over-rain",
        "Someone talks in the rain",
        (
            Part("speech: I think it will stop soon. Shall we wait here?", -3.0, 0.5),
            Part("rain", -1.0),
        ),
        (
            "a person speaking",
            "rain falling",
            "a siren wailing",
            "birds chirping",
            "an engine idling",
        ),
    ),
    Recipe(
        "bells-and-crickets",
        "Church bells on a summer night",
        (Part("church bells"), Part("crickets", -5.0)),
        (
            "church bells ringing",
            "crickets chirping",
            "birds chirping",
            "a clock ticking",
            "a piano playing",
        ),
    ),
    Recipe(
        "clock-and-speech",
        "A voice in a room with a clock",
        (Part("clock", 9.0), Part("speech: It is a quarter past four.", -1.0, 1.4)),
        (
            "a clock ticking",
            "a person speaking",
            "keyboard typing",
            "footsteps",
            "someone knocking on a door",
        ),
    ),
    Recipe(
        "horn-in-rain",
        "A car horn in the rain",
        (Part("car horn", -14.0), Part("rain")),
        (
            "a car horn honking",
            "rain falling",
            "a siren wailing",
            "a train passing",
            "a person speaking",
        ),
    ),
    Recipe(
        "crickets",
        "Crickets, nothing else",
        (Part("crickets"),),
        (
            "crickets chirping",
            "birds chirping",
            "frogs croaking",
            "an alarm clock beeping",
            "rain falling",
        ),
    ),
    Recipe(
        "rainy-street",
        "Twelve seconds of a rainy street",
        (
            Part("rain", 3.0),
            Part("engine", 0.0, 0.0, 4.2),
            Part("siren", -8.0, 3.8, 4.4),
            Part("speech: Did you hear that? I think it went the other way.", 4.0, 8.4),
        ),
        (
            "rain falling",
            "an engine idling",
            "a siren wailing",
            "a person speaking",
            "church bells ringing",
            "a dog barking",
        ),
        duration_s=12.0,
    ),
    Recipe(
        "birds-by-the-sea",
        "Birds above the surf",
        (Part("birds", -3.0), Part("sea waves", -2.0)),
        (
            "birds chirping",
            "sea waves",
            "wind blowing",
            "crickets chirping",
            "a dog barking",
        ),
    ),
    Recipe(
        "helicopter-and-speech",
        "Someone calls while a helicopter hovers",
        (Part("speech: Over here! We can see you.", 2.0, 1.2), Part("helicopter", -3.0)),
        (
            "a person speaking",
            "a helicopter",
            "an engine idling",
            "a train passing",
            "a dog barking",
        ),
    ),
    Recipe(
        "knock-and-vacuum",
        "A knock that the vacuum cleaner nearly covers",
        (Part("door knock", 3.0), Part("vacuum cleaner", -6.0)),
        (
            "someone knocking on a door",
            "a vacuum cleaner",
            "a washing machine",
            "wind blowing",
            "footsteps",
        ),
    ),
    Recipe(
        "bells-and-birds",
        "Sunday morning: bells and birds",
        (Part("church bells", 0.0), Part("birds", -2.0)),
        (
            "church bells ringing",
            "birds chirping",
            "a piano playing",
            "crickets chirping",
            "an alarm clock beeping",
        ),
    ),
)


def generator(*names: str) -> np.random.Generator:
    """A random generator that depends on the names only."""
    return np.random.default_rng(zlib.crc32("/".join(names).encode()))


def speech(words: str) -> Waveform:
    """A sentence spoken by espeak-ng in a small room, RMS -20 dB re full scale."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", "-v", "en-us+f4", "-s", "150", "-w", str(file), words], check=True)
        spoken, rate = soundfile.read(file, dtype="float64")
    spoken = soxr.resample(spoken, rate, SAMPLE_RATE)
    spoken = np.concatenate([spoken, np.zeros(SAMPLE_RATE // 4)])
    return sounds.normalised(sounds.in_room(spoken, generator(words), 0.3, 0.15))


def make_part(recipe: Recipe, part: Part) -> Waveform:
    """One part alone, as loud and as late as it is in the mixture: (samples,), as long as the mixture."""
    duration_s = part.duration_s or recipe.duration_s - part.start_s
    if part.sound.startswith("speech: "):
        sound = speech(part.sound.removeprefix("speech: "))
    else:
        sound = SOUNDS[part.sound](duration_s, generator(recipe.name, part.sound))
        if duration_s < recipe.duration_s:
            edges = sounds.gate(sounds.seconds_axis(duration_s), 0.0, duration_s, 0.4)
            sound = sound * np.sin(0.5 * np.pi * edges) ** 2
    whole = np.zeros(round(recipe.duration_s * SAMPLE_RATE))
    sounds.place(whole, sound, part.start_s, 10 ** (part.gain_db / 20))
    return whole


def make_example(recipe: Recipe) -> tuple[Waveform, list[Waveform]]:
    """The mixture (samples,), peak at most 0.9, and its parts at the level that they have in it."""
    parts = [make_part(recipe, part) for part in recipe.parts]
    floor = sounds.shaped_noise(len(parts[0]), generator(recipe.name, "floor"), {50: 0, 500: -4, 8000: -10})
    mixture = sum(parts, sounds.normalised(floor, FLOOR_DB))
    scale = min(1.0, 0.9 / np.abs(mixture).max())
    return scale * mixture, [scale * part for part in parts]


def to_pcm16(waveform: Waveform) -> np.ndarray:
    """(samples,) int16."""
    return np.round(waveform * 32767).astype(np.int16)


def main() -> int:
    """Write the examples."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=Path, help="also write the parts of every mixture into this folder")
    arguments = parser.parse_args()
    if shutil.which("espeak-ng") is None:
        print("espeak-ng is missing, the voice in these sounds: apt-get install espeak-ng.", file=sys.stderr)
        return 2
    EXAMPLES.mkdir(exist_ok=True)
    rows = []
    for recipe in tqdm(RECIPES, desc="examples", unit="file"):
        mixture, parts = make_example(recipe)
        file = EXAMPLES / f"{recipe.name}.wav"
        soundfile.write(file, to_pcm16(mixture), SAMPLE_RATE, subtype="PCM_16")
        row = {"file": file.name, "title": recipe.title, "prompts": recipe.prompts}
        rows.append({**row, "origin": ORIGIN, "licence": LICENCE})
        if arguments.parts:
            arguments.parts.mkdir(parents=True, exist_ok=True)
            for part, waveform in zip(recipe.parts, parts, strict=True):
                name = f"{recipe.name}--{part.sound.split(':')[0].replace(' ', '-')}.wav"
                soundfile.write(arguments.parts / name, to_pcm16(waveform), SAMPLE_RATE, subtype="PCM_16")
    (EXAMPLES / "examples.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
