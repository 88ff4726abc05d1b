"""Recordings as blocks of samples, by libsndfile where it can; one block in memory at a time."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

import numpy as np
import soundfile

from lmaczs.signal.containers import Layout, Part, PartReader

BLOCK_VALUES = 1 << 20
# libsndfile gives nothing of a block in which it meets damage.
SMALL_BLOCK = 1024
# What libsndfile's parsers raise.
UNREADABLE = (soundfile.SoundFileError, OSError, RuntimeError, TypeError, ValueError)
# libsndfile's length of a stream that does not state it.
UNKNOWN_FRAMES = 1 << 62
# A header written before the length was known.
UNSTATED_BYTES = 0x7FFF0000
# libsndfile's log of a chunk of samples that is longer than the file.
SHORTENED = re.compile(
    r"^\s*(?:data|SSND|BODY|riff|Data [Ss]ize|Data length)\s*:?\s*(\d+) \(?should be (\d+)", re.M
)
SAID_CUT = ("seems to be truncated", "does not match value from 'ds64'")
PLAIN_BYTES = {
    "PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1,
}  # fmt: skip


@dataclass
class Decoded:
    """Sound as it comes out of a file.

    Attributes:
        rate: Hz.
        channels: of every block.
        blocks: (frames, channels) float32 each, from front to back, once.
        format: libsndfile's name of it; "" from ffmpeg.
        frame_bytes: that a frame takes in the file; 0 if it is compressed.
        damage: set while blocks are read: what stopped them, or was passed over.
        cut: set while blocks are read: the file states more than it holds.
    """

    rate: int
    channels: int
    blocks: Iterator[np.ndarray]
    format: str = ""
    frame_bytes: int = 0
    damage: str = field(default="")
    cut: bool = field(default=False)


Decoder = Callable[[], AbstractContextManager[Decoded]]


class Uneven(ValueError):
    """Streams of one file differ in rate or channels."""


class _Stream(soundfile.SoundFile):  # type: ignore[misc]  # has no types
    """A recording that is read from front to back, without the seek that soundfile makes after each block.

    That seek fails at the end of a stream whose header does not state its length, such as flac from a pipe.
    """

    def seekable(self) -> bool:
        """Never asked to seek."""
        return False


@contextmanager
def by_libsndfile(path: bytes, layout: Layout) -> Iterator[Decoded]:
    """Open a file with libsndfile.

    Args:
        path: of the file.
        layout: its streams.

    Raises:
        UNREADABLE: libsndfile does not know it; also from the blocks, for a stream behind the first.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open(path, "rb", buffering=0)) if layout.parts else None

        def opened(part: Part | None) -> _Stream:
            return _Stream(path) if file is None or part is None else _Stream(PartReader(file, part))

        parts: tuple[Part | None, ...] = layout.parts or (None,)
        with opened(parts[0]) as first:
            sound = Decoded(first.samplerate, first.channels, iter(()), first.format)
            sound.frame_bytes = PLAIN_BYTES.get(first.subtype, 0) * first.channels
            sound.cut = layout.cut
            sound.blocks = _blocks_of(first, parts, opened, sound)
            yield sound


def _blocks_of(
    first: _Stream, parts: tuple[Part | None, ...], opened: Callable[[Part | None], _Stream], sound: Decoded
) -> Iterator[np.ndarray]:
    yield from _blocks(first, partial(opened, parts[0]), sound)
    for part in parts[1:]:
        with opened(part) as stream:
            if (stream.samplerate, stream.channels) != (sound.rate, sound.channels):
                raise Uneven("streams of different rates or channels")
            yield from _blocks(stream, partial(opened, part), sound)


def _blocks(stream: _Stream, again: Callable[[], _Stream], sound: Decoded) -> Iterator[np.ndarray]:
    size, done = max(BLOCK_VALUES // stream.channels, 1), 0
    try:
        while len(block := stream.read(size, dtype="float32", always_2d=True)):
            done += len(block)
            yield block
    except (soundfile.SoundFileError, RuntimeError):
        sound.damage = "it is damaged"
        for block in _up_to_damage(again, done, size):
            done += len(block)
            yield block
    stated = stream.frames
    # The length of MPEG streams is an estimate, whatever they are in.
    counted = not stream.subtype.startswith("MPEG")
    sound.cut |= (counted and done < stated < UNKNOWN_FRAMES) or _says_cut(stream.extra_info)


def _up_to_damage(again: Callable[[], _Stream], done: int, size: int) -> Iterator[np.ndarray]:
    """What stands before the damage in the block that holds it, by smaller ones; `done` frames are known."""
    with again() as stream, suppress(soundfile.SoundFileError, RuntimeError):
        while done > 0:
            done -= len(stream.read(min(size, done), dtype="float32", always_2d=True)) or done
        while len(block := stream.read(SMALL_BLOCK, dtype="float32", always_2d=True)):
            yield block


def _says_cut(log: str) -> bool:
    """Whether libsndfile met the end of the file before that of the sound."""
    found = [(int(stated), int(held)) for stated, held in SHORTENED.findall(log)]
    return any(held < stated < UNSTATED_BYTES for stated, held in found) or any(
        words in log for words in SAID_CUT
    )


def size_of(file: BinaryIO) -> int:
    """Bytes of an open file."""
    return os.fstat(file.fileno()).st_size
