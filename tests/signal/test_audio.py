"""The input gate: what it reads, what it refuses and how it says so."""

import os
import re
import stat

import numpy as np
import pytest
import soundfile
import torch

from lmaczs.errors import AudioError
from lmaczs.signal import decoding, levels
from lmaczs.signal.audio import load_clip, make_clip, resample, save_wav, tile_to_length
from lmaczs.types import AudioClip

RATE = 16000


def tone(seconds=0.5, rate=RATE, hertz=440.0, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


@pytest.mark.parametrize(
    ("suffix", "format", "subtype", "tolerance"),
    [
        ("wav", "WAV", "PCM_16", 5e-5),  # a 16-bit step, and libsndfile's 32767 against 32768
        ("flac", "FLAC", "PCM_16", 5e-5),
        ("ogg", "OGG", "VORBIS", 0.1),  # lossy: close, not equal
        ("opus", "OGG", "OPUS", 0.1),
        ("mp3", "MP3", "MPEG_LAYER_III", 0.1),
    ],
)
def test_formats_are_read_as_mono_at_their_own_rate(tmp_path, suffix, format, subtype, tolerance):
    stereo = np.stack([tone(1.0, 48000), 0.5 * tone(1.0, 48000)], axis=1)
    soundfile.write(tmp_path / f"clip.{suffix}", stereo, 48000, format=format, subtype=subtype)
    clip = load_clip(tmp_path / f"clip.{suffix}")
    assert (clip.sample_rate, clip.name, clip.waveform.dtype) == (48000, "clip", torch.float32)
    assert clip.duration_s == pytest.approx(1.0, abs=0.05)  # codecs pad
    middle = slice(12000, 36000)
    expected = torch.from_numpy(stereo.mean(axis=1))
    torch.testing.assert_close(clip.waveform[middle], expected[middle], atol=tolerance, rtol=0)


def test_block_size_does_not_change_what_is_read(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "clip.ogg", np.stack([tone(2.0), tone(2.0, hertz=300)], axis=1), RATE)
    whole = load_clip(tmp_path / "clip.ogg").waveform
    monkeypatch.setattr(decoding, "BLOCK_VALUES", 1001)
    assert torch.equal(load_clip(tmp_path / "clip.ogg").waveform, whole)


def test_a_stream_that_does_not_state_its_length_is_read_to_its_end(tmp_path):
    soundfile.write(tmp_path / "clip.flac", tone(1.0), RATE)
    data = bytearray((tmp_path / "clip.flac").read_bytes())
    # STREAMINFO: the total is the low 4 bits of byte 21 and bytes 22 to 25; zero means unknown, as from a
    # pipe
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "piped.flac").write_bytes(data)
    assert soundfile.info(tmp_path / "piped.flac").frames > decoding.UNKNOWN_FRAMES
    assert torch.equal(
        load_clip(tmp_path / "piped.flac").waveform, load_clip(tmp_path / "clip.flac").waveform
    )


def test_a_stream_that_does_not_state_its_length_is_bounded(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "clip.flac", tone(1.0), RATE)
    data = bytearray((tmp_path / "clip.flac").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "piped.flac").write_bytes(data)
    monkeypatch.setattr(levels, "MAX_SECONDS", 0.6)
    with pytest.raises(AudioError, match="too long"):
        load_clip(tmp_path / "piped.flac")


def bad_files(folder):
    """One file for each reason to refuse, with words of the sentence that says so."""

    def wav(name, samples, rate=RATE, **options):
        soundfile.write(folder / f"{name}.wav", samples, rate, **options)

    with_nan = tone()
    with_nan[100:103] = np.nan
    with_nan[200] = np.inf
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("this is no sound, only a long enough text " * 20)
    (folder / "pointer.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    (folder / "noise.raw").write_bytes(os.urandom(4000))
    (folder / "folder.wav").mkdir()
    wav("none", np.zeros(0))
    wav("short", tone(0.09))
    wav("silent", np.zeros(RATE))
    wav("faint", tone(amplitude=0.5e-4), subtype="FLOAT")
    wav("offset", np.full(RATE, 0.5))
    wav("faint-stereo", np.stack([tone(amplitude=1e-5), 0 * tone()], axis=1), subtype="FLOAT")
    wav("nan", with_nan, subtype="FLOAT")
    wav("integers", tone(amplitude=32767.0), subtype="FLOAT")
    wav("slow", tone(), 1000)
    wav("fast", tone(), 800_000)
    wav("crowd", np.zeros((RATE, 100)))
    wav("long", np.zeros(1801 * 4000, np.int16), 4000)
    return {
        "empty.wav": "0 bytes",
        "text.wav": "cannot be read as sound",
        "pointer.wav": "git lfs pull",
        "noise.raw": "cannot be read as sound",
        "folder.wav": "is a folder",
        "missing.wav": "no file",
        "none.wav": "0 samples",
        "short.wav": "0.090 s",
        "silent.wav": "exactly zero",
        "faint.wav": "-86 dBFS",
        "offset.wav": "silent",
        "faint-stereo.wav": "averaging its channels",
        "nan.wav": "4 samples that are not finite",
        "integers.wav": "3.28e+04",
        "slow.wav": "1000 Hz",
        "fast.wav": "800000 Hz",
        "crowd.wav": "100 channels",
        "long.wav": "more than 30 min",
    }


def test_each_bad_file_has_its_own_sentence_without_its_folder(tmp_path):
    for name, words in bad_files(tmp_path).items():
        with pytest.raises(AudioError, match=re.escape(words)) as caught:
            load_clip(tmp_path / name)
        message = str(caught.value)
        assert f"'{name}'" in message
        assert str(tmp_path) not in message and "\n" not in message


def test_a_file_name_with_control_characters_cannot_break_the_message(tmp_path):
    path = tmp_path / "a\x1b[31m\nb.wav"
    path.write_bytes(b"")
    with pytest.raises(AudioError, match=re.escape("'a?[31m?b.wav' is empty")):
        load_clip(path)


def webm(folder):
    path = folder / "voice.wav"  # a browser's recording under a wrong name
    path.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(500))
    return path


def fake_ffmpeg(folder, script):
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(folder)


def test_a_foreign_container_without_ffmpeg_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match=r"'voice\.wav' is a WebM.*install ffmpeg, or save"):
        load_clip(webm(tmp_path))


def test_a_foreign_container_is_decoded_by_ffmpeg_and_passes_the_same_gate(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "decoded.au", tone(), RATE, subtype="FLOAT")
    log = tmp_path / "log"
    script = f'echo "$@" > {log}; /bin/cat {tmp_path}/decoded.au'
    monkeypatch.setenv("PATH", fake_ffmpeg(tmp_path / "bin", script))
    clip = load_clip(webm(tmp_path))
    assert clip.name == "voice"
    torch.testing.assert_close(clip.waveform, torch.from_numpy(tone()))
    assert "-protocol_whitelist file" in log.read_text() and "-t 1801.0" in log.read_text()
    soundfile.write(tmp_path / "decoded.au", np.zeros(RATE), RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"'voice\.wav' is silent"):
        load_clip(webm(tmp_path))


def test_a_failing_ffmpeg_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", fake_ffmpeg(tmp_path / "bin", "echo broken >&2; exit 1"))
    with pytest.raises(AudioError, match=r"'voice\.wav' looks like a WebM") as caught:
        load_clip(webm(tmp_path))
    assert "broken" not in str(caught.value)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (torch.from_numpy(tone()), tone()),
        (np.stack([tone(), 0 * tone()], axis=1), tone() / 2),  # (samples, channels)
        (np.stack([tone(), 0 * tone()], axis=0), tone() / 2),  # (channels, samples)
        ((tone().astype(np.float64) * 32768).astype(np.int16), tone()),
        ((tone().astype(np.float64) * 128 + 128).astype(np.uint8), tone()),
    ],
    ids=["tensor", "samples-channels", "channels-samples", "int16", "uint8"],
)
def test_sound_in_memory_passes_the_same_gate(samples, expected):
    clip = make_clip(samples, RATE, "array")
    step = 1 / 128 if getattr(samples, "dtype", None) == np.uint8 else 1 / 32768
    torch.testing.assert_close(clip.waveform, torch.from_numpy(expected), atol=step, rtol=0)


@pytest.mark.parametrize(
    ("samples", "rate", "words"),
    [
        (np.zeros(RATE), RATE, "silent"),
        (np.zeros(0), RATE, "0 samples"),
        (tone(0.05), RATE, "too short"),
        (np.full(RATE, np.nan), RATE, "not finite"),
        (tone(), 10, "10 Hz"),
        (tone().astype(complex), RATE, "complex"),
        (np.zeros((2, 3, 4)), RATE, "3 axes"),
    ],
)
def test_bad_sound_in_memory_is_refused(samples, rate, words):
    with pytest.raises(AudioError, match=words):
        make_clip(samples, rate)


def test_saved_wav_is_exact_above_full_scale_and_readable_by_others(tmp_path):
    clip = AudioClip(torch.from_numpy(2.5 * tone()), RATE, "loud")
    save_wav(clip, tmp_path / "loud.wav")
    samples, rate = soundfile.read(tmp_path / "loud.wav", dtype="float32")
    assert rate == RATE and soundfile.info(tmp_path / "loud.wav").subtype == "FLOAT"
    assert np.array_equal(samples, clip.waveform.numpy())
    first = (tmp_path / "loud.wav").read_bytes()
    save_wav(clip, tmp_path / "loud.wav")
    assert (tmp_path / "loud.wav").read_bytes() == first
    assert os.listdir(tmp_path) == ["loud.wav"]


def test_resampling_keeps_a_tone_and_its_length():
    clip = resample(AudioClip(torch.from_numpy(tone(1.0, 44100)), 44100, "tone"), RATE)
    assert clip.sample_rate == RATE and abs(len(clip.waveform) - RATE) <= 1
    middle = slice(2000, 14000)
    expected = torch.from_numpy(tone(1.0, RATE))
    torch.testing.assert_close(clip.waveform[middle], expected[middle], atol=1e-3, rtol=0)  # filter ripple


def test_resampling_to_the_same_rate_is_the_same_clip():
    clip = AudioClip(torch.from_numpy(tone()), RATE, "tone")
    assert resample(clip, RATE) is clip


def test_tiling_repeats_and_cuts():
    assert tile_to_length(torch.tensor([1.0, 2.0, 3.0]), 7).tolist() == [1, 2, 3, 1, 2, 3, 1]
    assert tile_to_length(torch.tensor([1.0, 2.0, 3.0]), 2).tolist() == [1, 2]
