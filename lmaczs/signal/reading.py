"""One channel of a file, block by block, by the decoder that gets all of it."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import soxr

from lmaczs.errors import AudioError
from lmaczs.signal import levels as limits
from lmaczs.signal.containers import Layout, layout_of
from lmaczs.signal.decoding import UNREADABLE, Decoder, by_libsndfile, size_of
from lmaczs.signal.ffmpeg import Undecodable, by_ffmpeg, container_name, program
from lmaczs.signal.formats import FORMATS
from lmaczs.signal.levels import Levels, check_form, check_length

# Without a wanted rate a sound is kept at its own, up to as many samples as the longest one has at this rate.
KEPT_RATE = 48000
FRESH = 1 << 20
# Samples that encoders add at an end; less is no part of a sound that is missing.
FRAME_SAMPLES = 1152
# Formats that state how long the whole file's sound is, and where others read on to the file's end.
LENGTH_IN_HEADER = ("AU", "NIST", "IRCAM", "AVR", "PVF", "PAF")
LOOSE_BYTES = 1024


@dataclass(frozen=True, eq=False)
class Heard:
    """One channel of a file.

    Attributes:
        mono: (samples,) float32 at `mono_rate`.
        mono_rate: Hz.
        rate: the file's own, Hz.
        levels: of the file, at its own rate.
        format: libsndfile's name of it; "" from ffmpeg.
        frame_bytes: that a frame takes in the file; 0 if it is compressed.
        cut: its end is missing.
        damaged: something in it could not be decoded.
        decoder: opens it again.
    """

    mono: np.ndarray
    mono_rate: int
    rate: int
    levels: Levels
    format: str
    frame_bytes: int
    cut: bool
    damaged: bool
    decoder: Decoder

    @property
    def seconds(self) -> float:
        """Length."""
        return self.levels.frames / self.rate


class _Buffer:
    """Collects samples, at the wanted rate, and holds them once."""

    def __init__(self, rate: int, wanted: int | None) -> None:
        self.rate = rate
        self._bounded = wanted is None and rate > KEPT_RATE
        self._resampler: soxr.ResampleStream | None = None
        self._values, self._count = np.empty(0, np.float32), 0
        if wanted is not None:
            self._change_rate(wanted)

    def add(self, block: np.ndarray) -> None:
        if self._bounded and self._count + len(block) > limits.MAX_SECONDS * KEPT_RATE:
            self._bounded = False
            before, self._count = self._values[: self._count], 0
            self._values = np.empty(0, np.float32)
            self._change_rate(KEPT_RATE)
            for first in range(0, len(before), FRESH):
                self.add(before[first : first + FRESH])
        if self._resampler is not None:
            block = self._resampler.resample_chunk(block)
        self._append(block)

    def finished(self) -> np.ndarray:
        if self._resampler is not None:
            self._append(self._resampler.resample_chunk(np.empty(0, np.float32), last=True))
        # In place: two copies of a long recording would be twice the memory.
        self._values.resize(self._count, refcheck=False)
        return self._values

    def _append(self, block: np.ndarray) -> None:
        needed = self._count + len(block)
        if needed > len(self._values):
            self._values.resize(needed + max(FRESH, needed // 4), refcheck=False)
        self._values[self._count : needed] = block
        self._count = needed

    def _change_rate(self, rate: int) -> None:
        if rate != self.rate:
            self._resampler = soxr.ResampleStream(self.rate, rate, 1, dtype="float32")
        self.rate = rate


def gather(decoder: Decoder, shown: str, sample_rate: int | None, channel: int | None = None) -> Heard:
    """Decode a file once, from front to back, with one block in memory besides what is kept.

    Args:
        decoder: opens the file.
        shown: its name in messages.
        sample_rate: wanted, Hz; None: its own, or `KEPT_RATE` where that would be too much to keep.
        channel: to take; None averages all.

    Raises:
        AudioError: rate or channels are none that a recording has, or it is too long.
        UNREADABLE: it cannot be decoded.
    """
    with decoder() as sound:
        check_form(sound.rate, sound.channels, shown)
        levels, buffer = Levels(sound.channels), _Buffer(sound.rate, sample_rate)
        for block in sound.blocks:
            mono = block.mean(axis=1) if channel is None else np.ascontiguousarray(block[:, channel])
            levels.add(block, mono)
            if levels.frames > limits.MAX_SECONDS * sound.rate:
                check_length(levels.frames, sound.rate, shown)
            buffer.add(mono)
        values = buffer.finished()
        return Heard(
            values,
            buffer.rate,
            sound.rate,
            levels,
            sound.format,
            sound.frame_bytes,
            sound.cut,
            bool(sound.damage),
            decoder,
        )


def hear(path: bytes, shown: str, sample_rate: int | None) -> tuple[Heard, tuple[str, ...]]:
    """Read a file by libsndfile, or by ffmpeg where that gets more of it.

    Args:
        path: of a regular file, absolute.
        shown: its name in messages.
        sample_rate: see `gather`.

    Returns:
        What was read, and what a listener has to know about it.

    Raises:
        AudioError: see `gather`; or nothing can read it, or nothing that is here can read all of it.
    """
    with open(path, "rb") as file:
        head = file.read(64)
        size = size_of(file)
        layout = layout_of(file, size, limits.MAX_SECONDS)
    first = second = fault = None
    try:
        first = gather(partial(by_libsndfile, path, layout), shown, sample_rate)
    except UNREADABLE as error:
        fault = error
    if first is None or _lacks(first, layout, size):
        try:
            second = gather(partial(by_ffmpeg, path, shown, limits.MAX_SECONDS), shown, sample_rate)
        except Undecodable as error:
            if first is None:
                raise _unreadable(shown, head, error) from fault
            _refuse_part(first, layout, shown)
    heard = max((found for found in (first, second) if found is not None), key=lambda found: found.seconds)
    return heard, _notes(heard, layout)


def _notes(heard: Heard, layout: Layout) -> tuple[str, ...]:
    """What is missing, one sentence each, without the file's name: pages show them to whoever has the same file."""
    notes = []
    used = f"the {heard.seconds:.1f} s that could be read are used."
    # Where streams are joined decoders stumble, and lose nothing.
    whole = layout.seconds is not None and (layout.seconds - heard.seconds) * heard.rate <= 2 * FRAME_SAMPLES
    if heard.cut or layout.cut or 0 < heard.levels.frames < layout.stated_samples:
        notes.append(f"The recording is cut off, its end is missing: {used}")
    elif layout.damaged or (not whole and (heard.damaged or layout.seconds is not None)):
        notes.append(f"The recording is damaged or cut off: {used}")
    if layout.more:
        notes.append(f"The file holds more sound, behind the end of what players play: {used}")
    return tuple(notes)


def _lacks(heard: Heard, layout: Layout, size: int) -> bool:
    """Whether a file may hold more than libsndfile gave."""
    if heard.damaged or not heard.levels.frames:
        return True
    if layout.seconds is not None:
        return (layout.seconds - heard.seconds) * heard.rate > FRAME_SAMPLES
    loose = size - heard.levels.frames * heard.frame_bytes
    return heard.format in LENGTH_IN_HEADER and heard.frame_bytes > 0 and loose > LOOSE_BYTES


def _refuse_part(heard: Heard, layout: Layout, shown: str) -> None:
    """Refuse what is known to be longer than what was read, if ffmpeg is not here to read it."""
    if program() is None and (layout.seconds or 0.0) > heard.seconds:
        raise AudioError(
            f"'{shown}' holds about {layout.seconds:.1f} s, of which {heard.seconds:.1f} s can be read here: install "
            "ffmpeg, or save it as wav, flac or ogg."
        )


def _unreadable(shown: str, head: bytes, error: Undecodable) -> AudioError:
    container = container_name(head)
    if program() is None:
        if container is None:
            return AudioError(
                f"'{shown}' cannot be read as sound: it is damaged, no recording, or of a kind that needs the program "
                f"ffmpeg, which is not on this machine. Choose a {FORMATS} file that plays."
            )
        return AudioError(
            f"'{shown}' is a {container} recording, and reading those needs the program ffmpeg, which is not "
            "on this machine: install ffmpeg, or save the recording as wav, flac, ogg or mp3."
        )
    if error.final:
        return error
    if container is None:
        return AudioError(
            f"'{shown}' cannot be read as sound: it is damaged or no recording. Choose a {FORMATS} file that plays."
        )
    return AudioError(
        f"'{shown}' looks like a {container} recording, but no sound could be decoded from it: check that it plays, or "
        "save it as wav, flac, ogg or mp3."
    )
