"""Shared fixtures: everything is built here, deterministic, without files and without a network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once
os.environ.setdefault("MPLBACKEND", "Agg")

import math
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap import load_backend
from lmaczs.clap.base import CLAPBackend
from lmaczs.signal.spectral import SpectralConfig, mel_filterbank
from lmaczs.types import AudioClip

# More threads than free cores wait for one another: a caller on a busy machine sets OMP_NUM_THREADS=1.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


# Files that take minutes. They come first: at the end of a run in several processes all others would wait for them.
LONG_FILES = (
    "ui/test_comparing.py",
    "train/test_scripts.py",
    "many/test_explain_many.py",
    "ui/test_model_choice.py",
    "ui/lanes/test_lanes.py",
    "test_cli.py",
    "train/test_train_lmac_any.py",
    "ui/test_browser.py",
    "ui/test_visitors_sounds.py",
    "ui/test_accessibility.py",
    "ui/test_public_server.py",
    "ui/test_address.py",
    "ui/test_beside.py",
    "ui/test_what_if.py",
    "ui/test_page.py",
    "ui/test_visitors.py",
    "study/test_study.py",
    "test_docs.py",
    "test_space.py",
    "test_interruption.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest files to the front; all else keeps its order."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG_FILES))


class PlantedCLAP(CLAPBackend):
    """A CLAP whose right explanation is known: its embedding depends only on the mel power in one box.

    The box is 0.96 s to 1.6 s and mel bands 8 to 15 (781 Hz to 1.8 kHz). With p the mean mel power in the box
    the embedding is (sin a, cos a, 0, 0), a = pi/2 * p / (p + half_power); prompts with the word "beep" are
    (1, 0, 0, 0), all others (0, 1, 0, 0). Hidden maps are plain averages of the power map, so the box can be
    found in them too.
    """

    name = "planted"
    spectral = SpectralConfig(
        sample_rate=16000, n_fft=512, hop_length=320, n_mels=32, f_min=50.0, f_max=8000.0
    )
    clip_samples = 32000
    embed_dim = 4
    hidden_channels = (2, 2, 2, 2)
    box_frames = slice(48, 80)
    box_mels = slice(8, 16)
    # STFT rows with weight in the box's mel bands; asserted in tests/clap/test_base.py.
    box_bins = slice(25, 59)
    half_power = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mel_filters", mel_filterbank(self.spectral))
        self.blocks = nn.ModuleList([nn.AvgPool2d(2), nn.AvgPool2d(2), nn.AvgPool2d(2), nn.Identity()])

    @property
    def logit_scale(self) -> Tensor:
        return torch.tensor(10.0, device=self.mel_filters.device)

    @property
    def cam_layers(self) -> dict[str, nn.Module]:
        return {f"block{index}": block for index, block in enumerate(self.blocks, start=1)}

    def encode(self, mel_power: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        power = mel_power.transpose(1, 2)
        # (batch, 2, time, freq); the second is a distractor.
        maps = torch.stack([power, torch.ones_like(power)], dim=1)
        hidden = []
        for block in self.blocks:
            maps = block(maps)
            hidden.append(maps)
        rows, columns = (slice(box.start // 8, box.stop // 8) for box in (self.box_frames, self.box_mels))
        level = maps[:, 0, rows, columns].mean(dim=(1, 2))
        angle = math.pi / 2 * level / (level + self.half_power)
        zero = torch.zeros_like(angle)
        return torch.stack([angle.sin(), angle.cos(), zero, zero], dim=1), tuple(hidden)

    def embed_sentences(self, prompts: Sequence[str]) -> Tensor:
        rows = torch.tensor(
            [0 if "beep" in prompt.lower() else 1 for prompt in prompts], device=self.mel_filters.device
        )
        return F.one_hot(rows, self.embed_dim).float()


@pytest.fixture(scope="session")
def debug_backend() -> CLAPBackend:
    """The real compact CLAP class with tiny seeded weights: 16 kHz, 2 s, 32 mel bands, 16-dim joint space."""
    return load_backend("debug", "cpu")


@pytest.fixture(scope="session")
def planted_backend() -> PlantedCLAP:
    """See `PlantedCLAP`."""
    return PlantedCLAP().eval().requires_grad_(False)


def _beep_in_noise(duration_s: float = 2.0, sample_rate: int = 16000, seed: int = 0) -> AudioClip:
    time = torch.arange(round(duration_s * sample_rate)) / sample_rate
    noise = 0.05 * torch.randn(len(time), generator=torch.Generator().manual_seed(seed))
    burst = 0.5 * torch.sin(2 * torch.pi * 1000 * time) * ((time >= 1.0) & (time < 1.5))
    return AudioClip(noise + burst, sample_rate, "beep")


@pytest.fixture
def beep_in_noise() -> AudioClip:
    """A 1 kHz burst from 1.0 s to 1.5 s in white noise; 2 s at 16 kHz.

    Power 0.5^2 / 2 against 0.05^2: the noise lies 17 dB below the burst.
    """
    return _beep_in_noise()


@pytest.fixture
def make_beep():
    """`make_beep(duration_s, sample_rate, seed)`: the same burst in a clip of another length or rate."""
    return _beep_in_noise
