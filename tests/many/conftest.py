"""A folder of recordings, and a count of what is explained."""

import pytest
from runs import PROMPTS, sound_bytes

from lmaczs.many import worker


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with five recordings, one of them damaged, things that are none, and prompts."""
    (tmp_path / "clips" / "inner").mkdir(parents=True)
    (tmp_path / "clips" / ".hidden").mkdir()
    for seed, name in enumerate(["a.wav", "b.wav", "inner/c.wav", "inner/ü d.wav"]):
        (tmp_path / "clips" / name).write_bytes(sound_bytes(seed))
    (tmp_path / "clips" / "bad.wav").write_bytes(b"no recording")
    (tmp_path / "clips" / "notes.txt").write_text("none")
    (tmp_path / "clips" / ".hidden" / "x.wav").write_bytes(sound_bytes(9))
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def counted(monkeypatch):
    """Names of the clips that were really explained, in order."""
    names = []

    def count(clip, backend):
        names.append(clip.name)
        return real(clip, backend)

    real = worker.listen
    monkeypatch.setattr(worker, "listen", count)
    return names
