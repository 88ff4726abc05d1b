"""The command line as a person uses it: files in, files out, and one sentence where something is wrong."""

import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from lmaczs import cli, results
from lmaczs.clap import BACKENDS
from lmaczs.clap.target import SCORES
from lmaczs.cli import main
from lmaczs.errors import LMACError
from lmaczs.explainers import METHODS, load_explainer
from lmaczs.explainers.base import MethodEntry, WindowMaps, WindowMethod
from lmaczs.hearing import classify, explain_clip, listen
from lmaczs.signal.audio import load_clip, resample, save_wav

PROMPTS = ["a beep", "rain on a roof", "مطر $x^2$ {label}"]
RESULTS = ["explanation.png", "kept.wav", "mask.npz", "removed.wav", "result.json"]


@pytest.fixture
def desk(tmp_path, beep_in_noise, monkeypatch):
    """A folder with a recording, a silent one and prompts, as the current folder."""
    save_wav(beep_in_noise, tmp_path / "beep.wav")
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    (tmp_path / "prompts.txt").write_text("\ufeff" + "\n\n".join(PROMPTS) + "\n", "utf-8")
    (tmp_path / "labels.txt").write_text("beep\ncar_horn\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_picture(monkeypatch):
    """Leave the drawing out where a test is about something else: it takes longer than all the rest."""
    monkeypatch.setattr(
        results, "save_explanation_figure", lambda result, path, label: path.write_bytes(b"PNG")
    )


def classify_arguments(*clips, prompts=("--prompts-file", "prompts.txt")):
    return ["classify", *clips, *prompts, "--backend", "debug", "--device", "cpu"]


def explain_arguments(*more, clip="beep.wav", prompts=("--prompts-file", "prompts.txt"), out="out"):
    model = ("--backend", "debug", "--device", "cpu", "--method", "grad-cam++")
    return ["explain", clip, *prompts, *model, "--out", out, *more]


def test_classify_writes_the_numbers_of_python(desk, debug_backend, capsys):
    assert main([*classify_arguments("beep.wav", "./beep.wav"), "--json", "out.json"]) == 0
    rows = json.loads((desk / "out.json").read_text("utf-8"))
    assert [row["path"] for row in rows] == ["beep.wav", "./beep.wav"]
    expected = classify(listen(load_clip("beep.wav"), debug_backend), PROMPTS, debug_backend)
    for row in rows:
        assert sorted(row) == [
            "match",
            "path",
            "predicted",
            "probabilities",
            "prompts",
            "similarities",
            "unit",
        ]
        assert row["prompts"] == PROMPTS and row["predicted"] == expected.predicted
        torch.testing.assert_close(torch.tensor(row["probabilities"]), expected.probabilities)
        torch.testing.assert_close(torch.tensor(row["similarities"]), expected.similarities)


def test_classify_prints_prompts_from_the_most_probable(desk, debug_backend, capsys):
    main(classify_arguments("beep.wav"))
    lines = capsys.readouterr().out.splitlines()
    expected = classify(listen(load_clip("beep.wav"), debug_backend), PROMPTS, debug_backend)
    order = expected.probabilities.argsort(descending=True).tolist()
    assert lines[0] == "beep.wav"
    assert [line.split(maxsplit=3)[3] for line in lines[2:]] == [PROMPTS[i] for i in order]
    assert lines[2].split()[0] == f"{100 * float(expected.probabilities.max()):.1f}"


def test_labels_get_the_papers_prefix(desk):
    main([*classify_arguments("beep.wav", prompts=("--labels-file", "labels.txt")), "--json", "out.json"])
    prompts = json.loads((desk / "out.json").read_text("utf-8"))[0]["prompts"]
    assert prompts == ["this is the sound of beep", "this is the sound of car horn"]


def test_explain_writes_parts_that_add_up_and_a_mask_with_its_axes(desk, debug_backend, beep_in_noise):
    assert main(explain_arguments()) == 0
    expected = explain_clip(
        beep_in_noise, PROMPTS, debug_backend, load_explainer("grad-cam++", debug_backend)
    )
    assert sorted(path.name for path in (desk / "out").iterdir()) == RESULTS
    kept, rate = soundfile.read(desk / "out/kept.wav", dtype="float32")
    removed, _ = soundfile.read(desk / "out/removed.wav", dtype="float32")
    assert rate == 16000
    assert np.array_equal(kept, expected.listening.kept.waveform.numpy())
    assert np.abs(kept + removed - beep_in_noise.waveform.numpy()).max() < 1e-6
    with np.load(desk / "out/mask.npz") as stored:
        mask, times, frequencies = (stored[key] for key in ("mask", "times_s", "frequencies_hz"))
    assert mask.shape == (len(frequencies), len(times)) == (257, 101)
    assert (times[0], times[-1], frequencies[0], frequencies[-1]) == (0, 2, 0, 8000)
    assert np.array_equal(mask, expected.explanation.mask.numpy()) and mask.max() == 1.0
    result = json.loads((desk / "out/result.json").read_text("utf-8"))
    assert result["target"] == expected.target and result["method"] == "grad-cam++"
    assert result["prediction"]["prompts"] == PROMPTS
    assert result["metrics"] == pytest.approx(expected.metrics)


@pytest.mark.parametrize(
    ("prompts", "target", "explained"),
    [
        (("--prompts-file", "prompts.txt"), "a door <b>slams</b> 🚪", "a door <b>slams</b> 🚪"),
        (("--labels-file", "labels.txt"), "car_horn", "this is the sound of car horn"),
        (("--labels-file", "labels.txt"), "a cat", "a cat"),
    ],
    ids=["outside-the-file", "label", "not-a-label"],
)
def test_the_target_may_be_any_text(desk, no_picture, prompts, target, explained):
    assert main(explain_arguments("--target", target, prompts=prompts)) == 0
    assert json.loads((desk / "out/result.json").read_text("utf-8"))["target"] == explained


def test_explaining_twice_gives_equal_bytes(desk):
    for out in ("first", "second"):
        main(explain_arguments(out=out))
    for name in RESULTS:
        assert (desk / "first" / name).read_bytes() == (desk / "second" / name).read_bytes(), name


def test_the_top_prompts_get_a_folder_each(desk, no_picture, debug_backend, capsys):
    assert main(explain_arguments("--top-k", "2")) == 0
    expected = classify(listen(load_clip("beep.wav"), debug_backend), PROMPTS, debug_backend)
    order = expected.probabilities.argsort(descending=True).tolist()
    assert sorted(path.name for path in (desk / "out").iterdir()) == ["1", "2"]
    for rank, index in enumerate(order[:2], start=1):
        folder = desk / "out" / str(rank)
        assert sorted(path.name for path in folder.iterdir()) == RESULTS
        assert json.loads((folder / "result.json").read_text("utf-8"))["target"] == PROMPTS[index]
    assert "folders 1 to 2" in capsys.readouterr().out
    (desk / "out/1/notes.txt").write_text("mine")
    assert main(explain_arguments("--top-k", "9", "--domain", "mel")) == 0, "into the folders that are there"
    assert sorted(path.name for path in (desk / "out").iterdir()) == ["1", "2", "3"]
    assert json.loads((desk / "out/1/result.json").read_text("utf-8"))["domain"] == "mel"
    assert (desk / "out/1/notes.txt").read_text() == "mine"


def test_score_and_options_reach_the_method(desk, no_picture, debug_backend, beep_in_noise):
    more = ("--method", "smoothgrad", "--score", "contrastive", "--option", "n=3", "--option", "sigma=0.05")
    assert main(explain_arguments(*more)) == 0
    method = load_explainer("smoothgrad", debug_backend, n=3, sigma=0.05)
    task = (beep_in_noise, PROMPTS, debug_backend)
    expected = explain_clip(*task, method, score="contrastive", measure=False)
    with np.load(desk / "out/mask.npz") as stored:
        assert np.array_equal(stored["mask"], expected.explanation.mask.numpy())
    assert main(explain_arguments("--option", "layer=block3")) == 0
    with np.load(desk / "out/mask.npz") as stored:
        layer = load_explainer("grad-cam++", debug_backend, layer="block3")
        expected = explain_clip(*task, layer, measure=False)
        assert np.array_equal(stored["mask"], expected.explanation.mask.numpy())


def test_the_scores_on_offer_are_those_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["explain", "--help"])
    assert f"{{{','.join(SCORES)}}}" in capsys.readouterr().out


class Nothing(WindowMethod):
    """Finds nothing in any sound."""

    entry = MethodEntry("nothing", "Nothing", "nobody", "Keeps nothing.")

    def passes(self):
        return 0.0

    def map_windows(self, audio, target, progress):
        return WindowMaps(torch.zeros(audio.stft.shape), torch.zeros(len(audio.stft), dtype=torch.bool))


def test_that_nothing_speaks_for_the_prompt_is_said(desk, no_picture, monkeypatch, capsys):
    words = "Nothing in this sound speaks for this prompt."
    assert main(explain_arguments("--target", "a beep")) == 0
    assert json.loads((desk / "out/result.json").read_text("utf-8"))["evidence"] in ("present", "unknown")
    assert words not in capsys.readouterr().out
    monkeypatch.setitem(METHODS, "nothing", f"{__name__}:Nothing")
    assert main(explain_arguments("--target", "a beep", "--method", "nothing")) == 0
    assert words in capsys.readouterr().out
    result = json.loads((desk / "out/result.json").read_text("utf-8"))
    assert result["evidence"] == "absent" and result["target"] == "a beep"
    kept, _ = soundfile.read(desk / "out/kept.wav")
    assert not kept.any()


def test_the_completeness_error_is_reported(desk, no_picture):
    method = ("--method", "integrated-gradients", "--option", "steps=60")
    assert main(explain_arguments(*method, "--target", "rain on a roof")) == 0
    error = json.loads((desk / "out/result.json").read_text("utf-8"))["completeness_error"]
    assert 0 < error < 0.1
    assert main(explain_arguments()) == 0
    assert json.loads((desk / "out/result.json").read_text("utf-8"))["completeness_error"] is None


def test_a_mel_mask_has_mel_rows(desk, no_picture):
    assert main(explain_arguments("--domain", "mel")) == 0
    with np.load(desk / "out/mask.npz") as stored:
        assert stored["mask"].shape == (32, 101) and len(stored["frequencies_hz"]) == 32
        assert 50 < stored["frequencies_hz"][0] < stored["frequencies_hz"][-1] < 8000


BAD = {
    "no-clip": (classify_arguments("missing.wav"), "no file 'missing.wav'"),
    "silent": (classify_arguments("beep.wav", "silent.wav"), "'silent.wav' is silent"),
    "no-prompts-file": (
        classify_arguments("beep.wav", prompts=("--prompts-file", "none.txt")),
        "cannot be read",
    ),
    "empty-prompts": (
        classify_arguments("beep.wav", prompts=("--prompts-file", "empty.txt")),
        "holds no prompt",
    ),
    "twice": (
        classify_arguments("beep.wav", prompts=("--prompts-file", "twice.txt")),
        "Lines 1 and 3 of 'twice.txt'",
    ),
    "binary": (classify_arguments("beep.wav", prompts=("--prompts-file", "silent.wav")), "no UTF-8 text"),
    "endless": (
        classify_arguments("beep.wav", prompts=("--prompts-file", "endless.txt")),
        "10,000 characters",
    ),
    "prompts-missing": (["classify", "beep.wav"], "is required"),
    "no-command": ([], "required"),
    "wrong-command": (["explode"], "explode"),
    "wrong-option": ([*classify_arguments("beep.wav"), "--loud"], "--loud"),
    "backend": (["classify", "beep.wav", "--prompts-file", "prompts.txt", "--backend", "x"], "backend 'x'"),
    "explain-silent": (explain_arguments(clip="silent.wav"), "'silent.wav' is silent"),
    "method": (explain_arguments("--method", "magic"), "explainer 'magic'"),
    "no-decoder": (explain_arguments("--method", "lmac-zs"), "lmac-zs-debug-stft"),
    "option": (explain_arguments("--option", "n"), "write NAME=VALUE"),
    "unknown-option": (explain_arguments("--option", "n=3"), "'grad-cam++' has no option 'n'"),
    "option-value": (explain_arguments("--method", "rise", "--option", "n=x"), "option n is x"),
    "layer": (explain_arguments("--option", "layer=block9"), "no layer 'block9'"),
    "score": (explain_arguments("--score", "loss"), "invalid choice: 'loss'"),
    "score-as-an-option": (
        explain_arguments("--option", "score=cosine"),
        "no option 'score': choose what is explained by --score",
    ),
    "score-alone": (
        explain_arguments("--score", "contrastive", prompts=("--prompts-file", "one.txt")),
        "compares the prompt with others",
    ),
    "top-k": (explain_arguments("--top-k", "0"), "no whole number of 1 or more"),
    "top-k-and-target": (explain_arguments("--top-k", "2", "--target", "rain"), "not allowed with"),
    "empty-target": (explain_arguments("--target", "  "), "target is empty"),
    "out-is-a-file": (explain_arguments(out="beep.wav"), "'beep.wav' is a file"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_sentence_and_leaves_nothing(desk, capsys, arguments, words):
    (desk / "empty.txt").write_text(" \n\n")
    (desk / "one.txt").write_text("rain\n")
    (desk / "twice.txt").write_text("rain\nsnow\n rain \n")
    (desk / "endless.txt").write_text("x" * 10000)
    before = {path: path.read_bytes() for path in desk.iterdir()}
    json_out = ["--json", "out.json"] if arguments[:1] == ["classify"] else []
    assert main([*arguments, *json_out]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1 and words in error
    assert "Traceback" not in error and str(desk) not in error
    assert {path: path.read_bytes() for path in desk.iterdir()} == before


def test_a_failure_at_the_last_file_leaves_the_old_results(desk, no_picture, monkeypatch):
    main(explain_arguments())
    (desk / "out/notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in (desk / "out").iterdir()}

    def fail(*arguments):
        raise LMACError("The picture cannot be drawn.")

    monkeypatch.setattr(results, "save_explanation_figure", fail)
    assert main(explain_arguments("--target", "a beep")) == 2
    assert {path.name: path.read_bytes() for path in (desk / "out").iterdir()} == before
    assert not [path.name for path in desk.iterdir() if path.name.startswith(".")]


def test_new_results_replace_old_ones_and_other_files_stay(desk, no_picture):
    main(explain_arguments("--target", "a beep"))
    (desk / "out/notes.txt").write_text("mine")
    main(explain_arguments("--target", "rain on a roof"))
    assert json.loads((desk / "out/result.json").read_text("utf-8"))["target"] == "rain on a roof"
    assert sorted(path.name for path in (desk / "out").iterdir()) == sorted([*RESULTS, "notes.txt"])


def test_an_interruption_is_told_and_leaves_nothing(desk, monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "save_explanation_figure", interrupt)
    assert main(explain_arguments()) == 130
    assert "Interrupted" in capsys.readouterr().err
    assert sorted(path.name for path in desk.iterdir()) == [
        "beep.wav",
        "labels.txt",
        "prompts.txt",
        "silent.wav",
    ]


def test_list_names_what_the_other_commands_accept(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in (*BACKENDS, *METHODS)) and "compact-clap-2 (clap)" in out


@pytest.mark.parametrize("command", [[], *([name] for name in cli.COMMANDS)])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([*command, "--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert "usage: lmaczs" in out
    assert command or all(name in out for name in cli.COMMANDS)


def test_the_program_itself_leaves_with_2_and_one_line(desk):
    """A broken mp3 makes libmpg123 write to stderr behind Python's back; that must not reach the person."""
    tone = 0.3 * np.sin(np.arange(48000 * 4) * 0.05)
    soundfile.write(desk / "clip.mp3", tone, 48000, format="MP3", subtype="MPEG_LAYER_III")
    data = bytearray((desk / "clip.mp3").read_bytes())
    data[4000:12000] = np.random.default_rng(0).bytes(8000)
    (desk / "broken.mp3").write_bytes(data)
    (desk / "noise.mp3").write_bytes(data[:4] + np.random.default_rng(0).bytes(20000))
    for name, code, words in (
        ("noise.mp3", 2, "'noise.mp3' cannot be read"),
        ("broken.mp3", 0, "Note on 'broken': The recording is damaged"),
    ):
        command = [sys.executable, "-m", "lmaczs", *classify_arguments(name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stderr
        assert (done.stdout == "") == bool(code)
        assert done.stderr.count("\n") == 1 and words in done.stderr


@pytest.mark.parametrize("how", ["stdin", "fifo", "substitution"])
def test_a_recording_may_come_through_a_pipe(desk, how):
    classify = shlex.join([sys.executable, "-m", "lmaczs", *classify_arguments("CLIP")])
    script = {
        "stdin": classify.replace("CLIP", "-") + " < <(cat beep.wav)",
        "fifo": "mkfifo pipe; cat beep.wav > pipe & " + classify.replace("CLIP", "pipe"),
        "substitution": classify.replace("CLIP", "<(cat beep.wav)"),
    }[how]
    piped = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=300)
    assert piped.returncode == 0, piped.stderr
    plain = subprocess.run(
        ["bash", "-c", classify.replace("CLIP", "beep.wav")], capture_output=True, text=True
    )
    assert piped.stdout.splitlines()[1:] == plain.stdout.splitlines()[1:]


def test_what_comes_through_a_pipe_passes_the_same_gate(desk):
    for source, clips, words in (
        ("/dev/null", ["-"], "'stdin' is empty"),
        ("prompts.txt", ["-"], "'stdin' cannot be read as sound"),
        ("beep.wav", ["-", "-"], "'-' is given twice"),
    ):
        command = [sys.executable, "-m", "lmaczs", *classify_arguments(*clips)]
        with open(source, "rb") as file:
            done = subprocess.run(command, stdin=file, capture_output=True, text=True, timeout=300)
        assert (done.returncode, done.stdout) == (2, "") and words in done.stderr


def test_names_that_are_no_utf8_are_read(desk):
    name = b"caf\xe9 #1 a::b.wav"
    os.link(b"beep.wav", name)
    command = [sys.executable, "-m", "lmaczs", *classify_arguments("CLIP")]
    command[command.index("CLIP")] = name
    done = subprocess.run(command, capture_output=True, timeout=300)
    assert done.returncode == 0 and done.stdout.decode("utf-8").startswith("caf? #1 a::b.wav\n")


def test_a_note_is_said_and_stored(desk, no_picture, capsys):
    data = (desk / "beep.wav").read_bytes()
    (desk / "cut.wav").write_bytes(data[: len(data) // 2])
    assert main(explain_arguments(clip="cut.wav")) == 0
    assert "Note on 'cut': The recording is cut off" in capsys.readouterr().err
    (note,) = json.loads((desk / "out" / "result.json").read_text())["notes"]
    assert "is cut off" in note and "cut.wav" not in note


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2), (48000, 3), (8000, 1)])
def test_kept_and_removed_come_at_the_inputs_own_rate_where_asked(desk, no_picture, rate, channels, capsys):
    mono = resample(load_clip("beep.wav"), rate).waveform.numpy()
    samples = np.stack([mono * gain for gain in (1.0, 0.5, -0.3)[:channels]], axis=1)
    soundfile.write("input.wav", samples, rate, subtype="FLOAT")
    assert main(explain_arguments("--rate", "input", clip="input.wav")) == 0
    assert f"at {rate} Hz" in capsys.readouterr().out
    kept, removed = (soundfile.read(f"out/{name}.wav", always_2d=True) for name in ("kept", "removed"))
    assert kept[1] == removed[1] == rate and kept[0].shape == removed[0].shape == samples.shape
    np.testing.assert_allclose(kept[0] + removed[0], samples, atol=1e-6, rtol=0)
    assert np.abs(kept[0]).max() > 1e-4 and np.abs(removed[0]).max() > 1e-4
    # Every channel goes through the same mask.
    for channel, gain in enumerate((1.0, 0.5, -0.3)[:channels]):
        np.testing.assert_allclose(kept[0][:, channel], gain * kept[0][:, 0], atol=1e-5, rtol=0)
    # What is kept is what the model's own kept.wav holds.
    assert main(explain_arguments(clip="input.wav", out="model")) == 0
    model = resample(load_clip("model/kept.wav", allow_silence=True), rate).waveform.numpy()
    mean = np.mean([1.0, 0.5, -0.3][:channels])
    middle = slice(rate // 4, len(samples) - rate // 4)
    np.testing.assert_allclose(mean * kept[0][middle, 0], model[middle], atol=2e-3, rtol=0)
