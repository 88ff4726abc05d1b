"""What each method promises beyond the contract: noise, seeds, completeness, patches, masks, memory."""

import pytest
import torch

from lmaczs import load_backend
from lmaczs.explainers import load_explainer
from lmaczs.explainers.base import PASSES_AT_ONCE
from lmaczs.explainers.gradients import grid_levels, grid_power, level_gradient, score_levels, silence_db
from lmaczs.explainers.integrated_gradients import line_rule
from lmaczs.explainers.occlusion import patch_starts
from lmaczs.explainers.perturbing import to_grid
from lmaczs.explainers.rise import random_masks
from lmaczs.explainers.smoothgrad import WRAPPED
from lmaczs.hearing import make_target
from lmaczs.signal.masking import masked_power

both_domains = pytest.mark.parametrize("domain", ["stft", "mel"])


def test_levels_are_those_of_the_front_end(debug_backend, window, target):
    """Levels of the grid, brought back through the front end, give the score of the window itself."""
    for domain in ("stft", "mel"):
        found = score_levels(
            debug_backend, target, grid_levels(debug_backend, window, domain), window, domain
        )
        torch.testing.assert_close(found, target(window.embedding), atol=1e-4, rtol=0)


def test_silence_is_what_an_absolute_front_end_no_longer_hears(debug_backend):
    """1e-10 in the mel bands, also where it is given on the STFT bins (low bands hold few bins and vary a little)."""
    silent = 10 ** (silence_db(debug_backend, "stft") / 10)
    power = debug_backend.mel_power(torch.full((1, debug_backend.spectral.n_bins, 1), silent))
    assert float(power.median()) == pytest.approx(1e-10, rel=1e-3)
    assert silence_db(debug_backend, "mel") == pytest.approx(-100.0)


@both_domains
def test_a_gradient_per_decibel_is_the_slope_of_the_score(debug_backend, window, target, domain):
    """Against finite differences along the gradient and along random directions, through the whole front end."""
    levels = grid_levels(debug_backend, window, domain)
    gradient = level_gradient(debug_backend, target, levels, window, domain)
    saliency = load_explainer("saliency", debug_backend, domain).map_windows(window, target).values
    assert torch.equal(saliency, gradient.abs())
    scattered = torch.randint(2, levels.shape, generator=torch.Generator().manual_seed(0)) * gradient.sign()
    for direction in (gradient.sign(), scattered):
        higher, lower = (
            score_levels(debug_backend, target, levels + sign * direction, window, domain).item()
            for sign in (0.02, -0.02)
        )
        assert float((gradient * direction).sum()) == pytest.approx(
            (higher - lower) / 0.04, rel=0.01, abs=5e-5
        ), "float32 scores differ by 2e-6 by rounding alone"


def test_noise_is_fresh_in_every_copy(debug_backend, window, target, monkeypatch):
    """Drawn once, as in public code, all copies would be one; here more copies change the map, and less and less so."""
    draw = torch.randn
    drawn = []

    def watched(*shape, **options):
        drawn.append(draw(*shape, **options))
        return drawn[-1]

    monkeypatch.setattr(torch, "randn", watched)
    load_explainer("smoothgrad", debug_backend, "mel", n=20).map_windows(window, target)
    noise = torch.cat(drawn)
    assert len(noise) == 20 and all(len(part) <= PASSES_AT_ONCE for part in drawn)
    alike = torch.corrcoef(noise.flatten(1)) - torch.eye(20)
    assert float(alike.abs().max()) < 0.1
    assert float(noise.std()) == pytest.approx(1.0, abs=0.01)


def test_seed_and_sigma_of_smoothgrad_count(debug_backend, window, target):
    def values(**options):
        method = load_explainer("smoothgrad", debug_backend, "mel", n=4, **options)
        return method.map_windows(window, target).values

    assert torch.equal(values(), values(seed=0))
    assert not torch.equal(values(), values(seed=1))
    assert not torch.equal(values(sigma=0.05), values(sigma=0.3))


@both_domains
@pytest.mark.parametrize("of", WRAPPED)
def test_smoothgrad_of_one_clean_copy_is_the_method_itself(debug_backend, window, target, of, domain):
    """And so it is of the mean of several: it adds noise to any method that works by gradients, and nothing else."""
    expected = load_explainer(of, debug_backend, domain).map_windows(window, target).values
    for n in (1, 2):
        method = load_explainer("smoothgrad", debug_backend, domain, of=of, n=n, sigma=0)
        found = method.map_windows(window, target)
        scale = float(expected.abs().max())
        torch.testing.assert_close(found.values / scale, expected / scale, atol=1e-4, rtol=0)
        assert found.completeness_error is None
    assert method.passes() == 2 * load_explainer(of, debug_backend, domain).passes()


@pytest.mark.parametrize("of", WRAPPED)
def test_noise_changes_the_map_of_every_method_that_can_be_wrapped(debug_backend, window, target, of):
    clean, noisy = (
        load_explainer("smoothgrad", debug_backend, "mel", of=of, n=2, sigma=sigma)
        .map_windows(window, target)
        .values
        for sigma in (0, 0.2)
    )
    assert bool(torch.isfinite(noisy).all()) and not torch.equal(clean, noisy)


@both_domains
def test_integrated_gradients_add_up(debug_backend, make_beep, domain):
    """Within 2 % with 50 steps; the error that is reported is the one worked out here."""
    audio = debug_backend.analyze(torch.stack([make_beep(seed=seed).waveform for seed in (1, 2)]))
    for prompt in ("rain", "a dog"):
        target = make_target(debug_backend, prompt)
        found = load_explainer("integrated-gradients", debug_backend, domain).map_windows(audio, target)
        levels = grid_levels(debug_backend, audio, domain)
        silence = torch.full_like(levels, silence_db(debug_backend, domain))
        sound, nothing = (
            score_levels(debug_backend, target, levels, audio, domain) for levels in (levels, silence)
        )
        error = (found.values.sum(dim=(1, 2)) - (sound - nothing)).abs() / (sound - nothing).abs()
        # float32 sums.
        torch.testing.assert_close(found.completeness_error, error, atol=1e-3, rtol=0)
        assert float(error.max()) < 0.02


def test_integrated_gradients_add_up_on_the_shipped_model():
    """A beeping tone in noise, whatever weights are shipped. Twice the default steps leave .026 of compact-2."""
    backend = load_backend("compact-2", "cpu")
    time = torch.arange(backend.clip_samples) / backend.spectral.sample_rate
    tone = 0.1 * torch.sin(2 * torch.pi * 1200 * time) * (time % 1 < 0.3)
    noise = 0.01 * torch.randn(len(time), generator=torch.Generator().manual_seed(3))
    audio = backend.analyze((tone + noise).unsqueeze(0))
    target = make_target(backend, "this is the sound of an alarm clock")
    found = load_explainer("integrated-gradients", backend, "mel", steps=200).map_windows(audio, target)
    assert float(found.completeness_error) < 0.02


def test_more_steps_leave_less_unexplained(debug_backend, window, target):
    errors = [
        float(
            load_explainer("integrated-gradients", debug_backend, "mel", steps=steps)
            .map_windows(window, target)
            .completeness_error
        )
        for steps in (3, 150)
    ]
    assert errors[1] < 0.3 * errors[0] and errors[1] < 0.01


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_the_rule_integrates_a_line_exactly_and_starts_dense(steps):
    points, weights = line_rule(steps)
    assert float(weights.sum()) == pytest.approx(1.0)
    assert float((weights * points).sum()) == pytest.approx(0.5, abs=0.5 / steps**2)
    assert float(points[0]) > 0 and float(points[-1]) < 1
    assert bool((points.diff() > 0).all()) and bool((points.diff().diff() > 0).all())


@pytest.mark.parametrize(("length", "size", "stride"), [(32, 8, 4), (101, 25, 12), (10, 20, 3), (7, 3, 3)])
def test_patches_cover_the_axis(length, size, stride):
    starts = patch_starts(length, size, stride)
    covered = {cell for start in starts for cell in range(start, start + size)}
    assert set(range(length)) <= covered and all(start < length for start in starts)


def test_occlusion_gives_each_cell_the_mean_fall_of_its_patches(planted_backend, beep_in_noise):
    """Two patches side by side on the whole height: each half gets its own fall of the score, worked out here."""
    audio = planted_backend.analyze(beep_in_noise.waveform.unsqueeze(0))
    target = make_target(planted_backend, "a beep")
    options = {"bands": 32, "seconds": 1.02, "overlap": 1}
    method = load_explainer("occlusion", planted_backend, "mel", **options)
    found = method.map_windows(audio, target).values[0]

    def fall(columns):
        silenced = audio.mel_power.clone()
        silenced[:, :, columns] = 0
        return float(target(audio.embedding) - target(planted_backend.encode(silenced)[0]))

    left, right = slice(0, 51), slice(51, 101)
    for columns in (left, right):
        assert found[:, columns].flatten().tolist() == pytest.approx(
            [fall(columns)] * (32 * len(range(*columns.indices(101)))), abs=1e-4
        )
    # Most of the beep.
    assert fall(right) > 1.0


def test_random_masks_are_smooth_shifted_and_as_full_as_asked():
    masks = torch.cat(list(random_masks(300, 32, 101, (8, 25), 0.3, seed=0)))
    assert masks.shape == (300, 32, 101) and float(masks.min()) >= 0 and float(masks.max()) <= 1
    assert float(masks.mean()) == pytest.approx(0.3, abs=0.02)
    assert float(masks.mean(0).min()) > 0.15, "every cell is kept by some masks and not by others"
    assert float(masks.mean(0).max()) < 0.45
    assert float(masks.diff(dim=1).abs().max()) <= 1 / 8 + 1e-6, "no step steeper than a cell's height"
    few = torch.cat(list(random_masks(10, 32, 101, (8, 25), 0.3, seed=0)))
    assert torch.equal(few, masks[:10])
    assert not torch.equal(few, torch.cat(list(random_masks(10, 32, 101, (8, 25), 0.3, seed=1))))


def test_memory_of_rise_does_not_grow_with_its_masks(debug_backend, window, target, monkeypatch):
    """800 masks of 257 x 101 cells would take 83 MB, and their encoder passes more; a chunk of 8 takes 1 MB."""
    from speed import resident_mb

    sizes, held = [], []
    encode = debug_backend.encode
    monkeypatch.setattr(debug_backend, "encode", lambda mel: sizes.append(len(mel)) or encode(mel))
    load_explainer("rise", debug_backend, "stft", n=16).map_windows(window, target)
    before = resident_mb(peak=False)
    method = load_explainer("rise", debug_backend, "stft", n=800)
    method.map_windows(window, target, lambda share, text: held.append(resident_mb(peak=False)))
    assert max(sizes) == PASSES_AT_ONCE and sum(sizes) == 816
    assert len(held) == 800 / PASSES_AT_ONCE and max(held) - before < 40


@both_domains
def test_perturbed_copies_without_a_mask_are_the_window_itself(debug_backend, window, domain):
    power = grid_power(window, domain)
    ones = to_grid(debug_backend, torch.ones_like(window.mel_power), domain)
    embedding = debug_backend.encode_changed(masked_power(power, ones, domain), window, domain)[0]
    torch.testing.assert_close(embedding, window.embedding, atol=1e-5, rtol=1e-4)
