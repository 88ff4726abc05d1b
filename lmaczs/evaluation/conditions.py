"""What the classifier hears: clips as they are, or with another sound over them at a stated level."""

import csv
import hashlib
import io
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from lmaczs.data.clip_table import select_clips
from lmaczs.data.clips import Clip
from lmaczs.data.sources import list_source
from lmaczs.errors import LMACError
from lmaczs.evaluation.provenance import sound_sha256
from lmaczs.signal.audio import load_clip, resample, tile_to_length
from lmaczs.signal.mixing import mix_at_snr, white_noise

CONDITIONS = {
    "none": "the clips as they are",
    "white": "white noise over each clip",
    "same": "another clip of the same set, of another label, over each clip",
    "speech": "somebody talking over each clip",
}
LIST_COLUMNS = ("condition", "path", "contaminant", "snr_db")


@dataclass(frozen=True)
class Scene:
    """What is heard, and what it is made of.

    Attributes:
        waveform: (samples,) at the backend's rate; the clip's own level is kept.
        parts: (clip, contaminant) as they are heard in it, or None for a clean clip.
    """

    waveform: Tensor
    parts: tuple[Tensor, Tensor] | None = None


class Contamination:
    """Draws and adds contaminants; the same seed gives each clip the same one, whatever else is evaluated."""

    def __init__(
        self,
        snr_db: float = 3.0,
        seed: int = 0,
        pool: Sequence[Clip] = (),
        speech: Sequence[Clip] = (),
    ) -> None:
        """Choose what can be drawn.

        Args:
            snr_db: power of the clip over that of the contaminant, each measured where it sounds, dB.
            seed: of the draws and of the noise.
            pool: clips for the condition "same".
            speech: clips for the condition "speech".
        """
        self.snr_db, self._seed = snr_db, seed
        self._pools = {"same": tuple(pool), "speech": tuple(speech)}

    def contaminant(self, condition: str, clip: Clip) -> Clip | int | None:
        """What lies over a clip: another clip, the seed of white noise, or nothing.

        Args:
            condition: key in `CONDITIONS`.
            clip: the clip.

        Raises:
            LMACError: nothing fits the clip.
        """
        if condition == "none":
            return None
        number = _number(f"{self._seed} {condition} {clip.path}")
        if condition == "white":
            return number
        others = self._pools[condition]
        if condition == "same":
            others = tuple(other for other in others if other.label != clip.label)
        others = tuple(other for other in others if other.file != clip.file)
        if not others:
            raise LMACError(
                f"There is no clip for the contamination '{condition}' of '{Path(clip.path).name}': it takes "
                + ("clips of at least two labels." if condition == "same" else "recordings in --speech.")
            )
        return random.Random(number).choice(others)

    def scene(self, condition: str, clip: Clip, sample_rate: int) -> Scene:
        """What is heard of a clip in a condition; a short contaminant is repeated, a long one cut.

        Args:
            condition: key in `CONDITIONS`.
            clip: the clip.
            sample_rate: wanted, Hz.

        Raises:
            LMACError: one of the recordings cannot be used.
        """
        waveform = _load(clip, sample_rate)
        other = self.contaminant(condition, clip)
        if other is None:
            return Scene(waveform)
        if isinstance(other, int):
            sound = white_noise(len(waveform), other)
        else:
            try:
                sound = tile_to_length(_load(other, sample_rate), len(waveform))
            except LMACError as error:
                raise LMACError(f"The contaminant cannot be used: {error}") from error
        mixture, heard = mix_at_snr(waveform, sound, self.snr_db)
        return Scene(mixture, (waveform, heard))

    def sound_sha256(self, condition: str, clip: Clip) -> str:
        """Hash of what is heard of a clip in a condition, without decoding it.

        Args:
            condition: key in `CONDITIONS`.
            clip: the clip.
        """
        other = self.contaminant(condition, clip)
        if other is None:
            return sound_sha256(clip.file)
        return sound_sha256(clip.file, other.file if isinstance(other, Clip) else other, self.snr_db)

    def table(self, conditions: Iterable[str], clips: Sequence[Clip]) -> str:
        """The list of all contaminants as CSV, so that anyone can make the same sounds again."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(LIST_COLUMNS)
        for condition in conditions:
            for clip in clips:
                other = self.contaminant(condition, clip)
                if other is not None:
                    writer.writerow((condition, clip.path, contaminant_name(other), self.snr_db))
        return text.getvalue()

    def settings(self, conditions: Iterable[str]) -> dict[str, str | float]:
        """What decides the contaminants, by name; none for clean clips alone."""
        used = [condition for condition in conditions if condition != "none"]
        pools = {
            f"clips_for_{name}": hashlib.sha256("\n".join(clip.path for clip in pool).encode()).hexdigest()[
                :16
            ]
            for name, pool in self._pools.items()
            if name in used
        }
        return {"snr_db": self.snr_db, **pools} if used else {}


def contaminant_name(contaminant: Clip | int | None) -> str:
    """How a contaminant is written in result files."""
    if isinstance(contaminant, int):
        return f"white noise, seed {contaminant}"
    return "" if contaminant is None else contaminant.path


def speech_clips(source: str | Path, where: Mapping[str, str] | None = None) -> tuple[Clip, ...]:
    """Recordings of speech from a clip table or a folder.

    Args:
        source: CSV with the columns path and label, or a folder, which is searched with all below it.
        where: column -> value that a line of the table must have.

    Raises:
        LMACError: nothing is found.
    """
    source = Path(source)
    if not source.is_dir():
        return select_clips(source, where).clips
    if where:
        raise LMACError(f"--speech names the folder '{source.name}', which has no columns to choose by.")
    clips = list_source(str(source)).clips
    # The order decides what a seed draws: folder by folder.
    ordered = sorted(clips, key=lambda clip: clip.path.split("/"))
    return tuple(replace(clip, labels=("speech",)) for clip in ordered)


def _load(clip: Clip, sample_rate: int) -> Tensor:
    return resample(load_clip(clip.file), sample_rate).waveform


def _number(text: str) -> int:
    """A seed for a text; below 2^53, so that it survives any table."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")
