"""Methods are found by name, options are checked in one sentence, and a new method is one class and one line."""

import math
import sys
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch

from lmaczs.errors import LMACError
from lmaczs.explainers import METHODS, entry_of, load_explainer, options_of
from lmaczs.explainers.base import Method, MethodEntry, WindowMaps, WindowMethod
from lmaczs.hearing import explain, listen


def test_the_registry_knows_its_methods_by_their_own_names(debug_backend):
    assert list(METHODS)[0] == "lmac-zs"
    for name in METHODS:
        entry = entry_of(name)
        assert entry.name == name and entry.label and entry.paper and entry.sentence.endswith(".")
        assert entry.trained == name.startswith(("lmac-zs", "l2i"))
        assert entry.domains == (("stft",) if name.startswith("l2i") else ("stft", "mel"))
        if not entry.trained:
            method = load_explainer(name, debug_backend, "mel")
            assert (method.name, method.label, method.domain) == (name, entry.label, "mel")
    assert len({entry_of(name).label for name in METHODS}) == len(METHODS)


def test_options_are_the_knobs_of_a_method_and_nothing_of_what_is_explained():
    assert options_of("lmac-zs") == ("release",)
    assert options_of("l2i") == ("release", "threshold", "compat", "griffin_lim")
    assert options_of("smoothgrad") == ("of", "n", "sigma", "seed")
    assert options_of("saliency") == ()
    assert not any({"score", "rivals"} & set(options_of(name)) for name in METHODS)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("saliency", {"loud": 1}, "'saliency' has no option 'loud': it takes none"),
        ("rise", {"score": "logit"}, "'rise' has no option 'score': it takes n, bands, seconds, keep, seed"),
        ("lmac-zs", {"decoder": 1}, "'lmac-zs' has no option 'decoder': it takes release"),
        (
            "smoothgrad",
            {"of": "rise"},
            "option of is 'rise': choose a method that works by gradients, one of",
        ),
        ("smoothgrad", {"of": "smoothgrad"}, "option of is 'smoothgrad'"),
        ("smoothgrad", {"n": 0}, "option n is 0: choose a whole number, 1 or more"),
        ("smoothgrad", {"n": 2.5}, "option n is 2.5"),
        ("smoothgrad", {"sigma": -0.1}, "option sigma is -0.1: choose a number, 0 or more"),
        ("smoothgrad", {"sigma": math.nan}, "option sigma is nan"),
        ("smoothgrad", {"seed": "x"}, "option seed is x"),
        ("integrated-gradients", {"steps": -1}, "option steps is -1"),
        ("occlusion", {"seconds": 0}, "option seconds is 0: choose a number, 0.02 to 60"),
        ("occlusion", {"overlap": 0}, "option overlap is 0"),
        ("occlusion", {"bands": True}, "option bands is True"),
        ("rise", {"keep": 1}, "option keep is 1: choose a number, 0.01 to 0.99"),
        ("rise", {"n": "many"}, "option n is many"),
        ("rise", {"seed": -1}, "option seed is -1"),
        ("slime", {"rows": 99}, "option rows is 99: choose a whole number, 1 to 32"),
        ("slime", {"columns": 102}, "option columns is 102: choose a whole number, 1 to 101"),
        ("slime", {"alpha": 0}, "option alpha is 0: choose a number, 0.0001 or more"),
        ("slime", {"width": math.inf}, "option width is inf"),
        ("optimized-mask", {"steps": 0}, "option steps is 0"),
        ("grad-cam++", {"layer": "block9"}, "no layer 'block9': choose one of 'block2'"),
        ("magic", {}, "no explainer 'magic': choose one of 'lmac-zs'"),
    ],
)
def test_a_wrong_option_is_refused_in_one_sentence(debug_backend, name, options, words):
    with pytest.raises(LMACError, match=words) as raised:
        load_explainer(name, debug_backend, **options)
    assert "\n" not in str(raised.value)


def test_a_wrong_domain_is_refused(debug_backend):
    with pytest.raises(LMACError, match="no mask domain 'bark'"):
        load_explainer("saliency", debug_backend, "bark")


def test_names_that_are_none_are_refused_everywhere():
    for ask in (entry_of, options_of):
        with pytest.raises(LMACError, match="no explainer 'magic'"):
            ask("magic")


# --- a new method: one class and one line


@dataclass(frozen=True, eq=False)
class LoudestBand(WindowMethod):
    """Keeps the rows that are loud on average."""

    entry = MethodEntry("loudest-band", "Loudest band", "nobody 2026", "Keeps the loudest rows.")
    share: float = 0.1

    def passes(self):
        return 0.0

    def map_windows(self, audio, target, progress=lambda share, text: None):
        power = audio.stft.abs().square() if self.domain == "stft" else audio.mel_power
        level = power.mean(2, keepdim=True)
        kept = level >= level.quantile(1 - self.share, dim=1, keepdim=True)
        progress(1.0, self.label)
        return WindowMaps(kept.float().expand_as(power), torch.ones(len(power), dtype=torch.bool))


@pytest.fixture
def toy(monkeypatch):
    """The line that a new method adds, and its file."""
    module = ModuleType("toy_method")
    module.LoudestBand = LoudestBand
    monkeypatch.setitem(sys.modules, "toy_method", module)
    monkeypatch.setitem(METHODS, "loudest-band", "toy_method:LoudestBand")
    return "loudest-band"


def test_a_new_method_is_found_by_its_name(toy, debug_backend):
    method = load_explainer(toy, debug_backend, "mel", share=0.3)
    assert isinstance(method, Method) and (method.name, method.label) == (toy, "Loudest band")
    assert entry_of(toy).sentence == "Keeps the loudest rows." and options_of(toy) == ("share",)
    with pytest.raises(LMACError, match="'loudest-band' has no option 'n': it takes share"):
        load_explainer(toy, debug_backend, n=3)
    with pytest.raises(LMACError, match="choose one of .*'loudest-band'"):
        entry_of("magic")


def test_a_new_method_explains_recordings_of_any_length(toy, debug_backend, make_beep):
    for seconds in (0.7, 2.0, 5.3):
        recording = listen(make_beep(seconds), debug_backend)
        result = explain(recording, ("a beep", "rain"), debug_backend, load_explainer(toy, debug_backend))
        assert result.explanation.method == toy and result.explanation.evidence == "present"
        assert result.explanation.mask.shape == result.magnitude_db.shape
        assert 0 < float(result.explanation.mask.mean()) < 0.15 and "ff" in result.metrics
        whole = result.listening.kept.waveform + result.listening.removed.waveform
        torch.testing.assert_close(whole, recording.clip.waveform, atol=1e-5, rtol=0)


def test_a_new_method_is_told_on_the_page(toy):
    from lmaczs.ui.facts import about

    assert "Loudest band (nobody 2026): Keeps the loudest rows." in about()
