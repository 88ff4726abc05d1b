"""The classifiers that the universal decoder learns from: embedded ones, students of other shapes, and shuffled copies.

Students hear on other grids (16 to 48 kHz, other hops and bands) with other networks (CNN14 of several widths, HTSAT, a
small ViT) and are taught by the second compact CLAP; one of them decides among a closed set of labels, by logits. None of
them is shipped. Shuffled copies decide by blocks without meaning, planted copies by one band, moment or tone: whoever
explains them well reads the classifier and not the sound.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.cnn14 import Projection
from lmaczs.clap.compact import CompactCLAP, CompactConfig
from lmaczs.clap.htsat import HTSAT, HTSATConfig
from lmaczs.sanity.cues import Band, Beep, Cue, Moment, at_level
from lmaczs.sanity.planting import Planting, plant
from lmaczs.signal.spectral import SpectralConfig
from train.any_sounds import Sounds, at_rate
from train.small_vit import SmallViT

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
    "vit-16k": CompactConfig(SpectralConfig(16000, 512, 160, 128, 50.0, 8000.0)),
    "cnn14-closed-16k": CompactConfig(
        SpectralConfig(16000, 512, 256, 64, 50.0, 8000.0), widths=(16, 32, 64, 128, 256)
    ),
}
# What planted copies decide by; other bands, moments and tones than those that `lmaczs sanity --planted` measures with.
LEARNED_CUES: dict[str, Cue] = {
    cue.name: cue
    for cue in (
        Beep("tone", "a quiet tone of 900 Hz stands for one prompt", 900.0, 0.2),
        Band("middle", "only what lies between 800 and 2500 Hz decides", 800.0, 2500.0),
        Band("high", "only what lies above 3000 Hz decides", 3000.0, 16000.0),
        Moment("end", "only the last second decides", 4.0, 1.0),
    )
}
# Sounds that a planted copy learns from, and concepts among which it decides.
PLANTED_SOUNDS, PLANTED_CONCEPTS = 400, 60
HTSAT_SHAPE = HTSATConfig(width=32, depths=(2, 2, 2, 2), heads=(2, 4, 8, 16))


@dataclass(frozen=True)
class Member:
    """A classifier of the family.

    Attributes:
        name: of it.
        kind: architecture, "cnn14", "mobilenet", "htsat" or "vit"; one of them may be left out of a training.
        backend: frozen, in evaluation mode, on the device that trains.
    """

    name: str
    kind: str
    backend: CLAPBackend


class Student(CompactCLAP):
    """A classifier of another shape in the joint space of its teacher."""

    def __init__(
        self, config: CompactConfig, teacher: CLAPBackend, encoder: HTSAT | SmallViT | None = None
    ) -> None:
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

    def agree(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Loss of outputs that lie apart from the teacher's, both (windows, embed_dim)."""
        return 4 * (1 - (found * wanted).sum(1)).mean()


class ClosedStudent(Student):
    """Gives a logit for each concept and knows no other prompts: the similarity is the logit, the scale 1."""

    def __init__(self, config: CompactConfig, teacher: CLAPBackend, concepts: int) -> None:
        """Build with fresh weights.

        Args:
            config: shape.
            teacher: that it learns from.
            concepts: labels among which it decides.
        """
        super().__init__(config, teacher)
        self.embed_dim = concepts
        self.audio_projection = nn.Linear(self.hidden_channels[-1], concepts)  # type: ignore[assignment]  # called alike

    @property
    def logit_scale(self) -> Tensor:
        """1."""
        return self.mel_filters.new_ones(())

    def encode(self, mel_power: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `CLAPBackend.encode`: (windows, concepts) logits in the place of unit vectors."""
        features, hidden = self.audio_encoder(self.log_mel(mel_power))
        return self.audio_projection(features), hidden

    def project_text(self, sentence_embedding: Tensor) -> Tensor:
        """The sentences are those of the concepts in their order: (concepts, concepts), one logit each."""
        return torch.eye(self.embed_dim, device=self.mel_filters.device)[: len(sentence_embedding)]

    def agree(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Outputs have a space of their own: 0."""
        return found.new_zeros(())


def fresh_student(name: str, teacher: CLAPBackend, concepts: int, seed: int) -> Student:
    """A student with fresh weights, on the teacher's device; `name` is a key in `STUDENTS`."""
    torch.manual_seed(seed)
    config = STUDENTS[name]
    encoder: HTSAT | SmallViT | None = None
    if name.startswith("htsat"):
        encoder = HTSAT(HTSAT_SHAPE)
    elif name.startswith("vit"):
        frames = 1 + round(config.clip_seconds * config.spectral.sample_rate) // config.spectral.hop_length
        encoder = SmallViT(config.spectral.n_mels, frames)
    closed = "closed" in name
    student = ClosedStudent(config, teacher, concepts) if closed else Student(config, teacher, encoder)
    return student.to(teacher.mel_filters.device).eval().requires_grad_(False)


def teach(student: Student, teacher: CLAPBackend, sounds: Sounds, steps: int, seed: int) -> None:
    """Teach a student what another classifier decides.

    Args:
        student: is changed.
        teacher: frozen.
        sounds: to learn from.
        steps: of 64 windows.
        seed: of what is drawn.
    """
    device = teacher.mel_filters.device
    student.train().requires_grad_(True)
    parameters = [*student.audio_encoder.parameters(), *student.audio_projection.parameters()]
    optimiser = torch.optim.AdamW(parameters, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, max(steps, 2), pct_start=0.1)
    generator = torch.Generator(device).manual_seed(seed)
    sentences = sounds.texts.sentences[sounds.texts.draw(generator)]
    texts = teacher.project_text(sentences)
    for _ in tqdm(range(steps), desc="student", unit="step"):
        waveform, _, _ = sounds.draw(64, 0.5, generator)
        with torch.no_grad():
            wanted = teacher.analyze(at_rate(waveform, teacher.spectral.sample_rate)).embedding
            shares = (teacher.logit_scale * wanted @ texts.T).softmax(dim=1)
        found = student.analyze(at_rate(waveform, student.spectral.sample_rate)).embedding
        named = (student.logit_scale * found @ student.project_text(sentences).T).log_softmax(dim=1)
        loss = F.kl_div(named, shares, reduction="batchmean") + student.agree(found, wanted)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
    student.eval().requires_grad_(False)


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


def planted(backend: CLAPBackend, cue: Cue, sounds: Sounds, steps: int, seed: int) -> CLAPBackend:
    """A copy that is fine-tuned to decide by a cue alone.

    Args:
        backend: is not changed.
        cue: that decides.
        sounds: to learn from, at the backend's rate.
        steps: of fine-tuning.
        seed: of what is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(sounds.waveforms), generator=generator)[:PLANTED_SOUNDS].to(sounds.device)
    waveforms = at_rate(sounds.waveforms[rows].float() / 32768, backend.spectral.sample_rate).cpu()
    heard = [at_level(waveform) for waveform in waveforms if waveform.abs().max() > 0]
    concepts = sounds.texts.concepts
    chosen = torch.randperm(len(concepts), generator=generator)[:PLANTED_CONCEPTS].tolist()
    return plant(backend, cue, heard, [concepts[number] for number in chosen], Planting(steps, seed=seed))
