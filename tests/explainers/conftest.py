"""Windows, a recording of several of them, and a target; all on the debug backend."""

import pytest
import torch

from lmaczs.clap.debug import DEBUG_CONFIG, DebugCLAP, HashedSentences
from lmaczs.hearing import listen, make_target
from lmaczs.types import AudioClip


class DeafCLAP(DebugCLAP):
    """The same embedding for every sound, but for `noise`: nothing in a sound can speak for a prompt."""

    noise = 0.0

    def encode(self, mel_power):
        embedding, hidden = super().encode(mel_power)
        fixed = torch.ones_like(embedding) + self.noise * embedding
        return torch.nn.functional.normalize(fixed, dim=-1), hidden


@pytest.fixture
def deaf_backend(debug_backend):
    deaf = DeafCLAP(DEBUG_CONFIG, HashedSentences())
    deaf.load_state_dict(debug_backend.state_dict())
    return deaf.eval().requires_grad_(False)


@pytest.fixture
def waveforms(make_beep):
    """Three windows of the debug backend: (3, 32000)."""
    return torch.stack([make_beep(seed=seed).waveform for seed in range(3)])


@pytest.fixture
def three_windows(waveforms):
    """One clip of three windows."""
    return AudioClip(waveforms.flatten(), 16000, "three")


@pytest.fixture
def windows(debug_backend, waveforms):
    return debug_backend.analyze(waveforms)


@pytest.fixture
def window(debug_backend, make_beep):
    """One beep in noise: a batch of one."""
    return debug_backend.analyze(make_beep(seed=1).waveform.unsqueeze(0))


@pytest.fixture
def recording(debug_backend, three_windows):
    return listen(three_windows, debug_backend)


@pytest.fixture
def target(debug_backend):
    return make_target(debug_backend, "a beep")
