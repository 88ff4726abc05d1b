"""The one lister: what a folder, a pattern or a table holds, and what it passes over."""

import os
import shutil
import subprocess

import fsspec
import numpy as np
import pytest
import soundfile
from layouts import tone

from lmaczs.data.clips import Clip
from lmaczs.data.places import content_sha256, local_copy
from lmaczs.data.sources import list_source
from lmaczs.errors import AudioError, LMACError, StorageError
from lmaczs.evaluation.conditions import speech_clips
from lmaczs.signal import scratch
from lmaczs.signal.audio import load_clip
from lmaczs.signal.formats import FFMPEG_SUFFIXES, LIBSNDFILE_SUFFIXES, SOUND_SUFFIXES, is_sound

# How libsndfile names a suffix's format, where it is not the suffix itself.
CONTAINERS = {
    "aif": "AIFF", "aifc": "AIFF", "bwf": "WAV", "fap": "PAF", "iff": "SVX", "mp2": "MP3", "nist": "NIST",
    "oga": "OGG", "opus": "OGG", "sf": "IRCAM", "snd": "AU", "sph": "NIST", "wave": "WAV",
}  # fmt: skip
UNWRITABLE = {".3gp", ".3g2", ".amr", ".weba"}  # ffmpeg has no free encoder, or no such name, to write them


def paths(source):
    return [clip.path for clip in list_source(str(source)).clips]


def test_links_to_folders_are_followed_once_and_never_in_circles(tmp_path):
    tone(tmp_path / "store" / "dog" / "a.wav")
    tone(tmp_path / "set" / "cat" / "b.wav")
    os.symlink(tmp_path / "store" / "dog", tmp_path / "set" / "dog")
    os.symlink(tmp_path / "store" / "dog", tmp_path / "set" / "again")
    os.symlink(tmp_path / "set", tmp_path / "set" / "cat" / "up")
    os.symlink(tmp_path / "set" / "cat", tmp_path / "set" / "before")
    os.symlink(tmp_path / "set" / "cat" / "b.wav", tmp_path / "set" / "c.wav")
    # The real folder's name counts before a link's, the first link's before a later one's.
    assert paths(tmp_path / "set") == ["again/a.wav", "c.wav", "cat/b.wav"]


def test_what_is_passed_over_is_counted_by_kind(tmp_path):
    for name in ("a.WAV", ".hidden.wav", ".folder/b.wav"):
        tone(tmp_path / name.lower())
    os.rename(tmp_path / "a.wav", tmp_path / "a.WAV")
    for name in ("x.txt", "y.TXT", "readme"):
        (tmp_path / name).write_text("none")
    listing = list_source(str(tmp_path))
    assert [clip.path for clip in listing.clips] == ["a.WAV"]
    assert listing.passed_over == {".txt": 2, "hidden": 2, "no suffix": 1}
    assert listing.passed_over_text() == "5 files (2 .txt, 2 hidden, 1 no suffix)"


def test_a_folder_elsewhere_is_listed_alike(tmp_path):
    memory = fsspec.filesystem("memory")
    for name in ("a.wav", "in/b.mka", "notes.txt", ".x/c.wav", "set.TAR"):
        memory.pipe_file(f"/listed/{name}", b"1")
    try:
        listing = list_source("memory://listed")
        assert [clip.path for clip in listing.clips] == ["a.wav", "in/b.mka"]
        assert [shard.path for shard in listing.shards] == ["set.TAR"]
        assert listing.passed_over == {".txt": 1, "hidden": 1}
    finally:
        memory.rm("/listed", recursive=True)


def test_a_name_with_colons_is_a_file_and_no_chain_of_urls(tmp_path):
    tone(tmp_path / "a::b.wav")
    (clip,) = list_source(str(tmp_path)).clips
    with local_copy(clip) as file:
        assert load_clip(file).name == "a::b"


@pytest.mark.parametrize("suffix", LIBSNDFILE_SUFFIXES)
def test_the_gate_reads_what_libsndfile_writes_under_each_suffix(tmp_path, suffix):
    if suffix == ".mp2":
        pytest.skip("libsndfile reads it, and does not write it")
    name = suffix[1:]
    rate = 8000 if name == "wve" else 16000
    wave = 0.3 * np.sin(np.arange(rate) * 0.3)
    options = {"subtype": "OPUS"} if name == "opus" else {}
    soundfile.write(tmp_path / f"x{suffix}", wave, rate, format=CONTAINERS.get(name, name.upper()), **options)
    assert load_clip(tmp_path / f"x{suffix}").duration_s > 0.3
    assert is_sound(f"folder/x{suffix.upper()}")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize("suffix", sorted({*FFMPEG_SUFFIXES, ".mp2"} - UNWRITABLE))
def test_the_gate_reads_what_ffmpeg_writes_under_each_suffix(tmp_path, suffix):
    soundfile.write(tmp_path / "x.wav", 0.3 * np.sin(np.arange(44100) * 0.3), 44100)
    made = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", tmp_path / "x.wav", tmp_path / f"y{suffix}"], capture_output=True
    )
    if made.returncode:
        pytest.skip("this ffmpeg does not write it")
    assert load_clip(tmp_path / f"y{suffix}").duration_s == pytest.approx(1, abs=0.2)
    assert suffix in SOUND_SUFFIXES


def test_no_name_without_a_known_suffix_is_a_sound():
    assert not any(is_sound(name) for name in ("wav", ".wav", "a.wav/b", "a.txt", "a.wav.json", "", "a."))


def test_speech_is_found_by_the_same_lister_in_the_order_of_folders(tmp_path):
    for name in ("a-b/x.wav", "a/x.wav", "z.wav"):
        tone(tmp_path / "voices" / name)
    os.symlink(tmp_path / "voices", tmp_path / "link")
    found = speech_clips(tmp_path / "link")
    assert [clip.path for clip in found] == ["a/x.wav", "a-b/x.wav", "z.wav"]
    assert {clip.label for clip in found} == {"speech"}


def test_a_clip_in_a_shard_is_copied_out_under_its_own_name(tmp_path):
    (tmp_path / "s.tar").write_bytes(b"junkSOUNDjunk")
    clip = Clip("deep/x.wav", str(tmp_path / "s.tar"), offset=4, size=5)
    with local_copy(clip) as file:
        assert file.name == "x.wav" and file.read_bytes() == b"SOUND"
    assert not file.exists()
    assert content_sha256(Clip("x", str(tmp_path / "gone"))) is None


def test_a_url_that_cannot_be_fetched_is_the_recordings_fault_and_a_full_disk_is_not(monkeypatch, tmp_path):
    with (
        pytest.raises(AudioError, match=r"'x.wav' cannot be fetched"),
        local_copy(Clip("x.wav", "memory://gone.wav")),
    ):
        pass
    fsspec.filesystem("memory").pipe_file("/there.wav", b"1")
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(StorageError, match="TMPDIR"), local_copy(Clip("x.wav", "memory://there.wav")):
        pass


def test_a_url_of_no_kind_is_one_sentence():
    with pytest.raises(LMACError, match="that fsspec knows"):
        list_source("nosuch://x/y")
