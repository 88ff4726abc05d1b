"""Parity with Quantus to 1e-6 on masks that are not degenerate, and what differs on purpose.

Deliberate differences:

- Quantus adds 1e-7 to every cell before the Gini index and 1e-12 inside the logarithm of the entropy. Ours do
  not, so that scale does not matter: both agree to 1e-6 where the mean of the mask is above a tenth or so.
- Quantus refuses masks that are all zero or constant. Ours have the values of the edge table.
- Its pixel flipping leaves the whole input out of the curve, and its area is in steps. Ours starts with the whole
  input, ends with silence, and has an area in [0, 1]. Equal cells are taken in a shuffled order, not in memory's.
- Its pointing game is a hit as soon as one of several equal maxima is on the target. Ours is the share of hits.
"""

import numpy as np
import pytest
import torch

from lmaczs.metrics.curves import deletion_insertion
from lmaczs.metrics.localisation import energy_on_target, pointing_accuracy
from lmaczs.metrics.shape import mask_shape, top_masks

quantus = pytest.importorskip("quantus", reason="Quantus is not installed: parity is checked where it is")

GENERATOR = torch.Generator().manual_seed(0)
NOISE = torch.rand(3, 32, 40, generator=GENERATOR).double()
MASKS = {
    "noise": NOISE,
    "sparse": NOISE**8,
    "a quarter": (NOISE > 0.75).double(),
    "smooth": torch.linspace(0.01, 1, 32).double()[None, :, None].expand(3, 32, 40) * (0.5 + 0.5 * NOISE),
}


def quantus_scores(metric: type, mask: torch.Tensor, **more) -> list[float]:
    cells = mask.unsqueeze(1).numpy().copy()
    made = metric(disable_warnings=True, **more.pop("settings", {}))
    given = {
        "model": None,
        "x_batch": cells.copy(),
        "y_batch": np.zeros(len(mask), dtype=int),
        "device": "cpu",
    }
    return [float(value) for value in made(**given | more, a_batch=cells)]


@pytest.mark.parametrize("name", MASKS)
def test_sparseness_and_complexity(name):
    ours = mask_shape(MASKS[name])
    assert ours["sps"].tolist() == pytest.approx(quantus_scores(quantus.Sparseness, MASKS[name]), abs=1e-6)
    assert ours["comp"].tolist() == pytest.approx(quantus_scores(quantus.Complexity, MASKS[name]), abs=1e-6)


@pytest.mark.parametrize("mask", [torch.zeros(1, 8, 8), torch.ones(1, 8, 8)], ids=["empty", "full"])
def test_degenerate_masks_are_scored_here_and_refused_there(mask):
    assert torch.isfinite(torch.stack(list(mask_shape(mask).values()))).all()
    with pytest.raises(AssertionError):
        quantus_scores(quantus.Sparseness, mask)


def test_mass_on_the_target_and_pointing():
    power = torch.rand(3, 32, 40, generator=GENERATOR).double()
    target = torch.rand(3, 32, 40, generator=GENERATOR) > 0.6
    cells = {"s_batch": target.unsqueeze(1).numpy(), "settings": {"normalise": False}}
    mass = quantus_scores(quantus.RelevanceMassAccuracy, NOISE.square() * power, **cells)
    assert energy_on_target(NOISE, power, target).tolist() == pytest.approx(mass, abs=1e-6)
    cells["settings"] = {"normalise": False}
    hits = quantus_scores(quantus.PointingGame, NOISE, **cells)
    assert pointing_accuracy(NOISE, target).tolist() == pytest.approx(hits, abs=1e-6)


def test_deletion_curve_is_pixel_flipping_towards_silence():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4)).eval()
    power, mask = torch.rand(3, 8, 8), torch.rand(3, 8, 8)
    power[:, 0, 0] = 0.0  # "black" is the lowest value of the batch: here silence
    target = torch.tensor([2, 0, 3])
    curve = quantus.PixelFlipping(
        features_in_step=16, abs=False, normalise=False, perturb_baseline="black", disable_warnings=True
    )(
        model=model, x_batch=power.unsqueeze(1).numpy(), y_batch=target.numpy(),
        a_batch=mask.unsqueeze(1).numpy(), softmax=True, device="cpu", channel_first=True,
    )  # fmt: skip

    def probability(sound: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model(sound).softmax(-1).gather(1, target[:, None])[:, 0]

    shares = (0.25, 0.5, 0.75)
    tops = top_masks(mask, shares)
    ours = deletion_insertion(
        probability(power),
        probability(torch.zeros_like(power)),
        torch.stack([probability(power * tops[:, i]) for i in range(3)], dim=1),
        torch.stack([probability(power * (1 - tops[:, i])) for i in range(3)], dim=1),
        shares,
    )
    assert ours["deletion"][:, 1:].numpy() == pytest.approx(np.array(curve), abs=1e-6)
