"""Blind comparisons of the page: kept whole, nothing of what was heard in them, and read as pairs."""

import random
import sqlite3

import pytest

from lmaczs.cli import main
from lmaczs.errors import LMACError
from lmaczs.study.analysis import analyse, as_markdown
from lmaczs.study.answers import Answers
from lmaczs.study.comparisons import Comparisons, as_study
from lmaczs.study.design import REFERENCE

TASTE = {"lmac-zs": 80, "grad-cam++": 50, "l2i@10": 48}


def token(number):
    return f"{number:016d}"


def rated(folder, listeners=12, items=6):
    """Listeners of known taste, each for other pairs; the hard sounds are only ever given to the better method."""
    comparisons, chance = Comparisons(folder), random.Random(0)
    for number in range(listeners):
        for item in range(items):
            pair = chance.sample(list(TASTE), 2)
            hard = 40 * ("lmac-zs" in pair)
            ratings = {name: min(max(TASTE[name] - hard + chance.randint(-6, 6), 0), 100) for name in pair}
            comparisons.keep(token(number), f"sound {item}", "a dog", ratings)
    return Answers(folder).ratings()


def test_a_preference_is_found_where_both_were_rated_though_the_means_hide_it(tmp_path):
    ratings = rated(tmp_path / "kept")
    study = as_study(ratings)
    assert study.conditions == ("grad-cam++", "l2i@10", "lmac-zs")
    found = analyse(study, ratings)
    assert found.listeners == 12 and not found.rejected and found.items == 6
    pairs = {(one.first, one.second): one for one in found.comparisons}
    better = pairs["grad-cam++", "lmac-zs"]
    assert better.differs and better.difference.low < -30 < better.difference.high
    assert not pairs["grad-cam++", "l2i@10"].differs
    text = as_markdown(study, found)
    assert "6 sounds and sentences that visitors brought" in text and REFERENCE not in text


def test_analyse_reads_what_the_page_kept(tmp_path, capsys):
    rated(tmp_path / "kept", listeners=3, items=2)
    assert main(["study", "analyse", str(tmp_path / "kept")]) == 0
    assert "Blind comparisons on the page" in capsys.readouterr().out
    assert (tmp_path / "kept" / "analysis.png").stat().st_size > 1000
    # It has no items that could be served.
    assert main(["study", "serve", str(tmp_path / "kept")]) == 2
    assert "holds no study" in capsys.readouterr().err


def test_said_again_it_replaces_and_nothing_of_sound_or_sentence_is_kept(tmp_path):
    comparisons = Comparisons(tmp_path / "kept")
    for value in (10, 90):
        comparisons.keep(token(1), "fingerprint", "my neighbour shouting", {"lmac-zs": value, "rise": 20})
    found = {one.condition: one.value for one in comparisons.answers.ratings()}
    assert found == {"lmac-zs": 90, "rise": 20}
    comparisons.keep(token(2), "fingerprint", "my neighbour shouting", {"lmac-zs": 1, "rise": 2})
    assert len({one.listener for one in comparisons.answers.ratings()}) == 2
    assert len({one.item for one in comparisons.answers.ratings()}) == 1
    with sqlite3.connect(comparisons.answers.file) as base:
        said = "\n".join(base.iterdump())
    assert "neighbour" not in said and "fingerprint" not in said


@pytest.mark.parametrize(
    "sent",
    [
        (None, "sound", "a dog", {"lmac-zs": 1, "rise": 2}),
        ("short", "sound", "a dog", {"lmac-zs": 1, "rise": 2}),
        ("'; DROP TABLE ra", "sound", "a dog", {"lmac-zs": 1, "rise": 2}),
        (token(0), 7, "a dog", {"lmac-zs": 1, "rise": 2}),
        (token(0), "sound", None, {"lmac-zs": 1, "rise": 2}),
        (token(0), "sound", "a dog", None),
        (token(0), "sound", "a dog", {"lmac-zs": 1}),
        (token(0), "sound", "a dog", {"lmac-zs": 1, "rise": 101}),
        (token(0), "sound", "a dog", {"lmac-zs": 1, "rise": True}),
        (token(0), "sound", "a dog", {"lmac-zs": 1, "rise": 2.5}),
        (token(0), "sound", "a dog", {"lmac-zs": 1, "<b>": 2}),
        (token(0), "sound", "a dog", {"lmac-zs": 1, "x" * 41: 2}),
    ],
)
def test_anything_else_is_refused_and_nothing_kept(tmp_path, sent):
    comparisons = Comparisons(tmp_path / "kept")
    with pytest.raises(LMACError, match="does not fit the page"):
        comparisons.keep(*sent)
    assert not comparisons.answers.ratings()


def test_half_a_character_in_a_sentence_is_no_fault(tmp_path):
    comparisons = Comparisons(tmp_path / "kept")
    comparisons.keep(token(0), "sound", "a dog \ud83d", {"lmac-zs": 1, "rise": 2})
    assert len(comparisons.answers.ratings()) == 2


def test_a_folder_with_a_study_is_refused(tmp_path):
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(LMACError, match="holds a study with items of its own: name another folder"):
        Comparisons(tmp_path)
