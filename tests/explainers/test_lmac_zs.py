"""The LMAC-ZS decoder, its objectives and what it learns where the right answer is known."""

import pytest
import torch
import torch.nn.functional as F

from lmaczs.errors import CheckpointError, LMACError
from lmaczs.explainers import load_explainer
from lmaczs.explainers.areas import AREAS, NEEDED_GAIN, choose_area, cut_at_area, mask_of_largest_gain
from lmaczs.explainers.details import DETAILS, details
from lmaczs.explainers.lmac_zs.decoder import DecoderConfig, LMACZSDecoder
from lmaczs.explainers.lmac_zs.explainer import LMACZS, build_decoder, decoder_config, release_config
from lmaczs.explainers.lmac_zs.loss import (
    Pairs,
    contrast_loss,
    decode_pairs,
    log_probability,
    paper_loss,
    view_spectrogram,
)
from lmaczs.explainers.masked_sound import encode_masked, encode_parts
from lmaczs.hearing import make_target
from lmaczs.hub import save_release
from lmaczs.signal.spectral import mel_to_bins


def decode(decoder, audio, rows, text):
    """Logits and values for pairs of windows and prompts."""
    return decode_pairs(decoder, audio, view_spectrogram(audio, "stft"), rows, text)


@pytest.fixture
def states(debug_backend):
    """Three windows of noise with different spectra, and two prompts."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(3, debug_backend.clip_samples, generator=generator) * 0.1
    noise[1] = noise[1].cumsum(0) * 0.01
    noise[2, ::2] = 0
    with torch.no_grad():
        return debug_backend.analyze(noise), debug_backend.encode_text(["rain", "a dog barking", "wind"])


@pytest.fixture
def decoder(debug_backend):
    torch.manual_seed(0)
    decoder = build_decoder(debug_backend, decoder_config(debug_backend, "stft")).eval()
    torch.nn.init.normal_(decoder.last.weight, std=0.3)  # a fresh decoder follows loudness alone
    return decoder


def test_cut_at_area_keeps_the_share_of_cells_that_was_asked_for():
    logits = torch.randn(2, 128, 200, generator=torch.Generator().manual_seed(0))
    for area in (0.05, 0.3):
        mask = cut_at_area(logits, torch.tensor([area, area]))
        # The quantile is found on an eighth of 25,600 cells: its error is about sqrt(a (1 - a) / 3200) < 0.009.
        assert ((mask > 0.5).float().mean(dim=(1, 2)) - area).abs().max() < 0.02


def test_cut_at_area_does_not_depend_on_the_scale_or_offset_of_the_logits():
    logits = torch.randn(1, 64, 100, generator=torch.Generator().manual_seed(0))
    area = torch.tensor([0.2])
    assert torch.allclose(cut_at_area(logits, area), cut_at_area(7 * logits - 3, area), atol=1e-4)


def test_chosen_area_follows_the_values():
    worth_the_same = torch.ones(1, len(AREAS))
    worth_large = torch.linspace(0, 1, len(AREAS))[None]
    # Nothing gained by size: the price alone decides. Weights exp(-0.05 a / 0.03) of the areas a are .992 .967 .920
    # .846 .717 .607 .472, their sum 5.521; weighted areas sum to .693, and .693 / 5.521 = .125.
    assert choose_area(worth_the_same).item() == pytest.approx(0.1255, abs=1e-3)
    assert choose_area(worth_large).item() == pytest.approx(AREAS[-1], abs=0.01)


def test_nothing_is_kept_where_no_mask_promises_a_gain():
    logits = torch.randn(3, 128, 200, generator=torch.Generator().manual_seed(0))
    gains = torch.stack(
        [torch.zeros(len(AREAS)), torch.ones(len(AREAS)), torch.full((len(AREAS),), NEEDED_GAIN)]
    )
    masks, present = mask_of_largest_gain(logits, gains, 0.5)
    unrelated, named, hardly = masks.mean(dim=(1, 2)).tolist()
    assert present.tolist() == [False, True, True]
    assert unrelated == 0 and not masks[0].any()
    # .125 of the cells, and the foot of a soft edge.
    assert 0.09 < named < 0.25
    # Masks grow from there on: half of .125, with a sharp edge.
    assert 0 < hardly < 0.6 * named
    nearly = mask_of_largest_gain(logits[:1], gains[2:] - 1e-4, 0.5)
    assert not nearly[1].any() and not nearly[0].any()


def test_details_stand_out_against_the_mean_of_their_neighbours():
    log_power = torch.randn(1, 40, 60, generator=torch.Generator().manual_seed(0))
    loudness, over_time, over_frequency = details(log_power)[0]
    assert torch.allclose(over_time[7, 30], loudness[7, 30] - loudness[7, 18:43].mean(), atol=1e-5)
    assert torch.allclose(over_time[7, 2], loudness[7, 2] - loudness[7, :15].mean(), atol=1e-5)
    assert torch.allclose(over_frequency[20, 9], loudness[20, 9] - loudness[8:33, 9].mean(), atol=1e-5)


@pytest.mark.parametrize("sizes", [((17, 9), (8, 4), (4, 2), (4, 2)), ((86, 8), (43, 4), (21, 2), (21, 2))])
def test_decoder_fits_maps_of_any_size(sizes):
    config = DecoderConfig((4, 6, 8, 10), text_dim=16, n_mels=24, mask_bins=65, channels=(32, 24, 16, 8, 8))
    model = LMACZSDecoder(config, torch.full((65, 24), 1 / 24))
    hidden = tuple(torch.randn(2, c, *size) for c, size in zip(config.hidden_channels, sizes, strict=True))
    cells = torch.randn(2, DETAILS, 65, 71)
    output = model(hidden, torch.randn(2, 16), torch.zeros(2), torch.randn(2, 24, 71), cells)
    assert output.logits.shape == (2, 65, 71)
    assert output.values.shape == (2, len(AREAS))


def test_another_prompt_changes_the_cells_order(decoder, states):
    audio, text = states
    with torch.no_grad():
        first = decode_pairs(
            decoder, audio, view_spectrogram(audio, "stft"), torch.tensor([0]), text.embedding[:1]
        ).logits
        second = decode_pairs(
            decoder, audio, view_spectrogram(audio, "stft"), torch.tensor([0]), text.embedding[1:2]
        ).logits
    assert (first - second).abs().max() > 1e-4


@pytest.fixture
def confident(decoder):
    """A decoder that promises a gain for every prompt."""
    torch.nn.init.constant_(decoder.worth[-1].bias, 1.0)
    return decoder


@pytest.mark.parametrize("objective", ["contrast", "paper"])
def test_batch_of_windows_equals_single_windows(debug_backend, confident, states, objective):
    audio, _ = states
    method, target = LMACZS.wrap(debug_backend, confident, objective), make_target(debug_backend, "rain")
    batch = method.map_windows(audio, target)
    assert batch.evidence.tolist() == [True] * 3
    for index in range(3):
        single = method.map_windows(audio[index : index + 1], target)
        torch.testing.assert_close(batch.values[index], single.values[0], atol=1e-4, rtol=0)


def test_masks_are_equal_bit_for_bit_on_a_second_call_and_follow_the_prompt(debug_backend, confident, states):
    audio, _ = states
    method = LMACZS.wrap(debug_backend, confident)
    rain, dog = (make_target(debug_backend, prompt) for prompt in ("rain", "a dog barking"))
    masks = method.map_windows(audio, rain).values
    assert torch.equal(masks, method.map_windows(audio, rain).values)
    # What the decoder sees of the windows is kept for the next prompt; other windows get their own.
    other = method.map_windows(audio, dog).values
    assert not torch.equal(masks, other)
    assert torch.equal(other, LMACZS.wrap(debug_backend, confident).map_windows(audio, dog).values)
    part = method.map_windows(audio[1:2], rain).values
    torch.testing.assert_close(part[0], masks[1], atol=1e-4, rtol=0)
    assert float(masks.min()) >= 0 and float(masks.max()) <= 1


def test_the_papers_mask_is_the_sigmoid_as_it_comes(debug_backend, decoder, states):
    audio, text = states
    expected = torch.sigmoid(decode(decoder, audio, slice(None), text.embedding[:1].expand(3, -1)).logits)
    target = make_target(debug_backend, "rain")
    found = LMACZS.wrap(debug_backend, decoder, "paper").map_windows(audio, target)
    torch.testing.assert_close(found.values, expected, atol=1e-5, rtol=0)


def test_paper_loss_equals_a_plain_loop_over_pairs(debug_backend, decoder, states):
    audio, text = states
    losses = paper_loss(debug_backend, decoder, audio, text.embedding, 0.5, 0.25)
    faithfulness, area, masked = 0.0, 0.0, {}
    for i in range(3):
        for j in range(3):
            row = torch.tensor([j])
            mask = decode_pairs(
                decoder, audio, view_spectrogram(audio, "stft"), row, text.embedding[i : i + 1]
            ).logits.sigmoid()
            masked[i, j] = encode_masked(debug_backend, audio, row, mask, "stft")[0]
            original = text.embedding[i] @ audio.embedding[j]
            faithfulness += (original - text.embedding[i] @ masked[i, j]).abs().item() / 9
            area += mask.mean().item() / 9
    diversity = sum(  # eq. 7: X_i masked for text i against X_i masked for text j
        (text.embedding[i] @ text.embedding[j] - masked[i, i] @ masked[j, i]).abs().item() / 9
        for i in range(3)
        for j in range(3)
        if i != j
    )
    assert losses["loss/faithfulness"].item() == pytest.approx(faithfulness, abs=1e-5)
    assert losses["loss/sparsity"].item() == pytest.approx(0.5 * area, abs=1e-5)
    assert losses["loss/diversity"].item() == pytest.approx(0.25 * diversity, abs=1e-5)


@pytest.mark.parametrize("objective", ["paper", "contrast"])
def test_portions_change_memory_and_nothing_else(debug_backend, decoder, states, objective):
    audio, text = states
    rivals = torch.eye(3, dtype=torch.bool)
    alone = torch.full((3,), -1)
    pairs = Pairs(
        torch.arange(3), text.embedding, text.embedding, rivals, torch.tensor([True, True, True]), alone
    )

    def gradient(at_once):
        kept = 0

        def count(tensor):
            nonlocal kept
            kept += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            if objective == "paper":
                report = paper_loss(debug_backend, decoder, audio, text.embedding, 0.5, 0.25, at_once=at_once)
            else:
                area = torch.tensor([0.1, 0.2, 0.3])
                report = contrast_loss(debug_backend, decoder, audio, pairs, area, 1, 1, 1, at_once=at_once)
        loss = sum(value for key, value in report.items() if key.startswith("loss/"))
        found = torch.autograd.grad(
            loss, list(decoder.parameters()), allow_unused=True, materialize_grads=True
        )
        return torch.cat([value.flatten() for value in found]), kept

    whole, all_kept = gradient(0)
    portioned, some_kept = gradient(2)
    assert (whole - portioned).norm() <= 1e-4 * whole.norm() and whole.norm() > 0
    assert some_kept < 0.1 * all_kept


def test_log_probability_is_that_of_a_softmax_over_the_prompt_and_its_rivals():
    embedding = F.normalize(torch.tensor([[1.0, 2.0, 0.5]]), dim=1)
    text = F.normalize(torch.tensor([[1.0, 1.0, 0.0]]), dim=1)
    rivals = F.normalize(torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 0.1], [1.0, 0.0, 0.0]]), dim=1)
    ignored = torch.tensor([[False, True, False]])  # the second rival means the same as the prompt
    pairs = Pairs(torch.tensor([0]), text, rivals, ignored, torch.tensor([True]), torch.tensor([-1]))
    log_yes, log_no = log_probability(embedding, pairs, torch.tensor(8.0))
    logits = 8 * torch.stack([text[0], rivals[0], rivals[2]]) @ embedding[0]
    expected = logits.softmax(0)[0]
    assert log_yes.exp().item() == pytest.approx(expected.item(), abs=1e-6)
    assert log_no.exp().item() == pytest.approx(1 - expected.item(), abs=1e-6)


def test_gradient_reaches_the_decoder_and_not_the_backend(debug_backend, decoder, states):
    audio, text = states
    paper_loss(debug_backend, decoder, audio, text.embedding, 0.1, 0.1)["loss/faithfulness"].backward()
    assert all(parameter.grad is None for parameter in debug_backend.parameters())
    reached = [
        parameter.grad for name, parameter in decoder.named_parameters() if not name.startswith("worth")
    ]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in reached)
    assert sum(gradient.abs().sum() for gradient in reached) > 0


def test_gradient_through_a_mel_mask_is_finite_where_nothing_is_kept(debug_backend, states):
    audio, _ = states
    mask = torch.zeros(audio.mel_power.shape)
    mask[:, :, ::2] = 1.0
    mask.requires_grad_(True)
    encode_masked(debug_backend, audio, torch.arange(len(mask)), mask, "mel").sum().backward()
    assert torch.isfinite(mask.grad).all()
    assert mask.grad.abs().sum() > 0


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_both_parts_are_heard_as_each_of_them_alone(debug_backend, states, domain):
    """On STFT bins the second one is what the first one leaves of the sound."""
    audio, _ = states
    grid = audio.stft if domain == "stft" else audio.mel_power
    mask = torch.rand(grid.shape, generator=torch.Generator().manual_seed(0)) ** 4
    rows = torch.arange(len(mask)).flip(0)
    found = encode_parts(debug_backend, audio, rows, mask, domain)
    for part, wanted in zip(found, (mask, 1 - mask), strict=True):
        alone = encode_masked(debug_backend, audio, rows, wanted, domain)
        assert torch.allclose(part, alone, atol=1e-6)
    assert not torch.allclose(*found, atol=1e-4)


def test_what_is_removed_is_searched_for_the_other_sound_only_where_there_is_one(
    debug_backend, decoder, states
):
    audio, _ = states
    sentences = ["a siren", "an engine", "rain"]
    text = debug_backend.encode_text(sentences).embedding
    rivals = debug_backend.encode_text([*sentences, "a dog", "wind"]).embedding
    ignored = torch.eye(3, 5, dtype=torch.bool)
    rows, right = torch.tensor([0, 0, 1]), torch.tensor([True, True, True])

    def partner_loss(partner: list[int]) -> float:
        pairs = Pairs(rows, text, rivals, ignored, right, torch.tensor(partner))
        losses = contrast_loss(debug_backend, decoder, audio, pairs, torch.full((3,), 0.1), 1.0, 1.0, 1.0)
        return losses["loss/partner"].item()

    assert partner_loss([-1, -1, -1]) == 0.0
    assert 0 < partner_loss([1, -1, -1]) < partner_loss([1, 0, -1])


def test_decoder_learns_where_the_planted_backend_looks(planted_backend, make_beep):
    """From the CLAP's answers alone the decoder must find the box that decides, although a tone outside is louder."""
    torch.manual_seed(0)
    config = DecoderConfig(
        **vars(decoder_config(planted_backend, "stft")) | {"channels": (32, 24, 16, 16, 8)}
    )
    decoder = LMACZSDecoder(config, mel_to_bins(planted_backend.mel_filters))
    seconds = torch.arange(planted_backend.clip_samples) / 16000
    distractor = torch.sin(2 * torch.pi * 5000 * seconds)
    waveform = torch.stack([make_beep(seed=seed).waveform + distractor for seed in range(4)])
    with torch.no_grad():
        audio = planted_backend.analyze(waveform)
    text = planted_backend.encode_text(["a beep"] * 4)
    rivals = planted_backend.encode_text(["noise"]).embedding
    everything = torch.ones(4, dtype=torch.bool)
    nothing = torch.zeros(4, 1, dtype=torch.bool)
    pairs = Pairs(torch.arange(4), text.embedding, rivals, nothing, everything, torch.full((4,), -1))

    def in_box_over_outside() -> float:
        with torch.no_grad():
            mask = cut_at_area(
                decode(decoder, audio, pairs.rows, pairs.text).logits,
                torch.full((4,), 0.05),
            )
        box = mask[:, planted_backend.box_bins, planted_backend.box_frames]
        return (box.mean() / ((mask.sum() - box.sum()) / (mask.numel() - box.numel()))).item()

    before = in_box_over_outside()
    optimiser = torch.optim.Adam(decoder.parameters(), lr=3e-3)
    for step in range(80):
        generator = torch.Generator().manual_seed(step)
        area = torch.tensor([0.02, 0.05, 0.1])[torch.randint(3, (4,), generator=generator)]
        losses = contrast_loss(planted_backend, decoder, audio, pairs, area, 1.0, 1.0, 1.0)
        sum(value for key, value in losses.items() if key.startswith("loss/")).backward()
        optimiser.step()
        optimiser.zero_grad()
    assert in_box_over_outside() > 3 > before


def test_a_decoder_made_for_another_backend_is_refused(tmp_path, debug_backend, decoder):
    config = release_config(debug_backend, decoder, "contrast") | {"backend": "msclap-2022"}
    folder = save_release(tmp_path / "foreign", "lmac-zs", config, decoder.state_dict())
    with pytest.raises(CheckpointError, match="trained for the backend 'msclap-2022'.*'debug'"):
        LMACZS.load(debug_backend, release=folder)


def test_a_decoder_of_the_other_domain_is_refused(tmp_path, debug_backend, decoder):
    config = release_config(debug_backend, decoder, "contrast")
    folder = save_release(tmp_path / "stft", "lmac-zs", config, decoder.state_dict())
    with pytest.raises(LMACError, match="in the domain 'stft', and 'mel' was asked for: choose 'stft'"):
        LMACZS.load(debug_backend, "mel", release=folder)


@pytest.mark.parametrize("objective", ["contrast", "paper"])
def test_a_release_gives_the_masks_that_were_stored(tmp_path, debug_backend, confident, states, objective):
    config = release_config(debug_backend, confident, objective)
    folder = save_release(tmp_path / "decoder", "lmac-zs", config, confident.state_dict())
    loaded = load_explainer("lmac-zs", debug_backend, release=folder)
    target = make_target(debug_backend, "rain")
    stored = LMACZS.wrap(debug_backend, confident, objective).map_windows(states[0], target)
    assert loaded.objective == objective and loaded.domain == "stft"
    assert torch.equal(loaded.map_windows(states[0], target).values, stored.values)
