"""Universal LMAC: what it reads of a classifier, and that its masks follow a classifier that it has never met."""

from dataclasses import replace

import pytest
import torch

from lmaczs.clap.recording import listen
from lmaczs.errors import CheckpointError
from lmaczs.explainers import default_method, load_explainer
from lmaczs.explainers.areas import AREAS
from lmaczs.explainers.lmac_any.explainer import load_decoder, mask_that_holds, save_decoder
from lmaczs.explainers.lmac_any.network import DETAILS, AnyDecoder, CellDetails, cell_details
from lmaczs.explainers.lmac_any.relevance import CHANNELS, MAPS, SCALARS, Relevance, region_of, relevance
from lmaczs.hearing import make_target

PROMPTS = ("a beep", "rain", "a dog")


@pytest.fixture
def heard(planted_backend, beep_in_noise):
    return next(iter(listen(beep_in_noise, planted_backend).batches(planted_backend)))


def found_of(backend, audio, prompt="a beep", rivals=PROMPTS):
    target = make_target(backend, prompt, rivals)
    return relevance(backend, target.margin, audio, target.scale, bool(target.rivals))


def test_the_first_maps_are_the_level_and_gradient_times_power(planted_backend, heard):
    found = found_of(planted_backend, heard)
    power = heard.mel_power.clone().requires_grad_(True)
    target = make_target(planted_backend, "a beep", PROMPTS)
    target.margin(planted_backend.encode(power)[0]).sum().backward()
    assert torch.allclose(found.gradient, power.grad, atol=1e-6)
    own = (power.grad * power).detach()
    expected = (own / (2.5 * own.square().mean().sqrt())).clamp(-4, 4)
    assert torch.allclose(found.maps[:, 1].transpose(1, 2), expected, atol=1e-5)
    level = found.maps[:, 0]
    assert level.mean().abs() < 1e-3 and level.std() == pytest.approx(1, abs=1e-3)


def test_what_a_map_contributes_is_activation_times_gradient(planted_backend, heard):
    """The planted CLAP's second block halves the power map twice: its contribution lies in the box and nowhere else."""
    found = found_of(planted_backend, heard)
    assert found.maps.shape == (1, CHANNELS, heard.mel_power.shape[2], 32) and found.scalars.shape == (
        1,
        SCALARS,
    )
    cell_by_cell = found.maps[0, 4]
    box = torch.zeros_like(cell_by_cell, dtype=torch.bool)
    box[planted_backend.box_frames.start - 4 : planted_backend.box_frames.stop + 4, 6:18] = True
    assert cell_by_cell[box].sum() > 0 and cell_by_cell[~box].abs().max() < 1e-6


def test_a_classifier_with_fewer_maps_leaves_the_shallow_ones_empty(planted_backend, heard):
    class TwoLayers(type(planted_backend)):
        @property
        def cam_layers(self):
            return dict(list(super().cam_layers.items())[-2:])

    few = TwoLayers().eval().requires_grad_(False)
    all_four, two = found_of(planted_backend, heard), found_of(few, heard)
    assert not two.maps[:, 2 : 2 + 2 * (MAPS - 2)].any()
    assert torch.equal(two.maps[:, -4:], all_four.maps[:, -4:])


def test_a_prompt_without_rivals_is_told_apart(planted_backend, heard):
    alone, compared = found_of(planted_backend, heard, rivals=()), found_of(planted_backend, heard)
    assert alone.scalars[0, -1] == 0 and compared.scalars[0, -1] == 1
    assert torch.isfinite(alone.maps).all() and torch.isfinite(alone.scalars).all()


def test_what_speaks_for_one_prompt_speaks_against_its_only_rival(planted_backend, heard):
    pair = ("a beep", "rain")
    mine, its = (
        found_of(planted_backend, heard, "a beep", pair),
        found_of(planted_backend, heard, "rain", pair),
    )
    assert torch.allclose(mine.maps[:, 1], -its.maps[:, 1], atol=1e-3)


def test_nothing_of_the_classifier_changes(planted_backend, heard):
    before = {name: value.clone() for name, value in planted_backend.state_dict().items()}
    with torch.inference_mode():
        found_of(planted_backend, heard)
    assert all(torch.equal(value, before[name]) for name, value in planted_backend.state_dict().items())
    assert not any(parameter.requires_grad for parameter in planted_backend.parameters())
    assert not any(module._forward_hooks for module in planted_backend.modules())


@pytest.mark.parametrize(("frames", "bands", "rows"), [(101, 32, 257), (501, 128, 513), (37, 41, 41)])
def test_the_network_takes_grids_of_any_size(frames, bands, rows):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, CHANNELS, frames, bands, generator=generator)
    found = Relevance(
        maps,
        torch.zeros(2, SCALARS),
        torch.randn(2, bands, frames, generator=generator),
        torch.zeros(2),
        torch.ones(2) > 0,
        torch.randn(2, bands, frames, generator=generator),
        (),
    )
    spread = None if rows == bands else torch.softmax(torch.randn(rows, bands, generator=generator), dim=1)
    power, attribution = torch.rand(2, 2, rows, frames, generator=generator)
    cells = cell_details(power, attribution - 0.5, spread)
    assert cells.values.shape == (2, DETAILS, rows, frames) and cells.values.abs().max() <= 1
    logits, gains = AnyDecoder()(found, cells)
    assert logits.shape == (2, rows, frames) and torch.isfinite(logits).all() and len(gains) == 2


def test_the_region_is_where_cells_speak_for_the_prompt_in_the_large():
    """One cell that speaks for it marks half of the bands and a second around it; one that speaks against it, nothing."""
    attribution = torch.zeros(1, 64, 400)
    attribution[0, 20, 100], attribution[0, 60, 300] = 1.0, -5.0
    region = region_of(attribution, hop_s=0.01)[0]
    high = region > 0.5 * region.max()
    assert high[4:37, 50:151].all() and high.sum() == 33 * 101
    assert torch.allclose(region_of(7.0 * attribution, hop_s=0.01)[0], region, atol=1e-4)
    # In seconds and shares of the bands: another grid gives the same region.
    fine = torch.zeros(1, 128, 800)
    fine[0, 40:42, 200:202] = 1.0
    assert (region_of(fine, hop_s=0.005)[0] > 0).float().mean() == pytest.approx(
        float(high.float().mean()), rel=0.05
    )


def test_the_order_asks_for_the_region_whatever_was_learned(planted_backend, heard):
    """Of two cells alike for the network, the one in the region comes first, by no more than its weight."""
    found = found_of(planted_backend, heard)
    shape = (1, DETAILS, 32, heard.mel_power.shape[2])
    cells = CellDetails(torch.zeros(shape), None)
    network = AnyDecoder()
    with_region, _ = network(found, cells)
    without, _ = network(replace(found, region=torch.zeros_like(found.region)), cells)
    assert torch.allclose(with_region - without, 0.5 * found.region, atol=1e-4)


def test_what_the_classifier_says_is_never_absent(planted_backend, beep_in_noise):
    """Also where it is unsure, and the gain that was foretold is small."""
    recording = listen(beep_in_noise, planted_backend)
    (probable,) = [p for p in PROMPTS if "beep" in p]
    method = load_explainer("lmac-any", planted_backend)
    object.__setattr__(method, "__dict__", {**method.__dict__, "decoder": (method.decoder[0], 1e9)})
    everything = tuple(f"noise of kind {number}" for number in range(20))
    target = make_target(planted_backend, probable, (probable, *everything))
    assert method.explain(recording, target).evidence == "present"
    unheard = make_target(planted_backend, "rain", PROMPTS)
    assert method.explain(recording, unheard).evidence == "absent"


def test_details_of_cells_only_sharpen(planted_backend, heard):
    """However loud the details are, they add at most half a deviation each to what the classifier's maps say."""
    found = found_of(planted_backend, heard)
    shape = (1, DETAILS, 32, heard.mel_power.shape[2])
    network = AnyDecoder()
    torch.manual_seed(0)
    torch.nn.init.normal_(network.last.weight, std=5)
    none, _ = network(found, CellDetails(torch.zeros(shape), None))
    loud, _ = network(found, CellDetails(torch.ones(shape), None))
    assert (loud - none).abs().max() <= 0.5 * DETAILS + 1e-5


def test_a_mask_keeps_as_many_cells_as_hold_what_speaks_for_the_prompt():
    """The first tenth of the cells holds all of it; then all cells hold the same."""
    logits = torch.linspace(3, -3, 4000).view(1, 50, 80)
    first = torch.zeros(4000).index_fill(0, torch.arange(400), 1.0).view(1, 50, 80)
    few, many = mask_that_holds(logits, first), mask_that_holds(logits, torch.ones_like(first))
    assert float((few > 0.5).float().mean()) == pytest.approx(0.08, abs=0.02)
    assert float((many > 0.5).float().mean()) == pytest.approx(AREAS[-1], abs=0.04)
    assert torch.allclose(few, mask_that_holds(logits.exp(), first), atol=1e-5)  # the order alone decides


def test_a_release_keeps_the_network_and_its_limit(tmp_path):
    torch.manual_seed(0)
    network = AnyDecoder().eval()
    save_decoder(tmp_path / "any", network, 0.3)
    read, needed = load_decoder(str(tmp_path / "any"), torch.device("cpu"))
    assert needed == pytest.approx(0.3)
    assert all(torch.equal(value, read.state_dict()[name]) for name, value in network.state_dict().items())


def test_a_damaged_release_is_refused_at_once(tmp_path, debug_backend):
    save_decoder(tmp_path / "any", AnyDecoder(), 0.3)
    data = (tmp_path / "any" / "model.safetensors").read_bytes()
    (tmp_path / "any" / "model.safetensors").write_bytes(data[:-100])
    with pytest.raises(CheckpointError, match="any"):
        load_explainer("lmac-any", debug_backend, release=str(tmp_path / "any"))


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_it_finds_what_a_classifier_that_it_never_met_listens_to(planted_backend, beep_in_noise, domain):
    method = load_explainer("lmac-any", planted_backend, domain)
    recording = listen(beep_in_noise, planted_backend)
    explanation = method.explain(recording, make_target(planted_backend, "a beep", PROMPTS))
    rows = planted_backend.box_bins if domain == "stft" else planted_backend.box_mels
    box = torch.zeros_like(explanation.mask, dtype=torch.bool)
    box[rows, planted_backend.box_frames] = True
    assert explanation.evidence == "present"
    outside = ~box
    assert float(explanation.mask[box].mean()) > 4 * float(explanation.mask[outside].mean())


def test_a_single_prompt_gets_a_mask_and_no_word_on_whether_it_is_there(planted_backend, beep_in_noise):
    method = load_explainer("lmac-any", planted_backend)
    explanation = method.explain(
        listen(beep_in_noise, planted_backend), make_target(planted_backend, "a beep")
    )
    assert explanation.evidence == "unknown" and explanation.mask.max() > 0.5


def test_the_embedded_decoder_is_small_and_the_default_where_there_is_no_other(debug_backend):
    network, _ = load_decoder("lmac-any", torch.device("cpu"))
    assert sum(value.numel() for value in network.parameters()) < 750_000
    assert default_method("compact-2") == "lmac-zs"
    assert default_method("debug") == default_method("compact-2", own_weights=True) == "lmac-any"
