"""The classifiers that the universal decoder learns from: embedded ones, students of other shapes, and shuffled copies.

Students hear on other grids (16 to 48 kHz, other hops and bands) with other networks (CNN14 of several widths, HTSAT) and
are taught by the second compact CLAP. None of them is shipped. Shuffled copies decide by blocks without meaning: whoever
explains them well reads the classifier and not the sound.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.cnn14 import Projection
from lmaczs.clap.compact import CompactCLAP, CompactConfig
from lmaczs.clap.htsat import HTSAT, HTSATConfig
from lmaczs.signal.spectral import SpectralConfig
from train.any_sounds import Sounds, at_rate

STUDENTS = {
    "cnn14-16k": CompactConfig(
        SpectralConfig(16000, 512, 160, 64, 50.0, 8000.0), widths=(16, 32, 64, 128, 256)
    ),
    "cnn14-32k": CompactConfig(
        SpectralConfig(32000, 1024, 500, 128, 50.0, 15000.0), widths=(16, 32, 96, 192, 384)
    ),
    "cnn14-48k": CompactConfig(
        SpectralConfig(48000, 1024, 480, 64, 50.0, 20000.0), widths=(24, 48, 96, 192, 256)
    ),
    "htsat-32k": CompactConfig(SpectralConfig(32000, 1024, 320, 64, 50.0, 14000.0)),
}
HTSAT_SHAPE = HTSATConfig(width=32, depths=(2, 2, 2, 2), heads=(2, 4, 8, 16))


@dataclass(frozen=True)
class Member:
    """A classifier of the family.

    Attributes:
        name: of it.
        kind: architecture, "cnn14", "mobilenet" or "htsat"; one of them may be left out of a training.
        backend: frozen, in evaluation mode, on the device that trains.
    """

    name: str
    kind: str
    backend: CLAPBackend


class Student(CompactCLAP):
    """A classifier of another shape in the joint space of its teacher."""

    def __init__(self, config: CompactConfig, teacher: CLAPBackend, encoder: HTSAT | None = None) -> None:
        """Build with fresh weights.

        Args:
            config: shape.
            teacher: whose joint space it learns, and which reads the sentences.
            encoder: in the place of a CNN14.
        """
        super().__init__(config)
        self.embed_dim = teacher.embed_dim
        if encoder is not None:
            self.audio_encoder = encoder  # type: ignore[assignment]  # called alike
            self.hidden_channels = encoder.hidden_channels
        self.audio_projection = Projection(self.hidden_channels[-1], self.embed_dim, dropout=0.1)
        self._teacher = [teacher]  # kept out of the module tree: it has weights of its own

    @property
    def logit_scale(self) -> Tensor:
        """The teacher's."""
        return self._teacher[0].logit_scale

    def project_text(self, sentence_embedding: Tensor) -> Tensor:
        """The teacher's."""
        return self._teacher[0].project_text(sentence_embedding)


def make_student(name: str, teacher: CLAPBackend, sounds: Sounds, steps: int, seed: int) -> Student:
    """Teach a classifier of another shape what another one decides.

    Args:
        name: key in `STUDENTS`.
        teacher: frozen.
        sounds: to learn from.
        steps: of 64 windows.
        seed: of weights and draws.
    """
    torch.manual_seed(seed)
    device = teacher.mel_filters.device
    encoder = HTSAT(HTSAT_SHAPE) if name.startswith("htsat") else None
    student = Student(STUDENTS[name], teacher, encoder).to(device).train()
    parameters = [*student.audio_encoder.parameters(), *student.audio_projection.parameters()]
    optimiser = torch.optim.AdamW(parameters, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, max(steps, 2), pct_start=0.1)
    generator = torch.Generator(device).manual_seed(seed)
    texts = sounds.text_of(teacher, generator)
    for _ in tqdm(range(steps), desc=name, unit="step"):
        waveform, _, _ = sounds.draw(64, 0.5, generator)
        with torch.no_grad():
            wanted = teacher.analyze(at_rate(waveform, teacher.spectral.sample_rate)).embedding
            shares = (teacher.logit_scale * wanted @ texts.T).softmax(dim=1)
        found = student.analyze(at_rate(waveform, student.spectral.sample_rate)).embedding
        named = (teacher.logit_scale * found @ texts.T).log_softmax(dim=1)
        loss = F.kl_div(named, shares, reduction="batchmean") + 4 * (1 - (found * wanted).sum(1)).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
    tqdm.write(f"{name}: last loss {loss.item():.3f}")
    return student.eval().requires_grad_(False)


@torch.no_grad()
def shuffled(backend: CLAPBackend, layers: int, seed: int) -> CLAPBackend:
    """A copy whose deepest layers have their own weights in a random order: the same sizes, and no meaning."""
    copy = deepcopy(backend)
    generator = torch.Generator(backend.mel_filters.device).manual_seed(seed)
    for module in list(copy.cam_layers.values())[-layers:]:
        for weight in module.parameters():
            if weight.ndim > 1:
                order = torch.randperm(weight.numel(), generator=generator, device=weight.device)
                weight.copy_(weight.flatten()[order].view_as(weight))
    return copy.eval()
