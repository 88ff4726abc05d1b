"""What a sound must be to be accepted: rate, channels, length, and samples that are numbers and not silence."""

import numpy as np

from lmaczs.errors import AudioError

MIN_SECONDS = 0.1
MAX_SECONDS = 1800.0
# Hz.
MIN_RATE, MAX_RATE = 4000, 768_000
MAX_CHANNELS = 64
# Swing below this is silence; 16-bit sound starts at -90.
SILENCE_DBFS = -80.0
# 40 dB above full scale; integers stored as floats are far above that.
MAX_AMPLITUDE = 100.0
# Power of the mean of channels, of what channels without any likeness would give: 10 dB less are in opposite phase.
CANCELLED = 0.1


class Levels:
    """Length and levels of a sound, fed block by block.

    Attributes:
        frames: samples of each channel so far.
    """

    def __init__(self, channels: int) -> None:
        """Start with nothing."""
        self.frames = 0
        self.channels = channels
        self._low, self._high, self._bad = np.inf, -np.inf, 0
        # Of every channel, and of their mean in the last place.
        self._sums = np.zeros(channels + 1)
        self._squares = np.zeros(channels + 1)

    def add(self, block: np.ndarray, mono: np.ndarray) -> None:
        """Take in a block (frames, channels) and its one channel (frames,)."""
        if not len(mono):
            return
        self.frames += len(mono)
        low, high = float(mono.min()), float(mono.max())
        if not np.isfinite(low + high):
            self._bad += int(np.count_nonzero(~np.isfinite(mono)))
            return
        self._low, self._high = min(self._low, low), max(self._high, high)
        if self.channels > 1:
            for place, values in enumerate((*block.T, mono)):
                self._sums[place] += values.sum(dtype=np.float64)
                self._squares[place] += np.dot(values, values)

    def loudest_if_cancelled(self) -> int | None:
        """The loudest channel, if the mean of the channels lost nearly all of their sound; else None."""
        if self.channels < 2 or not self.frames or self._bad:
            return None
        # Without a constant offset, which nobody hears.
        powers = self._squares / self.frames - (self._sums / self.frames) ** 2
        loudest = int(powers[:-1].argmax())
        audible = powers[loudest] > 10 ** (SILENCE_DBFS / 10) / 2
        unlike = powers[:-1].sum() / self.channels**2
        return loudest if audible and powers[-1] < CANCELLED * unlike else None

    def check(self, rate: int, shown: str, allow_silence: bool = False) -> None:
        """Judge the whole sound.

        Raises:
            AudioError: it is empty, too short, too long, not finite, far too loud or silent.
        """
        check_length(self.frames, rate, shown)
        if self._bad:
            raise AudioError(
                f"'{shown}' holds {self._bad} samples that are not finite numbers (NaN or infinity): export it again, "
                "for example as 16-bit wav."
            )
        peak = max(-self._low, self._high)
        if peak > MAX_AMPLITUDE:
            raise AudioError(
                f"'{shown}' reaches an amplitude of {peak:.3g}, full scale is 1: divide the samples by their full "
                "scale, or export it again, for example as 16-bit wav."
            )
        swing = (self._high - self._low) / 2
        if swing < 10 ** (SILENCE_DBFS / 20) and not allow_silence:
            level = f"{20 * np.log10(swing):.0f} dBFS" if swing > 0 else "exactly zero"
            mixed = " after averaging its channels" if self.channels > 1 else ""
            raise AudioError(
                f"'{shown}' is silent (peak {level}{mixed}): nothing can be explained in silence; choose a "
                f"recording whose peak is above {SILENCE_DBFS:.0f} dBFS."
            )


def check_form(rate: int, channels: int, shown: str) -> None:
    """Judge rate and channels.

    Raises:
        AudioError: no recording has such.
    """
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(
            f"'{shown}' has a sample rate of {rate} Hz: {MIN_RATE} Hz to {MAX_RATE} Hz are accepted; convert "
            "it, for example to 44100 Hz."
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(
            f"'{shown}' has {channels} channels: 1 to {MAX_CHANNELS} are accepted; mix it down to mono."
        )


def check_length(frames: int, rate: int, shown: str) -> None:
    """Judge a length that was counted.

    Raises:
        AudioError: it is empty, too short or too long.
    """
    if frames > MAX_SECONDS * rate:
        raise AudioError(
            f"'{shown}' is too long (more than {MAX_SECONDS / 60:.0f} min): recordings up to {MAX_SECONDS / 60:.0f} "
            "min are accepted; cut out the part that matters."
        )
    if frames <= 0:
        raise AudioError(f"'{shown}' holds no sound at all (0 samples): choose a file with sound in it.")
    if frames < MIN_SECONDS * rate:
        raise AudioError(
            f"'{shown}' is too short ({frames / rate:.3f} s): at least {MIN_SECONDS} s are needed; choose a "
            "longer recording."
        )
