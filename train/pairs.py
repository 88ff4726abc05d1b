"""Sounds and prompts of a step of our objective: clips, mixtures, what is asked about them, and what competes with it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.evaluation.masks import FORMS
from lmaczs.explainers.areas import AREAS
from lmaczs.explainers.lmac_zs.loss import Pairs
from lmaczs.signal.mixing import add_at_gain
from train import augment
from train.clips import Array, ClipSampler
from train.config import RunConfig
from train.texts import TextBank

# Areas at which an evaluation compares methods.
COMPARED = tuple(share for share in FORMS.values() if share)


@dataclass(frozen=True)
class PairConfig(RunConfig):
    """Settings of what is drawn.

    Attributes:
        noisy_share: of the sounds that get white noise.
        predicted_share: of single clips that are explained for what the CLAP believes instead of what they are.
        predicted_mixture_share: of mixtures whose first prompt is replaced by what the CLAP believes.
        unnamed_share: of the sounds of those windows that are not among the prompts, so that the CLAP decides for
            something else: people ask about such decisions too, and a voice in the background makes many of them.
        compared_share: of the pairs that are trained at one of the areas that methods are compared at, the others at
            any but the smallest.
        num_rivals: other sentences that a prompt competes with.
    """

    noisy_share: float = 0.2
    predicted_share: float = 0.5
    predicted_mixture_share: float = 0.35
    unnamed_share: float = 0.0
    compared_share: float = 0.0
    num_rivals: int = 64


@dataclass(frozen=True)
class Sounds:
    """The sounds of a step.

    Attributes:
        waveform: (batch, clip_samples).
        rows: (prompts,) window that each concept is in.
        concepts: (prompts,) what is in it.
    """

    waveform: Tensor
    rows: Tensor
    concepts: Tensor


def draw_sounds(
    store: Array, sampler: ClipSampler, siblings: Tensor, config: PairConfig, generator: torch.Generator
) -> Sounds:
    """Clips rolled in time, some with noise; two thirds are mixed with another at -6 to 6 dB."""
    first = sampler.draw(config.batch_size, generator)

    def read(indices: Tensor) -> Tensor:
        samples = torch.from_numpy(store[indices.numpy()]).float() / 32768
        shift = torch.randint(samples.shape[1], (len(samples),), generator=generator)
        samples = torch.stack([row.roll(int(s)) for row, s in zip(samples, shift, strict=True)])
        return samples / samples.square().mean(1, keepdim=True).sqrt().clamp_min(1e-4) * 0.05

    waveform, own = read(first), torch.arange(config.batch_size)
    mixed = 2 * config.batch_size // 3
    second = sampler.draw(mixed, generator)
    a, b = sampler.concept[first[:mixed]], sampler.concept[second]
    # A mixture of a sound with itself has nothing to tell apart.
    apart = (a != b) & ~siblings[a, b]
    gain_db = -augment.uniform((mixed, 1), -6, 6, generator)
    waveform[:mixed] = add_at_gain(waveform[:mixed], apart[:, None] * read(second), gain_db)
    noisy = torch.rand((config.batch_size, 1), generator=generator) < config.noisy_share
    level = 0.05 * 10 ** (-augment.uniform((config.batch_size, 1), 0, 15, generator) / 20)
    waveform += noisy * level * torch.randn(waveform.shape, generator=generator)
    rows = torch.cat([own, torch.nonzero(apart)[:, 0]])
    return Sounds(waveform, rows, torch.cat([sampler.concept[first], b[apart]]))


def with_siblings(present: Tensor, bank: TextBank) -> Tensor:
    """Concepts (windows, concepts) bool, and all that mean nearly the same."""
    return present | ((present.float() @ bank.siblings.float()) > 0)


def make_pairs(
    sounds: Sounds,
    embedding: Tensor,
    bank: TextBank,
    sampler: ClipSampler,
    backend: CLAPBackend,
    config: PairConfig,
    generator: torch.Generator,
) -> Pairs:
    """What is in the sounds (or what the CLAP believes is), and one prompt per sound that is not in it."""
    num_rivals = min(config.num_rivals, len(bank.concepts))
    drawn = torch.multinomial(sampler.concept_weight, num_rivals, generator=generator)
    contest = torch.unique(torch.cat([sounds.concepts, drawn]))
    rivals = backend.project_text(bank.draw_of(contest, generator).to(embedding.device))
    asked = ask(sounds, embedding, contest, rivals, bank, config, generator)
    wrong_rows, wrong = draw_wrong(sounds, asked.concepts, bank, generator)

    count, device = len(sounds.rows), embedding.device
    rows = torch.cat([sounds.rows, wrong_rows])
    chosen = torch.cat([asked.concepts, wrong])
    sentences = bank.draw_of(chosen, generator)
    ignored = bank.siblings[chosen][:, contest] | (chosen[:, None] == contest[None])
    ignored[:count][asked.believed] |= asked.hidden[sounds.rows[asked.believed]]
    # Of few concepts, all may be siblings: they compete rather than nothing.
    alone = ignored.all(1)
    ignored[alone] = chosen[alone, None] == contest[None]
    text = backend.project_text(sentences.to(device))
    same = (sounds.rows[:, None] == sounds.rows[None]) & ~torch.eye(count, dtype=torch.bool)
    # What is believed may rest on both sounds: neither has to be in what is removed.
    same &= ~asked.windows[sounds.rows]
    partner = torch.full((len(rows),), -1)
    partner[:count] = torch.where(same.any(1), same.int().argmax(1), -1)
    right = torch.arange(len(rows)) < count
    return Pairs(rows.to(device), text, rivals, ignored.to(device), right.to(device), partner.to(device))


@dataclass(frozen=True)
class Asked:
    """What the prompts of a step ask about.

    Attributes:
        concepts: (prompts,) what is in the sounds, or what the CLAP believes is.
        windows: (batch,) bool, whose first prompt is what the CLAP believes.
        believed: (prompts,) bool, these first prompts.
        hidden: (batch, contest) bool, what the CLAP may not decide for.
    """

    concepts: Tensor
    windows: Tensor
    believed: Tensor
    hidden: Tensor


def ask(
    sounds: Sounds,
    embedding: Tensor,
    contest: Tensor,
    rivals: Tensor,
    bank: TextBank,
    config: PairConfig,
    generator: torch.Generator,
) -> Asked:
    """Replace some first prompts by what the CLAP decides for.

    People ask about decisions, and the decision about a mixture need not name either sound.
    """
    batch, concepts = len(sounds.waveform), sounds.concepts.clone()
    counts = torch.bincount(sounds.rows, minlength=batch)
    lot = torch.rand(batch, generator=generator)
    swapped = lot < torch.where(counts == 1, config.predicted_share, config.predicted_mixture_share)
    # Each window's first sound comes before all second ones.
    first = torch.arange(len(concepts)) < batch
    unnamed = swapped[sounds.rows] & (torch.rand(len(concepts), generator=generator) < config.unnamed_share)
    hidden = torch.zeros(batch, len(bank.concepts), dtype=torch.bool)
    hidden[sounds.rows[unnamed], sounds.concepts[unnamed]] = True
    hidden = with_siblings(hidden, bank)[:, contest]
    # Something has to be left to decide for.
    hidden[hidden.all(1)] = False
    believed = contest[(embedding @ rivals.T).cpu().masked_fill(hidden, float("-inf")).argmax(1)]
    swap = swapped[sounds.rows] & first
    concepts[swap] = believed[sounds.rows][swap]
    return Asked(concepts, swapped, swap, hidden)


def draw_wrong(
    sounds: Sounds, concepts: Tensor, bank: TextBank, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One concept for each window that is neither in it nor asked about: windows (some,) and concepts (some,)."""
    inside = torch.zeros(len(sounds.waveform), len(bank.concepts), dtype=torch.bool)
    inside[sounds.rows, sounds.concepts] = True
    inside[sounds.rows, concepts] = True
    related = with_siblings(inside, bank)
    # Of few concepts, a mixture may hold all.
    rows = torch.nonzero((~related).any(1))[:, 0]
    common = torch.zeros(len(bank.concepts))
    # Half of the wrong prompts name what is in a neighbour: the hard ones.
    common[sounds.concepts] = 1.0
    weight = (~related[rows]).float() * (0.02 + common)[None]
    return rows, torch.multinomial(weight, 1, generator=generator)[:, 0]


def draw_areas(count: int, compared_share: float, generator: torch.Generator) -> Tensor:
    """Shares of cells to keep: (count,) of AREAS."""
    areas = torch.tensor(AREAS)
    choice = torch.randint(1, len(areas), (count,), generator=generator)
    compared = torch.rand(count, generator=generator) < compared_share
    pick = torch.randint(len(COMPARED), (count,), generator=generator)
    return torch.where(compared, torch.tensor(COMPARED)[pick], areas[choice])
