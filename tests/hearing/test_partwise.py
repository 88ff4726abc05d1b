"""A recording that is explained part by part: the parts add up to what is explained in one piece."""

from dataclasses import replace

import pytest
import torch

from lmaczs import load_explainer
from lmaczs.clap.recording import WINDOWS_AT_ONCE, listen
from lmaczs.errors import PromptError
from lmaczs.explainers import METHODS, _class_of
from lmaczs.explainers.base import WindowMaps
from lmaczs.hearing import Partwise, explain
from lmaczs.signal.windows import clip_frames
from lmaczs.types import AudioClip, no_progress

PROMPTS = ["a beep", "rain", "a dog"]


@pytest.fixture(scope="module")
def long_clip():
    """45 s with silence in it, which belongs to no window, and a last window that begins within the one before."""
    noise = 0.05 * torch.randn(round(45.3 * 16000), generator=torch.Generator().manual_seed(0))
    time = torch.arange(len(noise)) / 16000
    sound = noise + 0.5 * torch.sin(2 * torch.pi * 1000 * time) * (time % 7 < 0.5)
    sound[20 * 16000 + 77 : 26 * 16000] = 0
    return AudioClip(sound, 16000, "long")


@pytest.fixture(scope="module")
def recording(planted_backend, long_clip):
    heard = listen(long_clip, planted_backend)
    assert len(heard.plan.windows) > 2 * WINDOWS_AT_ONCE, "the test asks nothing"
    return heard


def equal(one, other):
    assert torch.equal(one.explanation.mask, other.explanation.mask)
    assert replace(one.explanation, mask=None) == replace(other.explanation, mask=None)
    for name in ("kept", "removed"):
        assert torch.equal(getattr(one.listening, name).waveform, getattr(other.listening, name).waveform)
    for name in ("magnitude_db", "frequencies_hz", "times_s"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert (one.target, one.target_similarity) == (other.target, other.target_similarity)


@pytest.mark.parametrize("name", ["lmac-any", "lmac-any, mel", "loud"])
def test_the_parts_in_any_order_are_the_whole_to_the_bit(planted_backend, recording, loud_cells, name):
    key, _, domain = name.partition(", ")
    method = (
        loud_cells(planted_backend)
        if key == "loud"
        else load_explainer(key, planted_backend, domain or "stft")
    )
    work = Partwise(recording, PROMPTS, planted_backend, method)
    for number in work.order(at_s=30.0):
        assert not work.is_done
        work.explain(number)
    assert work.is_done
    whole = explain(recording, PROMPTS, planted_backend, method, measure=False)
    assert whole.explanation.mask.any()
    equal(work.result(), whole)


def test_what_is_heard_of_a_part_is_what_will_be_heard_of_it(planted_backend, recording, loud_cells):
    method = loud_cells(planted_backend)
    work = Partwise(recording, PROMPTS, planted_backend, method)
    whole = explain(recording, PROMPTS, planted_backend, method, measure=False)
    kept, mask = whole.listening.kept.waveform, whole.explanation.mask
    heard = torch.zeros(len(kept), dtype=torch.bool)
    # What the neighbours leak into a part.
    edge = planted_backend.spectral.n_fft
    for number in work.order():
        part = work.explain(number)
        stop = part.start + len(part.kept)
        assert not heard[part.start : stop].any()
        heard[part.start : stop] = True
        inner = slice(part.start + edge, stop - edge)
        assert torch.allclose(part.kept[edge:-edge], kept[inner], atol=1e-6)
        assert torch.equal(part.mask, mask[:, part.first_frame : part.first_frame + part.mask.shape[1]])
    # The rest is silence, where nothing is explained.
    assert heard.float().mean() > 0.8 and not recording.clip.waveform[~heard].any()


def test_the_part_that_sounds_comes_first(planted_backend, recording, loud_cells):
    work = Partwise(recording, PROMPTS, planted_backend, loud_cells(planted_backend))
    assert len(work) == 4
    assert work.order() == [0, 1, 2, 3]
    assert work.order(at_s=3.9) == [0, 1, 2, 3]
    assert work.order(at_s=17.0) == [1, 2, 3, 0]
    assert work.order(at_s=45.2) == [3, 0, 1, 2]
    # Beyond the end.
    assert work.order(at_s=1e9) == [0, 1, 2, 3]


def test_a_part_is_explained_once(planted_backend, recording, loud_cells, monkeypatch):
    method = loud_cells(planted_backend)
    work = Partwise(recording, PROMPTS, planted_backend, method)
    first = work.explain(1)
    monkeypatch.setattr(type(method), "map_windows", None)
    assert work.explain(1) is first


@pytest.mark.parametrize("least, said", [(0.9, "present"), (1.1, "absent")])
def test_one_part_that_speaks_for_the_prompt_is_enough(planted_backend, recording, fixed_mask, least, said):
    class Told(fixed_mask):
        """Says that a window speaks for the prompt where it is the loudest one."""

        def map_windows(self, audio, target, progress=no_progress):
            found = super().map_windows(audio, target)
            loud = audio.waveform.abs().amax(1) > least * recording.clip.waveform.abs().max()
            return WindowMaps(found.values * loud[:, None, None], loud)

    method = Told(planted_backend)
    work = Partwise(recording, PROMPTS, planted_backend, method)
    for number in work.order():
        work.explain(number)
    whole = explain(recording, PROMPTS, planted_backend, method, measure=False)
    assert work.result().explanation.evidence == whole.explanation.evidence == said
    assert fixed_mask(planted_backend).explain(recording, work._wanted).evidence == "unknown"


def test_prompts_are_refused_before_any_work(planted_backend, recording, loud_cells):
    with pytest.raises(PromptError, match="prompt"):
        Partwise(recording, [], planted_backend, loud_cells(planted_backend))


def test_only_methods_whose_windows_are_alone_can_be_had_in_parts():
    """A scale over the whole recording, or components of it, need all of it."""
    assert {name for name in METHODS if _class_of(name).partwise} == {
        "lmac-zs",
        "lmac-any",
        "optimized-mask",
    }


def test_the_mask_of_the_last_part_reaches_the_last_frame(planted_backend, recording, fixed_mask):
    work = Partwise(recording, PROMPTS, planted_backend, fixed_mask(planted_backend))
    part = work.explain(len(work) - 1)
    frames = clip_frames(recording.plan.num_samples, planted_backend.spectral)
    assert part.first_frame + part.mask.shape[1] == frames and part.mask[:, -1].all()
