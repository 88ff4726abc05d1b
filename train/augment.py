"""Augmentation of mel power maps, in batches on any device; every draw comes from the generator given."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lmaczs.signal.mixing import mix_powers


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Independent draws from [low, high), on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


def time_roll(mel_power: Tensor, generator: torch.Generator) -> Tensor:
    """Shift every clip in time by a random amount, wrapping round. (batch, n_mels, frames)."""
    batch, _, frames = mel_power.shape
    shift = torch.randint(frames, (batch, 1), generator=generator, device=generator.device)
    index = (torch.arange(frames, device=shift.device)[None] + shift) % frames
    return mel_power.gather(2, index[:, None].expand_as(mel_power))


def stretch(mel_power: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Stretch time and shift pitch a little: the map is resampled along both axes by up to ± amount."""
    batch, n_mels, frames = mel_power.shape
    scale = 1 + uniform((batch, 2), -amount, amount, generator)
    offset = uniform((batch, 2), -1, 1, generator) * (1 - 1 / scale).abs()
    theta = torch.zeros(batch, 2, 3, device=scale.device)
    theta[:, 0, 0], theta[:, 1, 1] = 1 / scale[:, 0], 1 / scale[:, 1]
    theta[:, :, 2] = offset * torch.tensor([1.0, 0.5], device=scale.device)
    grid = F.affine_grid(theta, [batch, 1, n_mels, frames], align_corners=False)
    log = mel_power.clamp_min(1e-10).log().unsqueeze(1)
    return F.grid_sample(log, grid, padding_mode="reflection", align_corners=False)[:, 0].exp()


# Under this name for the scripts that vary maps.
mix = mix_powers


def equalise(mel_power: Tensor, range_db: float, generator: torch.Generator) -> Tensor:
    """Random smooth gain over frequency and a random overall gain, as another microphone would give."""
    batch, n_mels, _ = mel_power.shape
    knots = uniform((batch, 1, 5), -range_db, range_db, generator)
    curve = F.interpolate(knots, n_mels, mode="linear", align_corners=True)[:, 0]
    return mel_power * (10 ** (curve / 10)).unsqueeze(-1)


def add_noise(mel_power: Tensor, min_snr_db: float, generator: torch.Generator) -> Tensor:
    """Add a stationary noise floor of random tilt at min_snr_db to min_snr_db + 40 dB below the mean power."""
    batch, n_mels, _ = mel_power.shape
    snr_db = uniform((batch, 1, 1), min_snr_db, min_snr_db + 40, generator)
    tilt_db = uniform((batch, 1, 1), -15, 15, generator) * _slope(n_mels, generator.device)
    level = mel_power.mean(dim=(1, 2), keepdim=True) * 10 ** ((tilt_db - snr_db) / 10)
    return mel_power + level * noise_power(mel_power.shape, generator)


def noise_power(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Power of stationary noise of mean 1, which is exponentially distributed: `shape`, >= 0."""
    return -torch.rand(shape, generator=generator, device=generator.device).clamp_min(1e-6).log()


def _slope(bands: int, device: torch.device) -> Tensor:
    """(1, bands, 1) from -1 to 1."""
    return torch.linspace(-1, 1, bands, device=device)[None, :, None]


def spec_augment(mel_power: Tensor, generator: torch.Generator, times: int = 2, bands: int = 2) -> Tensor:
    """Silence random stretches of time (up to 20 %) and bands (up to 15 %) (Park et al. 2019)."""
    batch, n_mels, frames = mel_power.shape
    keep = torch.ones_like(mel_power)
    for count, size, share, axis in ((times, frames, 0.2, 2), (bands, n_mels, 0.15, 1)):
        position = torch.arange(size, device=keep.device)[None]
        for _ in range(count):
            width = uniform((batch, 1), 0, share * size, generator)
            start = uniform((batch, 1), 0, 1, generator) * (size - width)
            hole = ((position >= start) & (position < start + width)).float()
            keep = keep * (1 - (hole[:, None, :] if axis == 2 else hole[:, :, None]))
    return mel_power * keep


def random_regions(mel_power: Tensor, generator: torch.Generator, min_area: float = 0.2) -> Tensor:
    """Keep only random smooth regions of a map, so that the encoder has seen masked sounds (cf. ROAR, Hooker 2019).

    A field of smooth noise, favouring loud cells by a random amount, is cut at a random area per clip.
    """
    batch, n_mels, frames = mel_power.shape
    rows, columns = (
        int(torch.randint(2, 9, (), generator=generator, device=generator.device)),
        int(torch.randint(3, 26, (), generator=generator, device=generator.device)),
    )
    field = F.interpolate(
        torch.randn((batch, 1, rows, columns), generator=generator, device=generator.device),
        (n_mels, frames),
        mode="bilinear",
    )[:, 0]
    loudness = mel_power.clamp_min(1e-10).log()
    loudness = (loudness - loudness.mean((1, 2), keepdim=True)) / (loudness.std((1, 2), keepdim=True) + 1e-5)
    field = field + uniform((batch, 1, 1), 0.0, 1.0, generator) * loudness
    area = uniform((batch, 1), min_area, 1.0, generator)
    rank = field.flatten(1).sort(dim=1).values
    cut = rank.gather(1, ((1 - area) * (n_mels * frames - 1)).long())
    return mel_power * torch.sigmoid(8 * (field - cut[:, :, None]))
