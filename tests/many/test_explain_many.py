"""`explain-many`: every clip once, failures as rows, and nothing done twice after a run that was cut short."""

import os
import signal
import time

import fsspec
import pandas
import pytest
from runs import ALL, PROMPTS, REQUEST, explain_many, rows_of, sound_bytes, write_shard

from lmaczs.data.clips import Clip
from lmaczs.data.sources import list_source
from lmaczs.errors import LMACError
from lmaczs.hearing import explain_clip
from lmaczs.many import engines, worker
from lmaczs.many.destination import Destination, clip_digest
from lmaczs.many.prefetch import prefetch
from lmaczs.many.rows import COLUMNS
from lmaczs.many.units import FILES, Unit
from lmaczs.many.worker import ExplainRequest, Worker
from lmaczs.metrics.registry import explanation_keys
from lmaczs.signal.audio import load_clip


def test_rows_are_the_pipelines_numbers_and_a_failure_is_a_row(desk, debug_backend, capsys):
    assert explain_many() == 1
    rows = rows_of()
    assert list(rows["path"]) == ALL and list(rows.columns) == list(COLUMNS)
    printed = capsys.readouterr().out
    assert "5 clips in out" in printed and "1 of them could not be explained" in printed
    bad = rows[rows["path"] == "bad.wav"].iloc[0]
    assert "'bad.wav' cannot be read as sound" in bad["error"] and bad["error"] in printed
    assert pandas.isna(bad["prompt"]) and bad["probabilities"] is None and pandas.isna(bad["ff"])
    explainer = worker.load_explainer("grad-cam++", debug_backend)
    for path in ("a.wav", "inner/ü d.wav"):
        row = rows[rows["path"] == path].iloc[0]
        expected = explain_clip(load_clip(f"clips/{path}"), PROMPTS, debug_backend, explainer)
        assert pandas.isna(row["error"]) and row["prompt"] == row["predicted"] == expected.target
        assert row["similarity"] == pytest.approx(expected.target_similarity, abs=1e-6)
        assert row["probabilities"] == pytest.approx(expected.prediction.probabilities.tolist(), abs=1e-6)
        assert set(expected.metrics) == set(explanation_keys())
        assert {key: row[key] for key in explanation_keys()} == pytest.approx(expected.metrics, abs=1e-5)
        assert row["duration_s"] == pytest.approx(0.5) and row["seconds"] > 0 and pandas.isna(row["files"])
    assert not list((desk / "out" / "unfinished").glob("*"))


def test_a_rerun_does_only_what_is_missing(desk, counted):
    explain_many()
    before = rows_of()
    assert sorted(counted) == ["a", "b", "c", "ü d"]
    counted.clear()
    assert explain_many() == 1 and counted == []
    (desk / "clips" / "new.wav").write_bytes(sound_bytes(7))
    explain_many()
    assert counted == ["new"]
    after = rows_of()
    assert list(after["path"]) == sorted([*ALL, "new.wav"])
    pandas.testing.assert_frame_equal(after[after["path"] != "new.wav"].reset_index(drop=True), before)


def test_failed_clips_are_tried_again_on_request_only(desk, counted, monkeypatch):
    (desk / "clips" / "bad.wav").write_bytes(sound_bytes(5))
    real = worker.listen

    def out_of_memory(clip, backend):
        if clip.name == "bad":
            raise MemoryError
        return real(clip, backend)

    monkeypatch.setattr(worker, "listen", out_of_memory)
    assert explain_many() == 1
    monkeypatch.setattr(worker, "listen", real)
    counted.clear()
    assert explain_many() == 1 and counted == []
    assert explain_many("clips", "out", "--retry-failed") == 0 and counted == ["bad"]
    assert list(rows_of()["path"]) == ALL and rows_of()["error"].isna().all()


@pytest.mark.parametrize("unit", ["2", "100"])
def test_a_run_that_was_cut_short_goes_on_where_it_was(desk, counted, monkeypatch, unit, capsys):
    real, left = worker.listen, [2]

    def interrupt(clip, backend):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(clip, backend)

    monkeypatch.setattr(worker, "listen", interrupt)
    assert explain_many("clips", "out", "--unit", unit) == 130
    assert "goes on from there" in capsys.readouterr().out
    done = list(counted)
    assert done == ["a", "b"]
    monkeypatch.setattr(worker, "listen", real)
    explain_many("clips", "out", "--unit", unit)
    assert counted == ["a", "b", "c", "ü d"]
    assert list(rows_of()["path"]) == ALL


def test_results_of_other_questions_are_not_mixed(desk, capsys):
    explain_many()
    (desk / "prompts.txt").write_text("something else")
    assert explain_many() == 2
    assert "results of other settings (prompts)" in capsys.readouterr().err
    assert explain_many("clips", ".") == 2
    assert "holds other files" in capsys.readouterr().err


def test_two_runs_never_write_into_one_folder_at_once(desk, capsys):
    with Destination("out").alone():
        assert explain_many() == 2
    assert "Another run is writing into 'out'" in capsys.readouterr().err
    assert explain_many() == 1


def test_shards_give_the_rows_of_their_files(desk):
    clips = {name: (desk / "clips" / name).read_bytes() for name in ALL}
    first = {
        "a.wav": clips["a.wav"],
        "a.json": b"{}",
        "b.wav": clips["b.wav"],
        "../../evil.wav": clips["a.wav"],
    }
    write_shard(desk / "set-00.tar", first)
    write_shard(desk / "set-01.tar", {"bad.wav": clips["bad.wav"], "inner/c.wav": clips["inner/c.wav"]})
    assert explain_many("set-{00..01}.tar", "out", "--save", "sounds,mask") == 1
    explain_many("clips", "plain")
    rows, plain = rows_of(), rows_of("plain").set_index("path")
    named = ["set-00.tar/../../evil.wav", "set-00.tar/a.wav", "set-00.tar/b.wav"]
    assert list(rows["path"]) == [*named, "set-01.tar/bad.wav", "set-01.tar/inner/c.wav"]
    for _, row in rows[rows["error"].isna()].iterrows():
        twin = plain.loc[row["path"].replace("../../evil", "a").partition("/")[2]]
        assert row["ff"] == twin["ff"] and list(row["probabilities"]) == list(twin["probabilities"])
        files = sorted(path.name for path in (desk / "out" / row["files"]).iterdir())
        assert files == ["kept.wav", "mask.npz", "removed.wav"]
    assert not list(desk.rglob("evil*"))


def test_a_shard_goes_on_after_a_stop_and_a_damaged_one_keeps_its_first_clips(desk, counted):
    members = {f"{seed}.wav": sound_bytes(seed) for seed in range(3)}
    write_shard(desk / "set.tar", members)
    whole = (desk / "set.tar").read_bytes()
    (desk / "set.tar").write_bytes(whole[: len(whole) // 2])
    assert explain_many("set.tar") == 1
    rows = rows_of()
    assert rows["path"].iloc[0] == "set.tar" and "damaged or cut short" in rows["error"].iloc[0]
    good = [path for path in rows["path"][rows["error"].isna()]]
    assert 0 < len(good) < 3
    (desk / "set.tar").write_bytes(whole)
    counted.clear()
    assert explain_many("set.tar", "out", "--retry-failed") == 0
    assert len(counted) == 3 - len(good)
    assert list(rows_of()["path"]) == ["set.tar/0.wav", "set.tar/1.wav", "set.tar/2.wav"]


def test_source_and_results_may_be_any_place_that_fsspec_reaches(desk):
    memory = fsspec.filesystem("memory")
    for name in ALL:
        memory.pipe_file(f"/lab/clips/{name}", (desk / "clips" / name).read_bytes())
    table = "path,caption\nclips/a.wav,one\nclips/a.wav,two\nclips/missing.wav,\n"
    memory.pipe_file("/lab/table.csv", table.encode())
    try:
        assert explain_many("memory://lab/clips", "memory://lab/out") == 1
        with memory.open(memory.ls("/lab/out/rows", detail=False)[0]) as file:
            rows = pandas.read_parquet(file)
        assert list(rows["path"]) == ALL
        assert explain_many("memory://lab/table.csv", "out") == 1
        rows = rows_of()
        assert list(rows["path"]) == ["clips/a.wav", "clips/missing.wav"]
        assert "'missing.wav' cannot be fetched" in rows["error"].iloc[1]
    finally:
        memory.rm("/lab", recursive=True)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere", "nothing that can be explained"),
        ("prompts.txt", "nothing that can be explained"),
        ("missing.wav", "There is no 'missing.wav'"),
        ("empty", "holds no recording"),
        ("labels.csv", "has no column 'path'"),
        ("nosuch://x/y", "that fsspec knows"),
    ],
)
def test_a_source_that_is_none_is_one_sentence_and_leaves_nothing(desk, capsys, source, words):
    (desk / "empty").mkdir()
    (desk / "labels.csv").write_text("name,label\n1,2\n")
    assert explain_many(source) == 2
    sentence = capsys.readouterr().err
    assert words in sentence and sentence.count("\n") == 1 and str(desk) not in sentence
    assert not (desk / "out").exists()


def test_a_folder_is_listed_without_hidden_files_and_a_pattern_is_expanded(desk):
    write_shard(desk / "clips" / "more.tar", {})
    listing = list_source("clips")
    assert [file.path for file in listing.clips] == ALL
    assert [shard.path for shard in listing.shards] == ["more.tar"]
    assert [file.path for file in list_source("clips/[ab].wav").clips] == ["a.wav", "b.wav"]


def test_a_clip_that_ends_its_worker_is_given_up_after_three_times(desk):
    """As if the decoder had crashed: begun three times, and nobody came back."""
    destination = Destination("out")
    destination.prepare({})
    files = tuple(Clip(name, str(desk / "clips" / name)) for name in ("a.wav", "b.wav"))
    unit = Unit(FILES, files)
    destination.begin(unit, "a.wav", 3)
    destination.begin(unit, "b.wav", 2)
    assert Worker(REQUEST, destination, "cpu").do(unit) == (2, 1)
    rows = rows_of()
    assert "'a.wav' ended the program 3 times" in rows["error"].iloc[0] and pandas.isna(rows["error"].iloc[1])


def test_a_death_between_the_last_two_steps_leaves_every_clip_once(desk):
    destination = Destination("out")
    destination.prepare({})
    unit = Unit(FILES, (Clip("a.wav", str(desk / "clips" / "a.wav")),))
    model = Worker(REQUEST, destination, "cpu")
    model.do(unit)
    destination.commit(unit, {"path": "a.wav", "error": "a stale copy"})
    assert model.do(unit) == (0, 0)
    destination.commit(unit, {"path": "a.wav", "error": "a stale copy"})
    assert destination.tidy() == ({}, [])
    assert len(rows_of()) == 1 and rows_of()["error"].isna().all()
    assert not list((desk / "out" / "unfinished").iterdir())


def test_units_survive_the_way_to_another_machine():
    unit = Unit(FILES, (Clip("ü.wav", "file:///x/ü.wav"),), {"ü.wav": 1})
    assert Unit.from_json(unit.to_json()) == unit and Unit.from_json(unit.to_json()).name == unit.name
    question = ExplainRequest(PROMPTS, "saliency", options={"rivals": PROMPTS, "n": 3}, save=("mask",))
    assert ExplainRequest.from_json(question.to_json()) == question


def test_reading_ahead_is_bounded_ordered_and_passes_errors_on():
    made = []

    def slow():
        for number in range(10):
            made.append(number)
            yield number

    values = prefetch(slow(), 2)
    assert next(values) == 0
    time.sleep(0.2)
    assert len(made) <= 4  # one taken, two waiting, one in the hand
    assert list(values) == list(range(1, 10))

    def broken():
        yield 1
        raise LMACError("no more")

    values = prefetch(broken(), 2)
    assert next(values) == 1
    with pytest.raises(LMACError, match="no more"):
        next(values)
    stopped = prefetch(iter(range(100)), 2)
    next(stopped)
    stopped.close()


class Trap(engines.RayWorker):
    """A worker that is killed, once, in the middle of a unit, after its first clip."""

    def __call__(self, row):
        made = Worker(*self._made)
        real = made.destination.commit

        def commit(unit, entry):
            real(unit, entry)
            if not os.path.exists("killed"):
                open("killed", "w").close()
                os.kill(os.getpid(), signal.SIGKILL)

        made.destination.commit = commit
        clips, failed = made.do(Unit.from_json(row["unit"]))
        return [{"clips": clips, "failed": failed, "refused": ""}]


@pytest.mark.slow
def test_ray_gives_the_same_rows_also_when_a_worker_is_killed(desk, monkeypatch):
    monkeypatch.setattr(engines, "RayWorker", Trap)
    here = os.path.dirname(__file__)  # where workers find the trap
    monkeypatch.setenv("PYTHONPATH", here, prepend=os.pathsep)
    explain_many("clips", "here")
    assert explain_many("clips", "ray", "--engine", "ray", "--workers", "1", "--unit", "3") == 1
    assert (desk / "killed").exists()
    one, other = rows_of("here"), rows_of("ray")
    assert list(other["path"]) == ALL
    pandas.testing.assert_frame_equal(
        one.drop(columns="seconds"), other.drop(columns="seconds"), atol=1e-6, rtol=0
    )
    assert len(list((desk / "ray" / "rows").iterdir())) == 2


def test_digests_name_files_whatever_the_path():
    assert clip_digest("a/../ü\n.wav").isalnum() and len(clip_digest("x" * 10_000)) == 40
