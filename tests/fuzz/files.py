"""Recordings made by chance: containers, codecs, lengths that lie, damage, names; and what they must be read as."""

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile

from lmaczs.clap import load_backend
from lmaczs.errors import AudioError
from lmaczs.hearing import classify, listen
from lmaczs.signal.audio import Sound, make_clip, open_sound
from lmaczs.signal.ffmpeg import DEMUXERS
from tests.fuzz.runner import Fault

# Of a codec; decoders may differ by one at either end.
FRAME = 4608
PROMPTS = ("a dog barking", "rain", "a person speaking", "a machine humming")
MOST_DIFFERENCE = 3e-4
HAS_FFMPEG = shutil.which("ffmpeg") is not None


@dataclass(frozen=True)
class Form:
    """A way to store a sound.

    Attributes:
        suffix: of the file.
        lossless: 16-bit samples come back as they were.
        options: of ffmpeg's output; None: libsndfile writes it.
        format: libsndfile's, of the container.
        subtype: libsndfile's, of the samples.
        rates: that it can hold; none: any.
        channels: at most.
    """

    suffix: str
    lossless: bool = False
    options: tuple[str, ...] | None = None
    format: str = ""
    subtype: str = ""
    rates: tuple[int, ...] = ()
    channels: int = 8


USUAL = (16000, 22050, 44100, 48000)
FORMS = [
    Form(".wav", True, format="WAV", subtype="PCM_16"),
    Form(".wav", True, format="WAV", subtype="PCM_24"),
    Form(".wav", True, format="WAV", subtype="FLOAT"),
    Form(".wav", True, format="WAVEX", subtype="PCM_16"),
    Form(".wav", format="WAV", subtype="PCM_U8"),
    Form(".wav", format="WAV", subtype="ULAW"),
    Form(".wav", format="WAV", subtype="IMA_ADPCM", rates=USUAL, channels=2),
    Form(".wav", format="WAV", subtype="MS_ADPCM", rates=USUAL, channels=2),
    Form(".flac", True, format="FLAC", subtype="PCM_16"),
    Form(".flac", True, format="FLAC", subtype="PCM_24"),
    Form(".ogg", format="OGG", subtype="VORBIS", rates=USUAL),
    Form(".opus", format="OGG", subtype="OPUS", rates=(48000,)),
    Form(".mp3", format="MP3", subtype="MPEG_LAYER_III", rates=USUAL, channels=2),
    Form(".aiff", True, format="AIFF", subtype="PCM_16"),
    Form(".au", True, format="AU", subtype="PCM_16"),
    Form(".caf", True, format="CAF", subtype="PCM_16"),
    Form(".caf", True, format="CAF", subtype="ALAC_16", channels=2),
    Form(".w64", True, format="W64", subtype="PCM_16"),
    Form(".rf64", True, format="RF64", subtype="PCM_16"),
]
if HAS_FFMPEG:
    FORMS += [
        Form(".aac", options=("-c:a", "aac"), rates=USUAL, channels=2),
        Form(".aac", options=("-c:a", "aac", "-write_id3v2", "1"), rates=USUAL, channels=2),
        Form(".ac3", options=(), rates=(44100, 48000), channels=2),
        Form(".eac3", options=(), rates=(44100, 48000), channels=2),
        Form(".ts", options=("-c:a", "aac"), rates=USUAL, channels=2),
        Form(".wv", True, options=(), rates=USUAL, channels=2),
        Form(".spx", options=(), rates=(16000,), channels=2),
        Form(".wav", options=("-c:a", "wmav2"), rates=(22050, 44100, 48000), channels=2),
        Form(".wma", options=(), rates=(22050, 44100, 48000), channels=2),
        Form(".mp2", options=(), rates=(44100, 48000), channels=2),
        Form(".mov", options=("-c:a", "aac"), rates=USUAL, channels=2),
        Form(".m4a", True, options=("-c:a", "alac"), rates=USUAL, channels=2),
        Form(".mp4", options=("-c:a", "aac", "-movflags", "+frag_keyframe+empty_moov"), rates=USUAL, channels=2),
        Form(".mka", True, options=("-c:a", "flac"), rates=USUAL, channels=2),
        Form(".mkv", True, options=("-c:a", "pcm_s16le"), channels=2),
        Form(".webm", options=("-c:a", "libopus"), rates=(48000,), channels=2),
        Form(".tta", True, options=(), rates=USUAL, channels=2),
        Form(".oga", True, options=("-c:a", "flac"), rates=USUAL, channels=2),
        Form(".mp3", options=("-q:a", "5"), rates=(44100, 48000), channels=2),
        Form(".mp3", options=("-q:a", "5", "-write_xing", "0"), rates=(44100, 48000), channels=2),
        Form(".flv", options=("-c:a", "mp3"), rates=(44100,), channels=2),
        Form(".avi", options=("-c:a", "mp3"), rates=(44100, 48000), channels=2),
    ]  # fmt: skip
ANY_RATE = (4000, 8000, 16000, 22050, 44100, 48000, 96000, 192_000)
NAMES = (
    b"plain", b"caf\xe9", b"\xff\xfe", b"-rf", b"a::b", b"http:x", b"file%20#?", b"pipe:0", b"%d", b" ", b"x" * 200,
    b"a\nb\x1b[31m", "🐕 \u202e".encode(), b"$(touch pwned)", b"concat:a|b", b"...",
)  # fmt: skip
LISTS = (
    b"#EXTM3U\n/etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n", b"[playlist]\nFile1=/etc/passwd\n",
    b"RIFF", b"PK\x03\x04" + bytes(60), b"\x89PNG\r\n\x1a\n" + bytes(60), b"<svg/>", b"ID3", b"fLaC", b"OggS" * 50,
    b"version https://git-lfs.github.com/spec/v1\n", b"\x00" * 5000, b"\xff\xfb" * 3000, b"MThd" + bytes(100),
)  # fmt: skip


def prepare() -> None:
    """See `tests.fuzz.runner`."""
    classify(
        listen(make_clip(np.ones(16000) * np.arange(16000) / 16000, 16000), _backend()), PROMPTS, _backend()
    )


def try_file(seed: int, number: int, folder: Path) -> None:
    """One recording: see `tests.fuzz.runner`."""
    chance = random.Random(f"{seed}/{number}")
    name = bytes(folder) + b"/" + chance.choice(NAMES)
    if chance.random() < 0.1:
        path = name + chance.choice([b".wav", b".mp3", b".m4a", b""])
        _write_no_sound(chance, path)
        open_sound(path)
        return
    form = chance.choice(FORMS)
    samples, rate, accepted = _samples(chance, form)
    path = name + form.suffix.encode()
    _write(form, folder, samples, rate, path)
    change = chance.choice(CHANGES) if chance.random() < 0.5 else None
    if change is not None:
        change(chance, path)
    sound: Sound | None = None
    try:
        sound = open_sound(path)
    finally:
        # A refusal is right only where there is a reason.
        if sound is None and change is None and accepted:
            raise Fault("lost", f"{form} {samples.shape} at {rate} Hz was refused")
    _judge(sound, form, samples, rate, change, path)


def _judge(
    sound: Sound, form: Form, samples: np.ndarray, rate: int, change: Callable[..., None] | None, path: bytes
) -> None:
    seconds, what = sound.frames / sound.rate, f"{form}, {change and change.__name__}"
    if change is None and abs(seconds - len(samples) / rate) > 2 * FRAME / rate:
        raise Fault("partial", f"{seconds} of {len(samples) / rate} s: {what}")
    if change is None and form.lossless:
        _compare(sound, samples, rate, what)
    # Damage is read as far as it goes, and said.
    if HAS_FFMPEG and not (change is flip_bits and sound.clip.notes):
        players = _player_seconds(path)
        if players - seconds > 2 * FRAME / sound.rate:
            raise Fault("partial", f"{seconds} s, a player plays {players} s: {what}; {sound.clip.notes}")
    if (
        change is cut_off
        and not sound.clip.notes
        and form.suffix in (".wav", ".aiff", ".flac", ".w64", ".au")
    ):
        raise Fault("silent cut", f"{seconds} of {len(samples) / rate} s: {what}")


def _compare(sound: Sound, samples: np.ndarray, rate: int, what: str) -> None:
    """The classifier hears the samples and the file alike."""
    if not 8000 <= rate <= 48000 or len(samples) < rate:
        return
    backend = _backend()
    try:
        reference = make_clip(samples.astype(np.float32) / 32768, rate)
    except AudioError:
        return
    first, second = (
        classify(listen(clip, backend), PROMPTS, backend).probabilities for clip in (reference, sound.clip)
    )
    if (difference := float((first - second).abs().max())) > MOST_DIFFERENCE:
        raise Fault("differs", f"probabilities differ by {difference:.2g}: {what}")


@lru_cache(1)
def _backend():
    return load_backend("compact-2", "cpu")


def _player_seconds(path: bytes) -> float:
    """Length of what ffmpeg decodes by itself."""
    command = ["ffmpeg", "-v", "quiet", "-nostdin", "-format_whitelist", DEMUXERS]
    command += ["-i", b"file:" + path, "-map", "0:a:0", "-ac", "1", "-c:a", "pcm_f32be", "-f", "au", "-"]
    data = subprocess.run(command, capture_output=True, timeout=60).stdout
    if len(data) < 28:
        return 0.0
    offset, _, _, rate = struct.unpack(">4I", data[4:20])
    return (len(data) - offset) / 4 / rate


def _samples(chance: random.Random, form: Form) -> tuple[np.ndarray, int, bool]:
    """16-bit samples (frames, channels), their rate, and whether they are to be accepted."""
    rate = chance.choice(form.rates or ANY_RATE)
    channels = min(form.channels, chance.choice([1, 1, 2, 2, 6]))
    seconds = chance.choice([0.3, 0.5, 1.0, 1.5, 2.5])
    kind = chance.random()
    if kind < 0.04:
        seconds = chance.choice([0.0, 0.001, 0.05])
    generator = np.random.default_rng(chance.getrandbits(32))
    t = np.arange(round(seconds * rate)) / rate
    hertz, beat = chance.uniform(100, rate / 5), chance.uniform(0.5, 5)
    mono = 0.3 * np.sin(2 * np.pi * hertz * t) * (1 + np.sin(2 * np.pi * beat * t)) + generator.normal(
        0, 0.02, len(t)
    )
    gains = [chance.uniform(0.2, 1.0) for _ in range(channels)]
    if kind > 0.96:
        gains = [0.0] * channels
    elif kind > 0.9 and channels == 2:
        gains = [1.0, -chance.uniform(0.9, 1.0)]
    samples = np.clip(np.round(mono[:, None] * np.array(gains) * 20000), -32768, 32767).astype(np.int16)
    accepted = len(t) >= 0.3 * rate and any(gains)
    return samples, rate, accepted


def _write(form: Form, folder: Path, samples: np.ndarray, rate: int, path: bytes) -> None:
    plain = folder / f"made{form.suffix}"
    if form.options is None:
        data = samples if form.subtype not in ("FLOAT",) else samples.astype(np.float32) / 32768
        soundfile.write(plain, data, rate, format=form.format, subtype=form.subtype)
    else:
        soundfile.write(folder / "source.wav", samples, rate, subtype="PCM_16")
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-nostdin",
            "-y",
            "-i",
            folder / "source.wav",
            *form.options,
            plain,
        ]
        subprocess.run(command, check=len(samples) > 0, capture_output=True)
        if not plain.exists():
            plain.write_bytes(b"")
    os.replace(plain, path)


def _write_no_sound(chance: random.Random, path: bytes) -> None:
    kind = chance.randrange(6)
    if kind == 0:
        data = chance.randbytes(chance.choice([1, 50, 5000, 200_000]))
    elif kind == 1:
        data = chance.choice(
            [b"\xff\xfb\x90\x00", b"ID3\x04\x00\x00\x00\x00\x10\x00", b"RIFF\xff\xff\xff\xffWAVE"]
        )
        data += chance.randbytes(3000)
    elif kind == 2:
        return os.symlink(
            chance.choice([b"/dev/zero", b"/nowhere", b"/dev/null", b"/proc/self/mem", path]), path
        )
    elif kind == 3:
        return os.mkfifo(path)
    elif kind == 4:
        return os.mkdir(path)
    else:
        data = chance.choice(LISTS)
    with open(path, "wb") as file:
        file.write(data)


def cut_off(chance: random.Random, path: bytes) -> None:
    """The end is missing."""
    data = _read(path)
    _replace(path, data[: int(len(data) * chance.uniform(0.3, 0.95))])


def join(chance: random.Random, path: bytes) -> None:
    """The same once more behind it."""
    _replace(path, _read(path) * 2)


def lie(chance: random.Random, path: bytes) -> None:
    """Four bytes of the header are others."""
    data = bytearray(_read(path))
    if len(data) > 64:
        at = chance.randrange(4, 60)
        data[at : at + 4] = chance.choice([bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f", chance.randbytes(4)])
    _replace(path, bytes(data))


def lie_about_length(chance: random.Random, path: bytes) -> None:
    """The field that states the length, where it is known, says something else."""
    data = bytearray(_read(path))
    stated = chance.choice([0, 1, 1000, 0xFFFFFFFF, 0x7FFFFFFF, 10**8])
    if data[:4] == b"RIFF" and (at := data.find(b"data")) > 0:
        data[at + 4 : at + 8] = struct.pack("<I", stated)
    elif data[:4] == b"fLaC":
        data[22:26] = struct.pack(">I", stated)
    elif data[:4] == b".snd":
        data[8:12] = struct.pack(">I", stated)
    elif data[:4] == b"FORM" and (at := data.find(b"COMM")) > 0:
        data[at + 10 : at + 14] = struct.pack(">I", stated)
    elif (at := max(data.find(b"Xing"), data.find(b"Info"))) > 0:
        data[at + 8 : at + 12] = struct.pack(">I", stated)
    _replace(path, bytes(data))


def flip_bits(chance: random.Random, path: bytes) -> None:
    """Some bits are wrong."""
    data = bytearray(_read(path))
    for _ in range(chance.choice([1, 5, 50])):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    _replace(path, bytes(data))


def add_junk(chance: random.Random, path: bytes) -> None:
    """Something stands behind the end."""
    junk = [
        bytes(1000),
        chance.randbytes(3000),
        b"TAG" + bytes(125),
        b"LIST\x10\x00\x00\x00INFOISFT\x04\x00\x00\x00abc\x00",
    ]
    _replace(path, _read(path) + chance.choice(junk))


def add_tag(chance: random.Random, path: bytes) -> None:
    """An ID3 tag, perhaps with a large picture, stands in front."""
    size = chance.choice([10, 4000, 3 << 20])
    tag = b"ID3\x04\x00\x00" + bytes((size >> shift) & 127 for shift in (21, 14, 7, 0))
    _replace(path, tag + bytes(size) + _read(path))


CHANGES = (
    cut_off,
    cut_off,
    join,
    join,
    lie,
    lie_about_length,
    lie_about_length,
    flip_bits,
    add_junk,
    add_tag,
)


def _read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _replace(path: bytes, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
