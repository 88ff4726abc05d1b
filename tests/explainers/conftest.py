"""Windows, a recording of several of them, and a target; all on the debug backend."""

import pytest
import torch
import torch.nn.functional as F

from lmaczs.clap.debug import DEBUG_CONFIG, DebugCLAP, HashedSentences
from lmaczs.explainers.l2i.explainer import L2I, interpreter_config
from lmaczs.explainers.l2i.networks import Interpreter
from lmaczs.hearing import listen, make_target
from lmaczs.types import AudioClip


class DeafCLAP(DebugCLAP):
    """The same embedding for every sound, but for `noise`: nothing in a sound can speak for a prompt."""

    noise = 0.0

    def encode(self, mel_power):
        embedding, hidden = super().encode(mel_power)
        fixed = torch.ones_like(embedding) + self.noise * embedding
        return F.normalize(fixed, dim=-1), hidden


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


@pytest.fixture(scope="session")
def fresh_interpreter(debug_backend):
    """`fresh_interpreter(classes, pooling)`: an L2I interpreter of 9 components with seeded weights."""

    def build(classes=None, pooling="attention"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            config = interpreter_config(debug_backend, 9, classes=classes, pooling=pooling)
            dictionary = F.normalize(torch.rand(config.bins, 9), dim=0)
            interpreter = Interpreter(config, dictionary)
            interpreter.psi.last.weight.data *= 0.2
            # So that every component sounds.
            torch.nn.init.constant_(interpreter.psi.last.bias, 0.5)
            weight = interpreter.theta.linear.weight
            # Pairs of opposites: whatever the prompt, some component speaks for it.
            if classes is None:
                weight.data[1::2] = -weight.data[:-1:2]
        return interpreter.eval().requires_grad_(False)

    return build


@pytest.fixture(scope="session")
def l2i(debug_backend, fresh_interpreter):
    return L2I(debug_backend, interpreter=fresh_interpreter())
