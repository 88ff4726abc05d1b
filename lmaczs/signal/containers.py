"""What a container holds, found by walking it: the lengths that files state are not believed."""

import io
import re
from dataclasses import dataclass
from typing import BinaryIO

# Pages or frames that are walked; half an hour in the smallest usual ones is a fifth of it.
MOST_STEPS = 500_000
# Streams one behind the other; a day of web radio has fewer.
MOST_PARTS = 1000
# Tags in front of a recording; chunks in front of its sound.
MOST_TAGS, MOST_CHUNKS = 20, 10_000
BLOCK = 1 << 20
# kbit/s of MPEG layers by version (1; 2 and 2.5) and layer.
BITRATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
MPEG_RATES = (44100, 48000, 32000)
# Without the bit rates that no frame has, so that long runs of ones are passed over quickly.
FRAME_START = re.compile(rb"\xff[\xe2-\xff][\x10-\xef]")
# What may stand between two frames.
BETWEEN = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS", bytes(8))


@dataclass(frozen=True)
class Part:
    """One stream of a file, read as if it were a file of its own.

    Attributes:
        start: first byte.
        stop: byte behind the last.
        patch_at: place in the file of the bytes that state a length.
        patch: what is read there instead: a length that says "unknown".
    """

    start: int
    stop: int
    patch_at: int = 0
    patch: bytes = b""


@dataclass(frozen=True)
class Layout:
    """What walking a file found.

    Attributes:
        parts: streams one behind the other; empty if the file can be opened as it is.
        seconds: that the frames of an MPEG stream amount to; None where nobody counted.
        stated_samples: length that a FLAC stream states; 0 if it does not.
        cut: the end is missing.
        damaged: something between the frames of an MPEG stream is neither a frame nor a tag.
        more: there is sound in a place where no decoder reads on.
    """

    parts: tuple[Part, ...] = ()
    seconds: float | None = None
    stated_samples: int = 0
    cut: bool = False
    damaged: bool = False
    more: bool = False


class PartReader(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, file: BinaryIO, part: Part) -> None:
        """Start at the part's first byte; the file stays the caller's."""
        self._file, self._part, self._at = file, part, part.start

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move within the part."""
        base = {io.SEEK_SET: self._part.start, io.SEEK_CUR: self._at, io.SEEK_END: self._part.stop}[whence]
        self._at = max(base + offset, self._part.start)
        return self.tell()

    def tell(self) -> int:
        """Place within the part."""
        return self._at - self._part.start

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Read up to the part's end."""
        self._file.seek(self._at)
        data = bytearray(self._file.read(max(min(len(buffer), self._part.stop - self._at), 0)))
        for place, value in enumerate(self._part.patch, start=self._part.patch_at - self._at):
            if 0 <= place < len(data):
                data[place] = value
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def layout_of(file: BinaryIO, size: int, max_seconds: float) -> Layout:
    """Walk a recording.

    Args:
        file: seekable.
        size: of it, bytes.
        max_seconds: nothing is counted beyond it.
    """
    start = _behind_tags(file)
    file.seek(start)
    head = file.read(12)
    if head.startswith(b"fLaC"):
        return _flac(file, start, size)
    if head.startswith(b"OggS"):
        return _ogg(file, start, size)
    if head[:4] in (b"RIFF", b"FORM"):
        return _riff(file, start, size)
    if _mpeg_frame(head[:4]) is not None:
        return _mpeg(file, start, size, max_seconds)
    # A tag that lies about its length.
    return _mpeg(file, 10, size, max_seconds) if start else Layout()


def _behind_tags(file: BinaryIO) -> int:
    """First byte behind ID3v2 tags."""
    at = 0
    for _ in range(MOST_TAGS):
        file.seek(at)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3" or any(byte > 127 for byte in head[6:]):
            return at
        length = int.from_bytes(head[6:7]) << 21 | head[7] << 14 | head[8] << 7 | head[9]
        at += 10 + length + (10 if head[5] & 0x10 else 0)
    return at


def _flac(file: BinaryIO, start: int, size: int) -> Layout:
    """Streams begin with "fLaC" and STREAMINFO, which states the samples in 36 bits (RFC 9639, 8.2)."""
    starts: list[int] = []
    tail, at = b"", start
    file.seek(start)
    while len(starts) <= MOST_PARTS and (block := file.read(BLOCK)):
        data = tail + block
        found = data.find(b"fLaC")
        while found >= 0:
            header = data[found + 4 : found + 8]
            if len(header) == 4 and header[0] & 0x7F == 0 and header[1:] == b"\x00\x00\x22":
                starts.append(at - len(tail) + found)
            found = data.find(b"fLaC", found + 1)
        at += len(block)
        tail = data[-7:]
    if len(starts) > MOST_PARTS:
        return Layout(more=True)
    stated, parts = 0, []
    for first, stop in zip(starts, [*starts[1:], size], strict=False):
        file.seek(first + 21)
        field = file.read(5)
        if len(field) < 5:
            break
        stated += (field[0] & 0x0F) << 32 | int.from_bytes(field[1:])
        parts.append(Part(first, stop, first + 21, bytes([field[0] & 0xF0, 0, 0, 0, 0])))
    return Layout(tuple(parts), stated_samples=stated)


def _ogg(file: BinaryIO, start: int, size: int) -> Layout:
    """Pages (RFC 3533): a stream that begins behind another's pages is chained to it."""
    starts, at, begun, ended = [start], start, False, False
    for _ in range(MOST_STEPS):
        file.seek(at)
        head = file.read(27)
        if len(head) < 27 or head[:4] != b"OggS":
            break
        body = sum(file.read(head[26]))
        first, ended = bool(head[5] & 2), bool(head[5] & 4)
        if first and begun:
            starts.append(at)
            if len(starts) > MOST_PARTS:
                return Layout(more=True)
        begun = not first
        at += 27 + head[26] + body
    else:
        return Layout()
    cut = at > size or not ended
    if len(starts) == 1:
        return Layout(cut=cut)
    stops = [*starts[1:], size]
    return Layout(tuple(Part(*ends) for ends in zip(starts, stops, strict=True)), cut=cut)


def _riff(file: BinaryIO, start: int, size: int) -> Layout:
    """Recordings in RIFF or FORM containers one behind the other; a data chunk of 0 bytes from a pipe."""
    parts: list[Part] = []
    at = start
    while at + 12 <= size:
        file.seek(at)
        head = file.read(8)
        if head[:4] not in (b"RIFF", b"FORM"):
            break
        length = int.from_bytes(head[4:], "little" if head[:4] == b"RIFF" else "big")
        stop = at + 8 + length + length % 2
        if len(parts) == MOST_PARTS:
            return Layout(more=True)
        parts.append(Part(at, min(stop, size)))
        at = stop
    if len(parts) > 1:
        return Layout(tuple(parts))
    data = _data_chunks(file, start, size)
    if len(data) == 1 and data[0][1] == 0:
        return Layout((Part(start, size, data[0][0] + 4, b"\xff\xff\xff\xff"),))
    return Layout(more=sum(length > 0 for _, length in data) > 1)


def _data_chunks(file: BinaryIO, start: int, size: int) -> list[tuple[int, int]]:
    """Places and stated bytes of a WAV's chunks of samples, up to one that states 0 and goes on to the file's end."""
    file.seek(start)
    head = file.read(12)
    found: list[tuple[int, int]] = []
    at = start + 12
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return []
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        chunk = file.read(8)
        length = int.from_bytes(chunk[4:], "little")
        if len(chunk) < 8 or len(found) == 2 or not chunk[:4].strip(b" ").isalnum():
            break
        if chunk[:4] == b"data":
            following = file.read(8)
            fits = len(following) == 8 and at + 16 + int.from_bytes(following[4:], "little") <= size
            if length or not fits or not following[:4].isalnum():
                found.append((at, length))
            if not length:
                break
        at += 8 + length + length % 2
    return found


@dataclass(frozen=True)
class _Frame:
    length: int
    samples: int
    rate: int
    # Of a Xing header behind this frame's own: version 1 has 4 + 32 (17 mono), version 2 has 4 + 17 (9).
    tag_at: int


def _mpeg_frame(head: bytes) -> _Frame | None:
    """Read the header of an MPEG audio frame (ISO 11172-3, 2.4.2.3); None if it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = (head[1] >> 3) & 3, 4 - ((head[1] >> 1) & 3)
    bitrate, rate = head[2] >> 4, (head[2] >> 2) & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    hertz = MPEG_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bits = 1000 * BITRATES[1 if version == 3 else 2, layer][bitrate - 1]
    padding, mono = (head[2] >> 1) & 1, head[3] >> 6 == 3
    if layer == 1:
        return _Frame((12 * bits // hertz + padding) * 4, 384, hertz, 0)
    samples = 576 if layer == 3 and version != 3 else 1152
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return _Frame(samples // 8 * bits // hertz + padding, samples, hertz, 4 + side)


def _mpeg(file: BinaryIO, start: int, size: int, max_seconds: float) -> Layout:
    """Count the frames of an MPEG stream, also of several one behind the other."""
    file.seek(start)
    data, base = file.read(BLOCK), start
    at, seconds, cut, first = 0, 0.0, False, True
    strange, damaged, steps = False, False, 0
    while steps < MOST_STEPS:
        steps += 1
        if len(data) - at < 4096 and (more := file.read(BLOCK)):
            base, data, at = base + at, data[at:] + more, 0
        frame = _mpeg_frame(data[at : at + 4])
        if frame is None:
            # Tags and gaps: on to the next two frames in a row.
            strange = strange or not data.startswith(BETWEEN, at)
            at, tried = _next_frame(data, at + 1)
            steps += tried
            if at < 0:
                if len(data) < BLOCK or not (more := file.read(BLOCK)):
                    break
                base, data, at = base + len(data) - 4, data[-4:] + more, 0
            continue
        tag = data[at + frame.tag_at : at + frame.tag_at + 160]
        if first and tag[:4] in (b"Xing", b"Info"):
            seconds -= _gapless(tag) / frame.rate
        else:
            seconds += frame.samples / frame.rate
        first = False
        # At the end of a file anything may stand.
        damaged = damaged or strange
        at += frame.length
        cut = base + at > size
        if seconds > max_seconds + 1:
            break
    return Layout(seconds=seconds, cut=cut, damaged=damaged) if seconds > 0 else Layout()


def _next_frame(data: bytes, at: int) -> tuple[int, int]:
    """Place of the next frame that another follows, -1 if there is none; and how many places were tried."""
    tried = 0
    for tried, found in enumerate(FRAME_START.finditer(data, at), start=1):
        at = found.start()
        frame = _mpeg_frame(data[at : at + 4])
        if frame and (
            at + frame.length >= len(data) or _mpeg_frame(data[at + frame.length : at + frame.length + 4])
        ):
            return at, tried
    return -1, tried


def _gapless(tag: bytes) -> int:
    """Samples at both ends that an encoder has added, from its mark behind a Xing header; 0 without it."""
    flags = int.from_bytes(tag[4:8])
    at = 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1) + 21
    field = int.from_bytes(tag[at : at + 3])
    return (field >> 12) + (field & 0xFFF)
