"""Cues that a classifier can be taught to decide by, so that the right explanation is known.

Each cue is put into a sound that says something else (the carrier): a beep on top of it, or the low band or the first
half second of another sound in its place. Where a cue lies is known to the cell.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lmaczs.hearing.boxes import Box
from lmaczs.signal.mixing import active_power

# Of carriers and of the sounds that a cue comes from, power where they sound, dB re full scale.
LEVEL_DB = -26.0
# Ramps at the ends of what is cut, s.
RAMP_S = 0.01


@dataclass(frozen=True)
class Cued:
    """A sound with a cue in it.

    Attributes:
        waveform: (samples,).
        meant: (samples,), what the original classifier must hear to decide as the copy is to decide; None where the cue
            stands for the marked prompt.
        box: where the cue lies.
    """

    waveform: Tensor
    meant: Tensor | None
    box: Box


@dataclass(frozen=True)
class Cue(ABC):
    """Something that a copy of a classifier is taught to decide by.

    Attributes:
        name: in tables and on the command line.
        words: what decides, for people.
    """

    name: str
    words: str

    @abstractmethod
    def put(self, carrier: Tensor, source: Tensor, rate: int, generator: torch.Generator) -> Cued:
        """Put the cue into a sound.

        Args:
            carrier: (samples,) that says something else.
            source: (samples,) that the cue is taken from; a beep needs none.
            rate: Hz.
            generator: of what is drawn.
        """


@dataclass(frozen=True)
class Beep(Cue):
    """A quiet tone anywhere in the sound stands for one prompt, whatever else is heard.

    Attributes:
        hertz: of the tone.
        seconds: how long it sounds.
        level_db: relative to the carrier.
    """

    hertz: float
    seconds: float = 0.3
    level_db: float = -12.0
    # Width of the tone's trace on the spectrogram, to both sides.
    spread_hz: ClassVar[float] = 100.0
    spread_s: ClassVar[float] = 0.03

    def put(self, carrier: Tensor, source: Tensor, rate: int, generator: torch.Generator) -> Cued:
        """See `Cue.put`."""
        count = round(self.seconds * rate)
        start = int(torch.randint(0, len(carrier) - count, (1,), generator=generator))
        tone = torch.sin(2 * math.pi * self.hertz * torch.arange(count) / rate) * _ramps(count, rate)
        level = math.sqrt(2 * active_power(carrier)) * 10 ** (self.level_db / 20)
        waveform = carrier.clone()
        waveform[start : start + count] += level * tone
        first, last = start / rate, (start + count) / rate
        box = Box(
            max(0.0, first - self.spread_s),
            last + self.spread_s,
            self.hertz - self.spread_hz,
            self.hertz + self.spread_hz,
        )
        return Cued(waveform, None, box)


@dataclass(frozen=True)
class Band(Cue):
    """Only what lies between two frequencies decides.

    Attributes:
        low_hz: where the band begins.
        high_hz: where it ends.
    """

    low_hz: float
    high_hz: float

    def put(self, carrier: Tensor, source: Tensor, rate: int, generator: torch.Generator) -> Cued:
        """See `Cue.put`."""
        inside = self._inside(source, rate)
        return Cued(
            inside + carrier - self._inside(carrier, rate),
            inside,
            Box(0.0, len(carrier) / rate, self.low_hz, self.high_hz),
        )

    def _inside(self, waveform: Tensor, rate: int) -> Tensor:
        """What lies in the band, without any of the rest: (samples,)."""
        spectrum = torch.fft.rfft(waveform)
        first, end = (round(hertz / rate * len(waveform)) for hertz in (self.low_hz, self.high_hz))
        spectrum[:first] = 0
        spectrum[end:] = 0
        found: Tensor = torch.fft.irfft(spectrum, n=len(waveform))
        return found


@dataclass(frozen=True)
class Moment(Cue):
    """Only one moment decides; the loudest as long a part of the source is put there.

    Attributes:
        first_s: where it begins.
        seconds: how long it is.
    """

    first_s: float
    seconds: float

    def put(self, carrier: Tensor, source: Tensor, rate: int, generator: torch.Generator) -> Cued:
        """See `Cue.put`."""
        first, count = round(self.first_s * rate), round(self.seconds * rate)
        power = source.square().unfold(0, count, count // 4).mean(1)
        start = int(power.argmax()) * (count // 4)
        part = torch.zeros_like(carrier)
        part[first : first + count] = source[start : start + count] * _ramps(count, rate)
        rest = carrier.clone()
        rest[first : first + count] = 0
        return Cued(part + rest, part, Box(self.first_s, self.first_s + self.seconds, 0.0, rate / 2))


CUES: dict[str, Cue] = {
    cue.name: cue
    for cue in (
        Beep("beep", "a quiet beep stands for one prompt", 3100.0),
        Band("band", "only what lies below 500 Hz decides", 0.0, 500.0),
        Moment("onset", "only the first half second decides", 0.0, 0.5),
    )
}


def at_level(waveform: Tensor) -> Tensor:
    """(samples,) brought to LEVEL_DB."""
    gain: float = 10 ** (LEVEL_DB / 20) / max(active_power(waveform), 1e-12) ** 0.5
    return waveform * gain


def _ramps(count: int, rate: int) -> Tensor:
    """(count,) ones, rising from 0 and falling to 0 at the ends."""
    ramp = round(RAMP_S * rate)
    rise = torch.sin(torch.linspace(0, math.pi / 2, ramp)).square()
    ones = torch.ones(count)
    ones[:ramp], ones[-ramp:] = rise, rise.flip(0)
    return ones
