"""What the page keeps in memory is bounded by bytes."""

from dataclasses import dataclass

import torch

from lmaczs.ui.result_size import bytes_of
from lmaczs.ui.studio import Studio


@dataclass(frozen=True)
class Part:
    gain: torch.Tensor
    name: str = "part"


@dataclass(frozen=True)
class Whole:
    mask: torch.Tensor
    parts: tuple[Part, ...] = ()
    nothing: torch.Tensor | None = None


def test_every_tensor_counts_and_what_is_shared_counts_once():
    maps = torch.zeros(3, 10)
    assert bytes_of(Whole(maps[0])) == 120  # what the view keeps alive
    assert bytes_of(Whole(maps[0], (Part(maps[1]), Part(maps[2])))) == 120
    assert bytes_of(Whole(maps, (Part(torch.zeros(5, dtype=torch.float64)),))) == 160


def test_old_explanations_go_when_the_room_is_full(studio: Studio, clip: str, monkeypatch):
    heard = studio.hear(clip)
    studio._results.clear()
    prompts = [f"prompt {number}" for number in range(6)]
    one = bytes_of(studio.explain(heard, prompts, prompts[0], "saliency").result)
    assert one > 4 * studio.explain(heard, prompts, prompts[0], "saliency").result.explanation.mask.numel()
    monkeypatch.setattr("lmaczs.ui.studio.RESULTS_MB", 3.5 * one / 2**20)
    for prompt in prompts:
        studio.explain(heard, prompts, prompt, "saliency")
    assert [key[2] for key in studio._results] == prompts[-3:]
    # One that has no room alone stays, too: it is being looked at.
    monkeypatch.setattr("lmaczs.ui.studio.RESULTS_MB", 0.0)
    studio.explain(heard, prompts, prompts[0], "saliency")
    assert [key[2] for key in studio._results] == prompts[:1]
