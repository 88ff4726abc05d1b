"""Recordings as they come from the field: whole or not at all, and nothing missing without a word."""

import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from lmaczs.errors import AudioError
from lmaczs.signal import levels, reading
from lmaczs.signal.audio import load_clip, make_clip, open_sound, resample
from lmaczs.signal.containers import layout_of

RATE = 44100
# Lossy encoders add up to two frames at the ends; joined streams have one more header frame each.
FRAME = 1152
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the program ffmpeg is not here")


def sound(seconds=2.0, rate=RATE, channels=1):
    """A tone that swells and fades, so that a variable bit rate varies, over a little noise."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(1).normal(0, 0.01, len(t))
    mono = (0.2 * np.sin(2 * np.pi * 440 * t) * (1 + np.sin(2 * np.pi * t)) + noise).astype(np.float32)
    return mono if channels == 1 else np.stack([mono * (1 - 0.1 * c) for c in range(channels)], axis=1)


def write(path, samples=None, rate=RATE, **options):
    soundfile.write(path, sound() if samples is None else samples, rate, **options)
    return path


def ffmpeg(source, target, *options):
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, *options, target], check=True)
    return target


def joined(target, *sources):
    target.write_bytes(b"".join(source.read_bytes() for source in sources))
    return target


def cut(target, source, share=0.6):
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


@pytest.mark.parametrize("suffix", ["wav", "aiff", "flac", "ogg", "opus"])
def test_streams_one_behind_the_other_are_read_whole(tmp_path, suffix):
    rate = 48000
    options = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}
    one = write(tmp_path / f"one.{suffix}", sound(rate=rate), rate, **options)
    two = write(tmp_path / f"two.{suffix}", 0.5 * sound(1.0, rate), rate, **options)
    clip = load_clip(joined(tmp_path / f"joined.{suffix}", one, two))
    parts = torch.cat([load_clip(one).waveform, load_clip(two).waveform])
    assert torch.equal(clip.waveform, parts)
    assert clip.notes == ()


@needs_ffmpeg
@pytest.mark.parametrize("tags", [(), ("-write_xing", "0")], ids=["xing", "no-xing"])
def test_joined_mp3_and_variable_bit_rates_are_read_whole(tmp_path, tags):
    wav = write(tmp_path / "a.wav")
    one = ffmpeg(wav, tmp_path / "one.mp3", "-q:a", "4", *tags)
    assert abs(open_sound(one).frames - len(sound())) <= 2 * FRAME
    two = joined(tmp_path / "joined.mp3", one, one)
    assert abs(open_sound(two).frames - 2 * len(sound())) <= 4 * FRAME


@needs_ffmpeg
def test_what_is_known_to_be_longer_is_refused_without_ffmpeg(tmp_path, monkeypatch):
    wav = write(tmp_path / "a.wav")
    one = ffmpeg(wav, tmp_path / "one.mp3", "-q:a", "4")
    two = joined(tmp_path / "joined.mp3", one, one)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert abs(open_sound(one).frames - len(sound())) <= FRAME
    with pytest.raises(AudioError, match=r"about 4\.\d s, of which 2\.0 s can be read here: install ffmpeg"):
        load_clip(two)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "rf64", "w64", "flac", "ogg", "mp3"])
def test_a_file_that_is_cut_off_gives_what_it_holds_and_says_so(tmp_path, suffix):
    whole = write(tmp_path / f"whole.{suffix}")
    clip = load_clip(cut(tmp_path / f"cut.{suffix}", whole))
    assert load_clip(whole).notes == ()
    assert 0.3 < clip.duration_s < 1.95
    assert len(clip.notes) == 1 and "cut off" in clip.notes[0] and f"{clip.duration_s:.1f} s" in clip.notes[0]
    assert resample(clip, 16000).notes == clip.notes
    n = len(clip.waveform) - FRAME
    torch.testing.assert_close(clip.waveform[:n], load_clip(whole).waveform[:n], atol=1e-3, rtol=0)


def flac_stating(path, samples):
    data = bytearray(path.read_bytes())
    data[22:26] = samples.to_bytes(4, "big")
    path.write_bytes(data)
    return path


def test_the_length_that_a_file_states_is_not_believed(tmp_path):
    whole = len(sound())
    less = flac_stating(write(tmp_path / "less.flac"), whole // 3)
    assert open_sound(less).frames == whole
    hours = flac_stating(write(tmp_path / "hours.flac"), 10**9)
    assert open_sound(hours).frames == whole and "cut off" in load_clip(hours).notes[0]
    data = bytearray(write(tmp_path / "pipe.wav", subtype="PCM_16").read_bytes())
    place = data.index(b"data") + 4
    for stated in (0, 0xFFFFFFFF, 0x7FFFFFFF):
        data[place : place + 4] = stated.to_bytes(4, "little")
        (tmp_path / "pipe.wav").write_bytes(data)
        assert open_sound(tmp_path / "pipe.wav").frames == whole, stated
        assert load_clip(tmp_path / "pipe.wav").notes == ()


def test_sound_behind_the_end_that_a_header_states_is_mentioned(tmp_path):
    data = write(tmp_path / "a.wav", subtype="PCM_16").read_bytes()
    chunk = data[data.index(b"data") :]
    longer = (len(data) - 8 + len(chunk)).to_bytes(4, "little")
    (tmp_path / "two.wav").write_bytes(b"RIFF" + longer + data[8:] + chunk)
    if shutil.which("ffmpeg"):
        assert "holds more sound" in load_clip(tmp_path / "two.wav").notes[0]
    else:
        with pytest.raises(AudioError, match="two.wav"):
            load_clip(tmp_path / "two.wav")


@needs_ffmpeg
def test_an_au_header_does_not_end_the_sound(tmp_path):
    data = bytearray(write(tmp_path / "a.au", subtype="PCM_16").read_bytes())
    data[8:12] = (30000).to_bytes(4, "big")
    (tmp_path / "a.au").write_bytes(data)
    assert open_sound(tmp_path / "a.au").frames == len(sound())


def test_artwork_is_no_sound(tmp_path):
    mp3 = write(tmp_path / "a.mp3").read_bytes()
    picture = bytes([255, 216]) + np.random.default_rng(0).bytes(15 << 20)
    size = len(picture)
    tag = b"ID3\x04\x00\x00" + bytes((size >> shift) & 127 for shift in (21, 14, 7, 0)) + picture
    (tmp_path / "art.mp3").write_bytes(tag + mp3)
    assert abs(open_sound(tmp_path / "art.mp3").frames - len(sound())) <= FRAME


@needs_ffmpeg
def test_a_tag_that_lies_about_its_length_hides_no_sound_without_a_word(tmp_path):
    plain = ffmpeg(write(tmp_path / "a.wav"), tmp_path / "a.mp3", "-b:a", "64k", "-id3v2_version", "0")

    def tagged(stated):
        length = bytes((stated >> shift) & 127 for shift in (21, 14, 7, 0))
        path = tmp_path / "tag.mp3"
        path.write_bytes(b"ID3\x04\x00\x00" + length + bytes(50) + plain.read_bytes())
        return path

    assert abs(open_sound(tagged(0)).frames - len(sound())) <= 4 * FRAME
    # Players pass over what the tag claims.
    assert "damaged" in load_clip(tagged(5000)).notes[0]
    with pytest.raises(AudioError, match="no sound could be decoded"):
        load_clip(tagged(1 << 20))


@pytest.mark.parametrize(
    "head", [b"fLaC", b"OggS", b"RIFF", b"FORM", b"ID3", b"\xff\xfb\x90\x00", b"RIFF" + bytes(8)]
)
@pytest.mark.parametrize("rest", [b"", bytes(100), b"\xff" * 100])
def test_a_head_alone_is_no_recording(tmp_path, head, rest):
    (tmp_path / "head.wav").write_bytes(head + rest)
    with pytest.raises(AudioError, match=r"head\.wav"):
        load_clip(tmp_path / "head.wav")


ENCODINGS = {
    "id3.aac": ("-c:a", "aac", "-f", "adts", "-write_id3v2", "1"),
    "a.ac3": (),
    "a.eac3": (),
    "a.ts": ("-c:a", "aac"),
    "a.wv": (),
    "a.spx": ("-ar", "16000"),
    "wma.wav": ("-c:a", "wmav2", "-f", "wav"),
    "a.mp2": (),
    "a.mov": ("-c:a", "aac"),
    "a.mka": ("-c:a", "flac"),
    "a.webm": ("-c:a", "libopus"),
    "a.tta": (),
    "a.wma": (),
    "a.m4a": ("-c:a", "alac"),
    "a.oga": ("-c:a", "flac"),
    "no-suffix": ("-c:a", "aac", "-f", "mp4"),
}


@needs_ffmpeg
@pytest.mark.parametrize("name", ENCODINGS)
def test_what_players_play_is_read_whole(tmp_path, name):
    wav = write(tmp_path / "source.wav")
    path = ffmpeg(wav, tmp_path / name, *ENCODINGS[name])
    found = open_sound(path)
    count = ["ffmpeg", "-v", "error", "-i", path, "-map", "0:a:0", "-ac", "1", "-f", "f32le", "-"]
    assert found.frames == len(subprocess.run(count, capture_output=True, check=True).stdout) // 4
    assert abs(found.frames / found.rate - 2.0) < 0.1
    assert found.clip.notes == ()


@needs_ffmpeg
@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXTINF:2,\na.wav\n",
        "ffconcat version 1.0\nfile a.wav\n",
        "[playlist]\nFile1=a.wav\n",
        "v=0\nm=audio 9 RTP/AVP 0\n",
        '<?xml version="1.0"?><MPD></MPD>',
    ],
)
def test_a_list_of_other_files_is_no_recording(tmp_path, text):
    write(tmp_path / "a.wav")
    for suffix in ("m3u8", "wav", "mp4"):
        (tmp_path / f"list.{suffix}").write_text(text)
        with pytest.raises(AudioError, match="cannot be read as sound"):
            load_clip(tmp_path / f"list.{suffix}")


@pytest.mark.parametrize("rate", [4000, 192_000, 384_000, 768_000])
def test_rates_up_to_768_khz_are_read(tmp_path, rate):
    t = np.arange(rate) / rate
    write(tmp_path / "a.wav", (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), rate, subtype="FLOAT")
    assert load_clip(tmp_path / "a.wav").sample_rate == rate
    clip = load_clip(tmp_path / "a.wav", sample_rate=16000)
    assert (clip.sample_rate, len(clip.waveform)) == (16000, 16000)
    expected = torch.from_numpy(0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).float()
    torch.testing.assert_close(clip.waveform[1000:-1000], expected[1000:-1000], atol=2e-3, rtol=0)


def test_resampling_on_the_way_gives_the_bits_of_resampling_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr("lmaczs.signal.decoding.BLOCK_VALUES", 7001)
    path = write(tmp_path / "a.wav", sound(3.0, channels=2))
    assert torch.equal(load_clip(path, sample_rate=16000).waveform, resample(load_clip(path), 16000).waveform)


def test_a_recording_that_would_fill_the_memory_is_kept_at_48_khz(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", sound(3.0, 192_000), 192_000)
    monkeypatch.setattr(levels, "MAX_SECONDS", 5.0)
    monkeypatch.setattr(reading, "FRESH", 1000)
    whole = load_clip(path, sample_rate=48000)
    clip = load_clip(path)
    assert clip.sample_rate == 48000 and torch.equal(clip.waveform, whole.waveform)


@pytest.mark.parametrize("gain", [-1.0, -0.9])
@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_cancel_leave_the_loudest_one(tmp_path, gain, channels):
    one = sound()
    pairs = np.stack([one, gain * one] * (channels // 2), axis=1)
    pairs[:, -1] *= 1.05
    loudest = int(np.abs(pairs).max(axis=0).argmax())
    for clip in (load_clip(write(tmp_path / "a.wav", pairs, subtype="FLOAT")), make_clip(pairs, RATE)):
        assert torch.equal(clip.waveform, torch.from_numpy(np.ascontiguousarray(pairs[:, loudest])))
        assert len(clip.notes) == 1 and f"channel {loudest + 1}" in clip.notes[0]


def test_channels_that_do_not_cancel_are_averaged(tmp_path):
    rng = np.random.default_rng(0)
    for samples in (
        rng.normal(0, 0.1, (RATE, 2)),  # nothing in common
        np.stack([sound(), 0 * sound()], axis=1),  # one is silent
        np.stack([sound(), 0.3 - sound() * 0.2], axis=1),  # offset, and partly in opposite phase
    ):
        samples = samples.astype(np.float32)
        clip = load_clip(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
        assert clip.notes == ()
        torch.testing.assert_close(clip.waveform, torch.from_numpy(samples.mean(axis=1)))


def test_a_name_is_bytes(tmp_path):
    names = [b"caf\xe9.wav", b"a::b.wav", b"http:a.wav", b"-v.wav", b"file%20#?.wav", "🐕\n.wav".encode()]
    for name in names:
        target = bytes(tmp_path) + b"/" + name
        shutil.copy(write(tmp_path / "plain.wav"), target)
        assert load_clip(target).duration_s == 2.0
        assert load_clip(target).name.isprintable()
        load_clip(target).name.encode("utf-8")
    (tmp_path / "odd").mkdir()
    with pytest.raises(AudioError, match=r"'caf\?\.wav'"):
        load_clip(bytes(tmp_path / "odd") + b"/caf\xe9.wav")


@needs_ffmpeg
def test_a_name_is_bytes_for_ffmpeg_too(tmp_path):
    plain = ffmpeg(write(tmp_path / "plain.wav"), tmp_path / "plain.m4a", "-c:a", "alac")
    for name in [b"caf\xe9.m4a", b"a::b", b"concat:a|b", b"-i", b"pipe:0", b"%d.png"]:
        target = bytes(tmp_path) + b"/" + name
        shutil.copy(plain, target)
        assert load_clip(target).duration_s == 2.0


def test_all_of_a_file_can_be_had_again_at_its_own_rate(tmp_path):
    samples = sound(channels=3)
    found = open_sound(write(tmp_path / "a.wav", samples, subtype="FLOAT"), sample_rate=16000)
    assert (found.rate, found.channels, found.frames) == (RATE, 3, len(samples))
    assert np.array_equal(np.concatenate(list(found.blocks())), samples)


MEMORY = """
import resource, sys
from lmaczs.signal.audio import load_clip
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
clip = load_clip(sys.argv[1], sample_rate=16000)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(clip.waveform), (after - before) // 1024)
"""


@pytest.mark.slow
def test_memory_is_that_of_the_sound_at_the_wanted_rate(tmp_path):
    rate, seconds = 192_000, 300
    second = (0.1 * np.sin(np.arange(rate) * 2 * np.pi / rate)).astype(np.float32)
    with soundfile.SoundFile(tmp_path / "long.flac", "w", rate, 2) as file:
        for _ in range(seconds):
            file.write(np.stack([second, second], axis=1))
    command = [sys.executable, "-c", MEMORY, tmp_path / "long.flac"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    samples, megabytes = map(int, done.stdout.split())
    assert samples == seconds * 16000
    # 19 MB are kept; the file's own samples would be 460 MB.
    assert megabytes < 120


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfb\x90\x00" + b"\xff" * (1 << 23),
        b"ID3\x04\0\0\0\0\0\0" * (1 << 20),
        b"RIFF\xff\xff\xff\xffWAVE" + b"abcd\0\0\0\0" * (1 << 20),
        b"RIFF\x04\0\0\0WAVE" * (1 << 20),
        b"fLaC\0\0\0\x22" * (1 << 20),
        (b"OggS\0\2" + bytes(21) + b"OggS\0\0" + bytes(21)) * (1 << 17),
    ],
    ids=["ones", "tags", "chunks", "riffs", "flacs", "links"],
)
def test_a_walk_has_an_end(data):
    steps = 0

    class Counting(io.BytesIO):
        def read(self, size=-1):
            nonlocal steps
            steps += 1
            return super().read(size)

    layout = layout_of(Counting(data), len(data), 1800)
    assert steps < 60_000 and len(layout.parts) <= 1000
