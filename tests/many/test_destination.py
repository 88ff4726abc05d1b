"""Results know what made them: changed sounds, other weights, damaged files, full disks and a program that is ended."""

import copy
import errno
import hashlib
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pandas
import pytest
import torch
from runs import ALL, REQUEST, explain_many, rows_of, sound_bytes, write_shard

from lmaczs.cli.files import folder_written_whole, write_text_whole
from lmaczs.data.clips import Clip
from lmaczs.errors import LMACError, StorageError
from lmaczs.explainers import load_explainer
from lmaczs.explainers.lmac_zs.explainer import LMACZS, build_decoder, decoder_config
from lmaczs.many import engines, worker
from lmaczs.many.destination import Destination
from lmaczs.many.units import FILES, Unit
from lmaczs.many.worker import Worker, method_sha256
from lmaczs.signal import scratch
from lmaczs.signal.audio import load_clip


def test_another_sound_under_the_same_name_is_explained_again(desk, counted, capsys):
    explain_many("clips", "out", "--save", "mask")
    before = rows_of().set_index("path")
    (desk / "clips" / "b.wav").write_bytes(sound_bytes(40))
    counted.clear()
    capsys.readouterr()
    assert explain_many("clips", "out", "--save", "mask") == 1
    assert "Done again, as it changed: b.wav." in capsys.readouterr().out
    after = rows_of().set_index("path")
    assert counted == ["b"] and list(after.index) == ALL
    assert after.loc["b.wav", "similarity"] != before.loc["b.wav", "similarity"]
    same = [path for path in ALL if path != "b.wav"]
    pandas.testing.assert_frame_equal(after.loc[same], before.loc[same])


def test_rows_carry_the_hash_of_the_bytes(desk):
    explain_many()
    rows = rows_of().set_index("path")
    for path in ALL:
        data = (desk / "clips" / path).read_bytes()
        assert rows.loc[path, "sha256"] == hashlib.sha256(data).hexdigest()


def test_files_of_a_sound_that_is_gone_go_too_and_a_name_twice_in_a_shard_counts_once(desk, counted):
    write_shard(desk / "set.tar", {"0.wav": sound_bytes(0)})
    with tarfile.open(desk / "set.tar", "a") as archive:
        archive.add(desk / "clips" / "a.wav", "0.wav")
    assert explain_many("set.tar") == 0 and counted == ["0"]
    explain_many("clips", "kept", "--save", "mask")
    place = desk / "kept" / rows_of("kept").set_index("path").loc["b.wav", "files"]
    assert place.is_dir()
    (desk / "clips" / "b.wav").write_bytes(b"no sound any more")
    explain_many("clips", "kept", "--save", "mask")
    assert not place.exists() and rows_of("kept")["error"].notna().sum() == 2


def test_a_recording_that_cannot_be_read_now_keeps_its_row(desk, counted):
    explain_many()
    before = rows_of()
    table = "\n".join(["path", *(f"clips/{path}" for path in ALL)])
    (desk / "t.csv").write_text(table)
    explain_many("t.csv", "listed")
    (desk / "clips" / "a.wav").rename(desk / "away.wav")
    counted.clear()
    assert explain_many("t.csv", "listed") == 1 and counted == []
    kept = rows_of("listed").set_index("path").loc["clips/a.wav"]
    assert kept["similarity"] == before.set_index("path").loc["a.wav", "similarity"]


def test_a_clip_that_changed_while_its_unit_was_unfinished_is_done_again(desk):
    destination = Destination("out")
    destination.prepare({})
    unit = Unit(FILES, (Clip("a.wav", str(desk / "clips" / "a.wav")),))
    destination.commit(unit, {"path": "a.wav", "sha256": "of another sound", "error": "old"})
    assert Worker(REQUEST, destination, "cpu").do(unit) == (
        1,
        0,
    )
    assert rows_of()["error"].isna().all()


def test_a_shard_that_changed_is_read_again_and_only_its_other_sounds_are_explained(desk, counted):
    write_shard(desk / "set.tar", {f"{seed}.wav": sound_bytes(seed) for seed in range(3)})
    assert explain_many("set.tar") == 0
    counted.clear()
    assert explain_many("set.tar") == 0 and counted == []
    write_shard(desk / "set.tar", {"0.wav": sound_bytes(0), "1.wav": sound_bytes(7), "3.wav": sound_bytes(3)})
    assert explain_many("set.tar") == 0 and counted == ["1", "3"]
    assert list(rows_of()["path"]) == ["set.tar/0.wav", "set.tar/1.wav", "set.tar/3.wav"]


def test_other_weights_are_refused_in_one_sentence(desk, monkeypatch, capsys):
    assert explain_many() == 1
    real = worker.load_backend

    def changed(*arguments, **keywords):
        backend = copy.deepcopy(real(*arguments, **keywords))
        next(backend.parameters()).data.mul_(1.001)
        return backend

    monkeypatch.setattr(worker, "load_backend", changed)
    capsys.readouterr()
    assert explain_many() == 2
    sentence = capsys.readouterr().err
    assert "results of other settings (backend_sha256)" in sentence and sentence.count("\n") == 1
    monkeypatch.setattr(worker, "load_backend", real)
    assert explain_many() == 1


def test_another_decoder_is_refused_in_the_same_folder(desk, debug_backend, monkeypatch, capsys):
    """As after a change of LMACZS_RELEASES."""

    def decoder_of(seed):
        torch.manual_seed(seed)
        return build_decoder(debug_backend, decoder_config(debug_backend, "stft")).eval()

    def answer_with(seed):
        method = LMACZS.wrap(debug_backend, decoder_of(seed))
        monkeypatch.setattr(worker, "load_explainer", lambda *_, **__: method)

    answer_with(0)
    assert explain_many() == 1
    answer_with(1)
    assert explain_many() == 2
    assert "results of other settings (method_sha256)" in capsys.readouterr().err
    answer_with(0)
    assert explain_many() == 1


def test_the_hash_of_a_method_is_also_that_of_its_options(debug_backend):
    plain, same = (load_explainer("smoothgrad", debug_backend) for _ in range(2))
    assert method_sha256(plain) == method_sha256(same)
    assert method_sha256(plain) != method_sha256(load_explainer("smoothgrad", debug_backend, n=3))


def test_a_worker_with_other_weights_than_the_run_is_refused(desk):
    destination = Destination("out")
    destination.prepare({"backend_sha256": "another", "method_sha256": "another"})
    ray_worker = engines.RayWorker(REQUEST.to_json(), destination.url, "cpu")
    unit = Unit(FILES, (Clip("a.wav", str(desk / "clips" / "a.wav")),))
    (report,) = ray_worker({"unit": unit.to_json()})
    assert "other weights than the run that started it (backend_sha256, method_sha256)" in report["refused"]
    assert not (desk / "out" / "rows").exists()


@pytest.mark.parametrize("content", [b"", b'{"row": {"pa', b"[]", b"\xff\xfe", b"null", b'{"row": 3}'])
def test_a_truncated_note_stops_nothing_and_its_clip_is_done_again(desk, counted, content):
    explain_many()
    name = next((desk / "out" / "rows").iterdir()).stem
    for path in ("rows", "finished"):
        next((desk / "out" / path).iterdir()).unlink()
    folder = desk / "out" / "unfinished" / name
    folder.mkdir(parents=True)
    (folder / f"{'0' * 40}.json").write_bytes(content)
    counted.clear()
    assert explain_many() == 1
    assert sorted(counted) == ["a", "b", "c", "ü d"] and list(rows_of()["path"]) == ALL
    assert not list((desk / "out" / "unfinished").iterdir())


def test_flipped_bytes_of_a_parquet_file_do_not_count_as_done(desk, counted, capsys):
    explain_many()
    before = rows_of()
    (file,) = (desk / "out" / "rows").iterdir()
    whole = file.read_bytes()
    for place in (10, len(whole) // 2, len(whole) - 6):
        counted.clear()
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        assert explain_many() == 1
        assert f"Done again, as it was damaged: {file.name}." in capsys.readouterr().out
        assert len(counted) == 4
        pandas.testing.assert_frame_equal(
            rows_of().drop(columns="seconds"), before.drop(columns="seconds"), atol=1e-6
        )


def test_a_run_that_ended_before_the_last_step_of_a_unit_has_lost_nothing(desk, counted):
    explain_many()
    destination = Destination("out")
    destination.drop(lambda row: False, reopen={next((desk / "out" / "rows").iterdir()).stem})
    counted.clear()
    assert explain_many() == 1 and counted == [] and list(rows_of()["path"]) == ALL
    next((desk / "out" / "rows").iterdir()).unlink()
    assert explain_many() == 1 and len(counted) == 4


def test_damaged_settings_are_no_settings_of_this_run(desk, capsys):
    explain_many()
    (desk / "out" / "settings.json").write_text('{"prom')
    assert explain_many() == 2
    assert "results of other settings" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["commit", "temporary"])
def test_a_full_disk_ends_the_run_in_one_sentence_and_is_no_failed_row(desk, monkeypatch, capsys, where):
    write_shard(desk / "set.tar", {"0.wav": sound_bytes(0)})
    if where == "commit":

        def full(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
    else:
        monkeypatch.setattr(scratch.tempfile, "tempdir", str(desk / "missing"))
    assert explain_many("set.tar") == 2
    sentence = capsys.readouterr().err
    assert sentence.count("\n") == 1 and ("room" in sentence) and "0.wav" not in sentence
    monkeypatch.undo()
    monkeypatch.chdir(desk)
    assert explain_many("set.tar") == 0 and list(rows_of()["path"]) == ["set.tar/0.wav"]


def test_sounds_that_do_not_fit_are_no_failed_row_either(desk, monkeypatch, capsys):
    def full(result, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(worker.WRITERS, "sounds", full)
    assert explain_many("clips", "out", "--save", "sounds") == 2
    assert "Temporary files cannot be written (no space left on device)" in capsys.readouterr().err


def test_an_ffmpeg_without_room_is_not_a_damaged_recording(desk, monkeypatch):
    program = desk / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\necho 'av_interleaved_write_frame(): No space left on device' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (desk / "x.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + b"\0" * 100)
    with pytest.raises(StorageError, match="no space left"):
        load_clip(desk / "x.m4a")


def test_a_device_is_no_file_for_results(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LMACError, match="'pipe' is a folder or a device"):
        write_text_whole(tmp_path / "pipe", "text")
    with pytest.raises(LMACError, match="'full' is a file"), folder_written_whole(Path("/dev/full")):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_into_a_full_device_is_one_sentence():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lmaczs", "datasets", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "no space left on device" in done.stderr


WAITING = """
import sys, time
from pathlib import Path
from lmaczs.cli import main, COMMANDS
import lmaczs.cli.datasets as command
from lmaczs.cli.files import folder_written_whole
from lmaczs.signal.scratch import scratch_folder

def wait(arguments):
    with folder_written_whole(Path("out")) as folder, scratch_folder():
        (folder / "half").write_text("half")
        print("ready", flush=True)
        time.sleep(60)

command.show_known = wait
sys.exit(main(["datasets", "list"]))
"""


def test_a_program_that_is_ended_leaves_nothing_behind(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    (tmp_path / "work").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING], cwd=tmp_path / "work", env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    assert list((tmp_path / "work").iterdir()) and list((tmp_path / "tmp").iterdir())
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    assert not list((tmp_path / "work").iterdir()) and not list((tmp_path / "tmp").iterdir())
