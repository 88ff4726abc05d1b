"""The folded transformer hands out maps in true time order, and a gradient that finite differences confirm."""

import pytest
import torch
from miniatures import SMALL_HTSAT, enliven

from lmaczs.clap.htsat import HTSAT, HTSATConfig, fold_time, from_windows, shift_mask, to_windows, unfold_time


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return enliven(HTSAT(SMALL_HTSAT)).requires_grad_(False)


def quiet_map(frames=300, seed=0):
    return -30 + 3 * torch.randn(1, 32, frames, generator=torch.Generator().manual_seed(seed))


def test_folding_puts_lines_of_time_under_one_another():
    """Two chunks of three frames, two bands: cell (time t, freq f) of the map lies in line t // 3, column t % 3."""
    maps = torch.arange(12.0).view(1, 1, 6, 2)  # (batch, channels, time, freq)
    tokens = fold_time(maps, 2)
    assert tokens.shape == (1, 4, 3, 1)
    for time in range(6):
        for freq in range(2):
            assert tokens[0, 2 * (time // 3) + freq, time % 3, 0] == maps[0, 0, time, freq]
    assert torch.equal(unfold_time(tokens, 2), maps)


def test_windows_come_back():
    tokens = torch.randn(2, 8, 4, 3)
    windows = to_windows(tokens, 4)
    assert windows.shape == (4, 16, 3)
    assert torch.equal(windows[1].view(4, 4, 3), tokens[0, 4:])
    assert torch.equal(from_windows(windows, 4, 8, 4), tokens)


def test_a_shifted_window_does_not_look_around_the_edge_of_the_image():
    """Side 4, windows of 2, rolled by 1: the last window holds the four corners, none of which touch."""
    mask = shift_mask(4, 2, 1)
    assert mask.shape == (4, 4, 4)
    assert torch.equal(mask[0], torch.zeros(4, 4))
    assert torch.equal(mask[3] == 0, torch.eye(4, dtype=torch.bool))


def test_the_default_shape_is_that_of_the_published_encoders():
    config = HTSATConfig()
    assert (config.chunks, config.max_frames, config.channels) == (4, 1024, (96, 192, 384, 768))
    assert [config.side(stage) for stage in range(4)] == [64, 32, 16, 8]


def test_hidden_maps_have_the_promised_shapes(encoder):
    features, hidden = encoder(quiet_map())
    assert features.shape == (1, 64)
    assert [level.shape for level in hidden] == [
        (1, 8, 128, 8),
        (1, 16, 64, 4),
        (1, 32, 32, 2),
        (1, 64, 16, 1),
    ]
    assert tuple(level.shape[1] for level in hidden) == encoder.hidden_channels
    torch.testing.assert_close(features, hidden[-1].mean(dim=(2, 3)))


@pytest.mark.parametrize("frame", [12, 100, 160, 290])
def test_a_click_lights_the_cells_of_its_own_time_in_every_map(encoder, frame):
    """One click in each of the four chunks; a map that is still folded would show it in the wrong place."""
    quiet = quiet_map()
    loud = quiet.clone()
    loud[:, :, frame] += 40.0
    for before, after in zip(encoder(quiet)[1], encoder(loud)[1], strict=True):
        change = (after - before).square().sum(dim=(0, 1, 3))
        expected = (frame + 0.5) / 300 * len(change) - 0.5
        assert abs(float(change.argmax()) - expected) <= 1.0
        # What the windows of attention spread stays near; the rest of the time axis hardly moves.
        near = (torch.arange(len(change)) - expected).abs() <= 2 * SMALL_HTSAT.window
        assert float(change[near].sum() / change.sum()) > 0.7


def test_gradient_agrees_with_finite_differences(encoder):
    """torch's own batch norm would hand back a permuted gradient here; explanations and decoders rest on this one."""
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(64, generator=generator)

    def score(log_mel):
        return (encoder(log_mel)[0] * direction).sum()

    point = quiet_map(seed=2).requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(point), point)
    step = gradient / gradient.norm()
    with torch.no_grad():
        slope = (score(point + 0.05 * step) - score(point - 0.05 * step)) / 0.1
    assert float(slope) == pytest.approx(float(gradient.norm()), rel=0.02)


def test_more_frames_than_the_image_holds_are_refused(encoder):
    with pytest.raises(ValueError, match="513 frames do not fit"):
        encoder(torch.zeros(1, 32, 513))


def test_maps_of_exactly_the_images_length_are_not_resampled(encoder):
    log_mel = quiet_map(frames=512)
    image = encoder.to_image(log_mel)
    assert torch.equal(image[0, 0, :32], log_mel[0, :, :128])
    assert torch.equal(image[0, 0, 32:64], log_mel[0, :, 128:256])
