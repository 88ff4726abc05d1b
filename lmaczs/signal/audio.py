"""Reading, checking, fitting and writing recordings.

`load_clip` and `make_clip` are the one gate that sound comes through.
"""

import os
import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from lmaczs.errors import AudioError
from lmaczs.signal.decoding import Decoder
from lmaczs.signal.levels import Levels, check_form, check_length
from lmaczs.signal.reading import gather, hear
from lmaczs.types import AudioClip

LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, eq=False)
class Sound:
    """A recording that has passed the gate, and the way to its samples as they are in the file.

    Attributes:
        clip: one channel.
        rate: of the file, Hz.
        channels: of the file.
        frames: samples of each channel, counted.
        decoder: opens the file again.
    """

    clip: AudioClip
    rate: int
    channels: int
    frames: int
    decoder: Decoder

    def blocks(self) -> Iterator[np.ndarray]:
        """All of the file once more: (frames, channels) float32 each, at its own rate."""
        with self.decoder() as sound:
            yield from sound.blocks


def load_clip(
    path: str | bytes | os.PathLike[str], allow_silence: bool = False, sample_rate: int | None = None
) -> AudioClip:
    """Read a recording as mono float32.

    Reads wav, flac, ogg, opus, mp3, aiff and the other formats of libsndfile; whatever else ffmpeg plays where that
    program is installed. Channels are averaged; if they cancel each other out, the loudest one is taken. Nothing that a
    header states is believed: samples are counted as they are decoded, block by block. `AudioClip.notes` says what was
    cut off, damaged or left out.

    Args:
        path: the file.
        allow_silence: silence has nothing to explain, but a model may be trained on it.
        sample_rate: wanted, Hz: resampled on the way. None: the file's own, or 48 kHz for a recording of more samples
            than 30 min at 48 kHz have.

    Raises:
        AudioError: missing, unreadable, empty, shorter than 0.1 s, longer than 30 min, silent, not finite, or
            with a rate, channel count or amplitude that no recording has. Names the file, never its folder.
    """
    return open_sound(path, allow_silence, sample_rate).clip


def open_sound(
    path: str | bytes | os.PathLike[str], allow_silence: bool = False, sample_rate: int | None = None
) -> Sound:
    """Read a recording as `load_clip` does, and keep the way to all of its channels."""
    path = Path(os.fsdecode(path))
    shown = _printable(path.name) or "recording"
    if _first_bytes(path, shown).startswith(LFS_POINTER):
        raise AudioError(
            f"'{shown}' is a Git LFS pointer, not the recording itself: run 'git lfs install', then 'git lfs "
            "pull' in the repository that it comes from."
        )
    try:
        heard, notes = hear(os.fsencode(path.absolute()), shown, sample_rate)
    except OSError as error:
        raise AudioError(f"'{shown}' cannot be read on: check that it is still there.") from error
    if (loudest := heard.levels.loudest_if_cancelled()) is not None:
        notes += (_alone(loudest),)
        heard = gather(heard.decoder, shown, sample_rate, loudest)
    heard.levels.check(heard.rate, shown, allow_silence)
    clip = AudioClip(torch.from_numpy(heard.mono), heard.mono_rate, clip_name(path), notes)
    return Sound(clip, heard.rate, heard.levels.channels, heard.levels.frames, heard.decoder)


def clip_name(path: str | bytes | os.PathLike[str]) -> str:
    """The name that `load_clip` gives to the sound in a file: its stem, printable; never its folder."""
    return _printable(Path(os.fsdecode(path)).stem) or "recording"


def make_clip(
    samples: Tensor | np.ndarray | Sequence[float] | Sequence[Sequence[float]],
    sample_rate: int,
    name: str = "recording",
) -> AudioClip:
    """Bring sound that is already in memory through the same gate as a file.

    Args:
        samples: (samples,), (samples, channels) or (channels, samples): the longer axis is time. Floats have
            full scale ±1, integers that of their type.
        sample_rate: Hz.
        name: for messages and output files.

    Raises:
        AudioError: as `load_clip`.
    """
    shown = _printable(name) or "recording"
    values = np.asarray(samples.detach().cpu() if isinstance(samples, Tensor) else samples)
    if values.dtype.kind not in "iuf" or values.ndim not in (1, 2):
        raise AudioError(
            f"'{shown}' is no waveform ({values.dtype}, {values.ndim} axes): give real numbers with the "
            "shape (samples,), (samples, channels) or (channels, samples)."
        )
    if values.ndim == 2 and values.shape[0] < values.shape[1]:
        values = values.T
    channels = values.shape[1] if values.ndim == 2 else 1
    check_form(sample_rate, channels, shown)
    check_length(len(values), sample_rate, shown)
    if values.dtype.kind in "iu":
        limits = np.iinfo(values.dtype)
        half = (int(limits.max) - int(limits.min) + 1) / 2
        values = (values - (limits.min + half)) / half  # unsigned 8-bit sound rests at 128
    block = values.reshape(len(values), channels)
    mono, levels = block.mean(axis=1), Levels(channels)
    levels.add(block, mono)
    notes: tuple[str, ...] = ()
    if (loudest := levels.loudest_if_cancelled()) is not None:
        notes = (_alone(loudest),)
        mono, levels = block[:, loudest], Levels(channels)
        levels.add(block, mono)
    levels.check(int(sample_rate), shown)
    samples32 = torch.from_numpy(np.ascontiguousarray(mono, dtype=np.float32))
    return AudioClip(samples32, int(sample_rate), shown, notes)


def resample(clip: AudioClip, sample_rate: int) -> AudioClip:
    """Change the rate with soxr's high-quality filter.

    Args:
        clip: any rate.
        sample_rate: wanted, Hz.
    """
    if clip.sample_rate == sample_rate:
        return clip
    samples = soxr.resample(clip.waveform.numpy(), clip.sample_rate, sample_rate)
    return replace(clip, waveform=torch.from_numpy(samples), sample_rate=sample_rate)


def tile_to_length(waveform: Tensor, num_samples: int) -> Tensor:
    """Repeat a short waveform, or cut a long one, to exactly `num_samples`.

    Args:
        waveform: (samples,).
        num_samples: wanted length.
    """
    repeats = -(-num_samples // waveform.shape[-1])
    return waveform.repeat(repeats)[:num_samples]


def wav_header(frames: int, sample_rate: int, channels: int = 1) -> bytes:
    """Everything of a 32-bit float WAV that comes before its samples."""
    size, frame = 4 * frames * channels, 4 * channels
    header = struct.pack("<4sI4s", b"RIFF", 50 + size, b"WAVE")
    # 3: IEEE float.
    header += struct.pack(
        "<4sIHHIIHHH", b"fmt ", 18, 3, channels, sample_rate, frame * sample_rate, frame, 32, 0
    )
    return header + struct.pack("<4sII4sI", b"fact", 4, frames, b"data", size)


def save_wav(clip: AudioClip, path: str | Path) -> None:
    """Write a 32-bit float WAV: exact, also above full scale, never normalised; complete or not at all.

    Equal clips give equal bytes: the header is written here because libsndfile puts the time of day into it.

    Args:
        clip: to write.
        path: of the file; an older one is replaced.
    """
    path = Path(path)
    samples = clip.waveform.detach().cpu().numpy().astype("<f4", copy=False)
    header = wav_header(len(samples), clip.sample_rate)
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".wav", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(header)
            file.write(samples.tobytes())
        os.chmod(temporary, 0o644)  # mkstemp makes private files
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _first_bytes(path: Path, shown: str) -> bytes:
    try:
        if path.is_dir():
            raise AudioError(f"'{shown}' is a folder: name a recording in it.")
        if not path.is_file():  # also devices and pipes, which may never end
            raise AudioError(f"There is no file '{shown}': check its name and folder.")
        with open(path, "rb") as file:
            head = file.read(64)
    except (OSError, ValueError) as error:
        raise AudioError(f"'{shown}' cannot be opened: check its name and that you may read it.") from error
    if not head:
        raise AudioError(f"'{shown}' is empty (0 bytes): choose a file with sound in it.")
    return head


def _alone(channel: int) -> str:
    return f"The channels cancel each other out: channel {channel + 1}, the loudest, is used alone."


def _printable(text: str, longest: int = 80) -> str:
    """A file name that is safe to show: no control characters, no broken encoding, not endless."""
    clean = "".join(c if c.isprintable() else "?" for c in text.encode("utf-8", "replace").decode("utf-8"))
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"
