"""A listening study: balanced, level, blind, whole after a kill; and the taste of twelve known listeners is found."""

import csv
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch

from lmaczs.cli import main
from lmaczs.signal.mixing import active_power
from lmaczs.study.analysis import analyse, as_markdown, holm
from lmaczs.study.answers import Answers, Rating
from lmaczs.study.design import (
    ANCHOR,
    QUESTION,
    REFERENCE,
    Item,
    Stimulus,
    Study,
    balanced_row,
    read_study,
    write_study,
)

RATE = 16000
CONDITIONS = ("good", "fair", REFERENCE, ANCHOR)
TASTE = {"good": 75, "fair": 45, REFERENCE: 92, ANCHOR: 8}


@pytest.mark.parametrize("size", [2, 4, 5, 6, 9, 10])
def test_orders_are_balanced(size):
    rows = [balanced_row(size, number) for number in range(size * (1 + size % 2))]
    assert all(sorted(row) == list(range(size)) for row in rows)
    places = Counter((place, item) for row in rows for place, item in enumerate(row))
    followers = Counter(pair for row in rows for pair in pairwise(row))
    assert len(set(places.values())) == 1 and len(places) == size * size
    assert len(set(followers.values())) == 1 and len(followers) == size * (size - 1)


# --- made


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        time_s = np.arange(2 * RATE) / RATE
        for index in range(8):
            generator = np.random.default_rng(index)
            tone = np.sin(2 * np.pi * generator.uniform(200, 6000) * time_s) * (time_s % 0.5 < 0.3)
            soundfile.write(folder / f"{index}.wav", 0.02 * (index + 1) * tone, RATE)
            writer.writerow([f"{index}.wav", f"label {index % 4}"])
    return folder / "clips.csv"


def make(table, out, *more):
    flags = [
        "--clips",
        str(table),
        "--backend",
        "debug",
        "--methods",
        "saliency",
        "--items",
        "3",
        "--out",
        str(out),
    ]
    return main(["study", "make", *flags, *more])


def test_all_sounds_are_level_and_their_names_say_nothing(table, tmp_path, capsys):
    assert make(table, tmp_path / "study") == 0
    study = read_study(tmp_path / "study")
    assert study.conditions == ("saliency", REFERENCE, ANCHOR) and len(study.items) == 3
    items = [study.practice, *study.items]
    files = [item.sound for item in items] + [one.sound for item in items for one in item.stimuli]
    assert len(set(files)) == 16 and all(re.fullmatch(r"sounds/[0-9a-f]{16}\.wav", file) for file in files)
    levels = []
    for file in files:
        sound, rate = soundfile.read(tmp_path / "study" / file)
        assert rate == RATE and np.abs(sound).max() <= 1
        levels.append(10 * np.log10(active_power(torch.from_numpy(sound))))
    assert max(levels) - min(levels) < 1.5
    # The hidden reference is nearest to the sound that the class names: half of the mixture.
    assert "study serve" in capsys.readouterr().out
    assert make(table, tmp_path / "study") == 2
    assert "holds a study already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--items", "0"], "0 items were asked for"),
        (["--items", "500"], "501 mixtures were asked for"),
        (["--methods", "smell"], "There is no explainer 'smell'"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(table, tmp_path, capsys, flags, said):
    assert make(table, tmp_path / "study", *flags) == 2
    told = capsys.readouterr().err.strip()
    assert said in told and "\n" not in told and not (tmp_path / "study" / "study.json").exists()


def test_a_study_without_recordings_says_what_is_missing(tmp_path, capsys):
    assert main(["study", "make", "--out", str(tmp_path / "study")]) == 2
    assert "A study needs recordings: name a table" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["serve", "analyse"])
def test_a_folder_without_a_study_is_said(tmp_path, capsys, action):
    (tmp_path / "study.json").write_text('{"title": 1}')
    assert main(["study", action, str(tmp_path)]) == 2
    assert "holds no study: make one" in capsys.readouterr().err


# --- rated


def toy_study(folder, items=6):
    """A study whose sounds are short tones."""
    (folder / "sounds").mkdir(parents=True)
    numbers = iter(range(1000))

    def sound():
        name = f"sounds/{next(numbers):016x}.wav"
        soundfile.write(folder / name, 0.1 * np.sin(np.arange(1600) / 5), RATE)
        return name

    def item(label):
        return Item(label, sound(), tuple(Stimulus(condition, sound()) for condition in CONDITIONS))

    whole = [item(f"<b>class</b> {number}") for number in range(items)]
    study = Study("A <i>study</i>", CONDITIONS, tuple(whole), item("practice"), 0, {"classifier": "toy"})
    write_study(study, folder)
    assert read_study(folder) == study
    return study


@contextmanager
def served(folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "lmaczs", "study", "serve", str(folder), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert f"http://127.0.0.1:{port}/" in server.stdout.readline()
        yield server, f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def call(url, path, sent):
    """What the server says, also where it refuses; waits until it is there."""
    request = urllib.request.Request(f"{url}/{path}", json.dumps(sent).encode(), method="POST")
    for _ in range(200):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server does not answer")


def value_of(study, shown, stimulus, generator, ignores):
    """What a listener of known taste says; one who ignores the anchor says the same to all sounds of an item."""
    item = study.practice if shown["number"] == 0 else study.items[shown["number"] - 1]
    (condition,) = (one.condition for one in item.stimuli if one.sound == stimulus["sound"])
    return 10 * shown["number"] if ignores else max(0, min(100, round(generator.gauss(TASTE[condition], 8))))


def listen_to_all(url, study, number, ignores=False, token=None, most=1000):
    generator = random.Random(number)
    token = token or call(url, "join", {"agreed": True})["token"]
    for _ in range(most):
        shown = call(url, "show", {"token": token})
        if shown.get("done"):
            break
        for stimulus in shown["stimuli"]:
            value = value_of(study, shown, stimulus, generator, ignores)
            sent = {"token": token, "number": shown["number"], "key": stimulus["key"], "value": value}
            assert call(url, "rate", sent) == {"kept": True}
        assert "message" not in call(url, "go-on", {"token": token, "number": shown["number"]})
    return token


def test_twelve_listeners_are_understood_and_two_are_left_out(tmp_path, capsys):
    """All at once, through the page's own calls; their taste lies in the intervals that come out."""
    folder = tmp_path / "study"
    study = toy_study(folder)
    with served(folder) as (_, url):
        threads = [
            threading.Thread(target=listen_to_all, args=(url, study, number, number in (3, 8)))
            for number in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    ratings = Answers(folder).ratings()
    assert len(ratings) == 12 * (6 + 1) * 4
    assert main(["study", "analyse", str(folder)]) == 0
    assert "| good |" in capsys.readouterr().out
    found = json.loads((folder / "analysis.json").read_text())
    assert found["listeners"] == 12 and len(found["rejected"]) == 2 and found["ratings"] == 10 * 6 * 4
    for condition, taste in TASTE.items():
        mean = found["means"][condition]
        assert mean["n"] == 10 and mean["low"] - 3 <= taste <= mean["high"] + 3
        assert abs(mean["value"] - taste) < 4 and mean["high"] - mean["low"] < 8
    assert all(one["differs"] and one["p"] < 0.05 for one in found["comparisons"])
    assert {(one["first"], one["second"]) for one in found["comparisons"]} >= {("good", "fair")}
    assert (folder / "analysis.png").stat().st_size > 5000
    # Orders differ between listeners, and every item stands in many places.
    places = {number: [item for item, _ in study.order(number)] for number in range(12)}
    assert len({tuple(order) for order in places.values()}) == 6


def test_nothing_is_lost_when_the_server_is_killed_between_answers(tmp_path):
    folder = tmp_path / "study"
    study = toy_study(folder, items=3)
    kept, token = [], None
    for turn in range(5):
        with served(folder) as (server, url):
            token = token or call(url, "join", {"agreed": True})["token"]
            shown = call(url, "show", {"token": token})
            # What was rated before the kill is there again.
            rated = {one["key"]: one["value"] for one in shown["stimuli"] if one["value"] is not None}
            assert all(
                item in kept for item in ((shown["number"], key, value) for key, value in rated.items())
            )
            open_keys = [one["key"] for one in shown["stimuli"] if one["key"] not in rated]
            for key in open_keys[: 1 + turn % 3]:
                sent = {"token": token, "number": shown["number"], "key": key, "value": 10 * turn + key}
                assert call(url, "rate", sent) == {"kept": True}
                kept.append((shown["number"], key, 10 * turn + key))
            if len(open_keys) <= 1 + turn % 3:
                call(url, "go-on", {"token": token, "number": shown["number"]})
            server.send_signal(signal.SIGKILL)
    found = [(one.item + 1, one.value) for item in (-1, 0, 1, 2) for one in Answers(folder).ratings(0, item)]
    assert sorted(found) == sorted((number, value) for number, _, value in kept)
    assert study.items


def test_two_listeners_never_mix_and_strange_messages_are_refused(tmp_path):
    folder = tmp_path / "study"
    study = toy_study(folder, items=2)
    with served(folder) as (_, url):
        first, second = (call(url, "join", {"agreed": True})["token"] for _ in range(2))
        assert first != second
        sent = {"token": first, "number": 0, "key": 1, "value": 33}
        assert call(url, "rate", sent) == {"kept": True}
        values = [
            [one["value"] for one in call(url, "show", {"token": t})["stimuli"]] for t in (first, second)
        ]
        assert values == [[None, 33, None, None], [None] * 4]
        for wrong in (
            {"value": 101}, {"value": -1}, {"value": True}, {"value": "5"}, {"key": 4}, {"key": None}, {"number": 1},
            {"token": "x"}, {"token": None}, {"token": ["a"]},
        ):  # fmt: skip
            assert "message" in call(url, "rate", sent | wrong)
        assert "Rate every sound" in call(url, "go-on", {"token": first, "number": 0})["message"]
        assert "message" in call(url, "join", {"agreed": "yes"})
        assert "message" in call(url, "join", ["agreed"])
        # Neither the design nor the answers can be fetched, and methods are named nowhere.
        for path in (
            "study.json",
            "sounds/..%2fstudy.json",
            "sounds/../study.json",
            "answers.sqlite",
            "sounds/x.wav",
        ):
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(f"{url}/{path}")
        told = json.dumps(call(url, "show", {"token": second}))
        assert not any(condition in told for condition in study.conditions)
        with urllib.request.urlopen(url) as page:
            assert "default-src 'self'" in page.headers["Content-Security-Policy"]


def test_a_taken_port_is_said(tmp_path, capsys):
    toy_study(tmp_path / "study")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["study", "serve", str(tmp_path / "study"), "--port", str(port)]) == 2
    assert "choose another with --port" in capsys.readouterr().err


# --- analysed


def test_holm_is_the_step_down_correction():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_alike_conditions_are_not_told_apart_and_nobody_is_no_result(tmp_path):
    study = toy_study(tmp_path / "study", items=4)
    generator = random.Random(0)
    ratings = [
        Rating(
            listener, item, condition, {REFERENCE: 95, ANCHOR: 5}.get(condition, generator.randint(40, 60))
        )
        for listener in range(10)
        for item in range(4)
        for condition in CONDITIONS
    ]
    found = analyse(study, ratings)
    told = {(one.first, one.second): one for one in found.comparisons}
    assert not told["good", "fair"].differs and told["good", ANCHOR].differs
    assert "cannot be told apart" in as_markdown(study, found) and QUESTION in as_markdown(study, found)
    # Practice does not count.
    assert analyse(study, [*ratings, Rating(0, -1, "good", 0)]) == found
    none = analyse(study, [])
    assert none.listeners == 0 and all(value.n == 0 for value in none.means.values())


def test_answers_without_anybody_are_said(tmp_path, capsys):
    toy_study(tmp_path / "study")
    assert main(["study", "analyse", str(tmp_path / "study")]) == 2
    assert "Nobody has finished an item" in capsys.readouterr().err


def test_a_damaged_file_of_answers_is_one_sentence(tmp_path, capsys):
    toy_study(tmp_path / "study")
    (tmp_path / "study" / "answers.sqlite").write_bytes(b"no database at all" * 100)
    assert main(["study", "analyse", str(tmp_path / "study")]) == 2
    assert "cannot be used" in capsys.readouterr().err
