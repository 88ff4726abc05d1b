"""Reading, checking, fitting and writing recordings.

`load_clip` and `make_clip` are the one gate that sound comes through.
"""

import os
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from lmaczs.errors import AudioError
from lmaczs.signal.ffmpeg import container_name, decode_to_wav
from lmaczs.signal.formats import FORMATS
from lmaczs.signal.scratch import scratch_folder
from lmaczs.types import AudioClip

MIN_SECONDS = 0.1
MAX_SECONDS = 1800.0
MIN_RATE, MAX_RATE = 4000, 192_000  # Hz
MAX_CHANNELS = 64
SILENCE_DBFS = -80.0  # swing below this is silence; 16-bit sound starts at -90
MAX_AMPLITUDE = 100.0  # 40 dB above full scale; integers stored as floats are far above that
BLOCK_VALUES = 1 << 20
UNKNOWN_FRAMES = 1 << 62  # libsndfile's length of a stream that does not state it


class _Stream(soundfile.SoundFile):  # type: ignore[misc]  # has no types
    """A recording that is read from front to back, without the seek that soundfile makes after each block.

    That seek fails at the end of a stream whose header does not state its length, such as flac from a pipe.
    """

    def seekable(self) -> bool:
        """Never asked to seek."""
        return False


def load_clip(path: str | Path, allow_silence: bool = False) -> AudioClip:
    """Read a recording as mono float32 at its own rate.

    Reads wav, flac, ogg, opus, mp3, aiff and the other formats of libsndfile; m4a, mp4, webm and aac where
    the program ffmpeg is installed. Channels are averaged. The header is judged before anything is decoded.

    Args:
        path: the file.
        allow_silence: silence has nothing to explain, but a model may be trained on it.

    Raises:
        AudioError: missing, unreadable, empty, shorter than 0.1 s, longer than 30 min, silent, not finite, or
            with a rate, channel count or amplitude that no recording has. Names the file, never its folder.
        StorageError: there is no room for what ffmpeg decodes.
    """
    path = Path(path)
    shown = _printable(path.name) or "recording"
    head = _first_bytes(path, shown)
    if head.startswith(b"version https://git-lfs"):
        raise AudioError(
            f"'{shown}' is a Git LFS pointer, not the recording itself: run 'git lfs install', then 'git lfs "
            "pull' in the repository that it comes from."
        )
    name = clip_name(path)
    try:
        with _Stream(path) as file:
            return _read(file, shown, name, allow_silence)
    except AudioError:
        raise
    except (soundfile.SoundFileError, OSError, RuntimeError, TypeError, ValueError) as error:
        container = container_name(head)
        if container is None:
            raise AudioError(
                f"'{shown}' cannot be read as sound: it is damaged or no recording. Choose a {FORMATS} file "
                "that plays."
            ) from error
    with scratch_folder() as folder:
        target = folder / "decoded.wav"
        decode_to_wav(path.resolve(), shown, container, target, MAX_SECONDS)
        with _Stream(target) as file:
            return _read(file, shown, name, allow_silence)


def clip_name(path: str | Path) -> str:
    """The name that `load_clip` gives to the sound in a file: its stem, printable; never its folder."""
    return _printable(Path(path).stem) or "recording"


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
    _check_header(len(values), sample_rate, channels, shown)
    if values.dtype.kind in "iu":
        limits = np.iinfo(values.dtype)
        half = (int(limits.max) - int(limits.min) + 1) / 2
        values = (values - (limits.min + half)) / half  # unsigned 8-bit sound rests at 128
    mono = values if values.ndim == 1 else values.mean(axis=1)
    return _checked(mono, int(sample_rate), channels, shown, shown)


def resample(clip: AudioClip, sample_rate: int) -> AudioClip:
    """Change the rate with soxr's high-quality filter.

    Args:
        clip: any rate.
        sample_rate: wanted, Hz.
    """
    if clip.sample_rate == sample_rate:
        return clip
    samples = soxr.resample(clip.waveform.numpy(), clip.sample_rate, sample_rate)
    return AudioClip(torch.from_numpy(samples), sample_rate, clip.name)


def tile_to_length(waveform: Tensor, num_samples: int) -> Tensor:
    """Repeat a short waveform, or cut a long one, to exactly `num_samples`.

    Args:
        waveform: (samples,).
        num_samples: wanted length.
    """
    repeats = -(-num_samples // waveform.shape[-1])
    return waveform.repeat(repeats)[:num_samples]


def save_wav(clip: AudioClip, path: str | Path) -> None:
    """Write a 32-bit float WAV: exact, also above full scale, never normalised; complete or not at all.

    Equal clips give equal bytes: the header is written here because libsndfile puts the time of day into it.

    Args:
        clip: to write.
        path: of the file; an older one is replaced.
    """
    path = Path(path)
    samples = clip.waveform.detach().cpu().numpy().astype("<f4", copy=False)
    size = samples.nbytes
    rate = clip.sample_rate
    header = struct.pack("<4sI4s", b"RIFF", 50 + size, b"WAVE")
    # 3: IEEE float; 1 channel.
    header += struct.pack("<4sIHHIIHHH", b"fmt ", 18, 3, 1, rate, 4 * rate, 4, 32, 0)
    header += struct.pack("<4sII4sI", b"fact", 4, len(samples), b"data", size)
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


def _read(file: soundfile.SoundFile, shown: str, name: str, allow_silence: bool) -> AudioClip:
    """Average the channels block by block, so that memory holds one mono copy and never all channels."""
    rate, channels = file.samplerate, file.channels
    longest = int(MAX_SECONDS * rate)
    stated = file.frames if file.frames < UNKNOWN_FRAMES else longest
    _check_header(stated, rate, channels, shown)
    mono = np.empty(min(stated, longest) + 1, np.float32)
    total = 0
    while len(block := file.read(max(BLOCK_VALUES // channels, 1), dtype="float32", always_2d=True)):
        if total + len(block) >= len(mono):
            if total + len(block) > longest:  # the header did not tell
                raise _too_long(shown, f"more than {MAX_SECONDS / 60:.0f} min")
            block = block[: len(mono) - total]
        mono[total : total + len(block)] = block.mean(axis=1)
        total += len(block)
    return _checked(mono[:total], rate, channels, shown, name, allow_silence)


def _too_long(shown: str, length: str) -> AudioError:
    return AudioError(
        f"'{shown}' is too long ({length}): recordings up to {MAX_SECONDS / 60:.0f} min are accepted; cut "
        "out the part that matters."
    )


def _check_header(frames: int, rate: int, channels: int, shown: str) -> None:
    """Judge what a header states, before any sound is decoded."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(
            f"'{shown}' has a sample rate of {rate} Hz: {MIN_RATE} Hz to {MAX_RATE} Hz are accepted; convert "
            "it, for example to 44100 Hz."
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(
            f"'{shown}' has {channels} channels: 1 to {MAX_CHANNELS} are accepted; mix it down to mono."
        )
    if frames > MAX_SECONDS * rate:
        seconds = round(frames / rate)
        raise _too_long(shown, f"{seconds // 60} min {seconds % 60} s")
    if frames <= 0:
        raise AudioError(f"'{shown}' holds no sound at all (0 samples): choose a file with sound in it.")
    if frames < MIN_SECONDS * rate:
        raise AudioError(
            f"'{shown}' is too short ({frames / rate:.3f} s): at least {MIN_SECONDS} s are needed; choose a "
            "longer recording."
        )


def _checked(
    mono: np.ndarray, rate: int, channels: int, shown: str, name: str, allow_silence: bool = False
) -> AudioClip:
    """Judge the samples themselves; `mono` is the mean of the channels."""
    _check_header(len(mono), rate, channels, shown)  # a damaged file may hold less than its header states
    low, high = float(mono.min()), float(mono.max())
    if not np.isfinite(low + high):
        bad = int(np.count_nonzero(~np.isfinite(mono)))
        raise AudioError(
            f"'{shown}' holds {bad} samples that are not finite numbers (NaN or infinity): export it again, "
            "for example as 16-bit wav."
        )
    if max(-low, high) > MAX_AMPLITUDE:
        raise AudioError(
            f"'{shown}' reaches an amplitude of {max(-low, high):.3g}, full scale is 1: divide the samples "
            "by their full scale, or export it again, for example as 16-bit wav."
        )
    swing = (high - low) / 2  # without a constant offset, which nobody hears
    if swing < 10 ** (SILENCE_DBFS / 20) and not allow_silence:
        level = f"{20 * np.log10(swing):.0f} dBFS" if swing > 0 else "exactly zero"
        mixed = " after averaging its channels" if channels > 1 else ""
        raise AudioError(
            f"'{shown}' is silent (peak {level}{mixed}): nothing can be explained in silence; choose a "
            f"recording whose peak is above {SILENCE_DBFS:.0f} dBFS."
        )
    return AudioClip(torch.from_numpy(np.ascontiguousarray(mono, dtype=np.float32)), rate, name)


def _printable(text: str, longest: int = 80) -> str:
    """A file name that is safe to show: no control characters, no broken encoding, not endless."""
    clean = "".join(c if c.isprintable() else "?" for c in text.encode("utf-8", "replace").decode("utf-8"))
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"
