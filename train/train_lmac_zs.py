"""Train an LMAC-ZS decoder for a frozen CLAP.

    python train/train_lmac_zs.py --clips data/clips.csv --hold-out esc50:4 --hold-out urbansound8k:3 --run runs/lmac-zs
    python train/train_lmac_zs.py --clips data/clips.csv --run runs/paper --objective paper     # eq. 6 and 7 as printed
    python train/train_lmac_zs.py --clips data/clips.csv --run runs/lmac-zs                     # the same folder resumes

Two thirds of a batch are mixtures of two clips; each of their parts is a prompt to explain. The separate parts are never
a target: the only judge is the frozen CLAP.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor

import augment
from clips import ClipSampler, cache_waveforms, read_clips, split_clips
from common import RunConfig, TrainingRun, parse_config
from lmaczs import load_backend
from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.lmac_zs.decoder import AREAS
from lmaczs.explainers.lmac_zs.explainer import build_decoder, decoder_config
from lmaczs.explainers.lmac_zs.loss import Pairs, contrast_loss, paper_loss
from texts import TextBank, load_text_bank


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """What a run is made of; stored with the weights.

    Attributes:
        backend: key of the CLAP that is explained.
        domain: of the masks.
        objective: "contrast" (ours) or "paper" (eq. 6 and 7).
        removed_weight: of the mask-out term.
        partner_weight: of the term that looks for the other sound of a mixture in what is removed.
        noisy_share: of the sounds that get white noise.
        worth_weight: of the head that learns how large a mask is worth keeping.
        sparsity_weight: lambda 1 of the paper's objective.
        diversity_weight: lambda 2 of the paper's objective.
        predicted_share: of single clips that are explained for what the CLAP believes instead of what they are.
        num_rivals: other sentences that a prompt competes with.
    """

    steps: int = 2600
    batch_size: int = 12
    save_every: int = 50
    ema_decay: float = 0.997
    backend: str = "compact"
    domain: str = "stft"
    objective: str = "contrast"
    removed_weight: float = 1.0
    partner_weight: float = 1.0
    noisy_share: float = 0.2
    worth_weight: float = 1.0
    sparsity_weight: float = 0.1
    diversity_weight: float = 0.1
    predicted_share: float = 0.5
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
    store, sampler: ClipSampler, siblings: Tensor, config: TrainConfig, generator: torch.Generator
) -> Sounds:
    """Clips rolled in time, some with noise; for our objective two thirds are mixed with another at -6 to 6 dB."""
    first = sampler.draw(config.batch_size, generator)

    def read(indices: Tensor) -> Tensor:
        samples = torch.from_numpy(store[indices.numpy()]).float() / 32768
        shift = torch.randint(samples.shape[1], (len(samples),), generator=generator)
        samples = torch.stack([row.roll(int(s)) for row, s in zip(samples, shift, strict=True)])
        return samples / samples.square().mean(1, keepdim=True).sqrt().clamp_min(1e-4) * 0.05

    waveform, own = read(first), torch.arange(config.batch_size)
    if config.objective == "paper":
        return Sounds(waveform, own, sampler.concept[first])
    mixed = 2 * config.batch_size // 3
    second = sampler.draw(mixed, generator)
    a, b = sampler.concept[first[:mixed]], sampler.concept[second]
    apart = (a != b) & ~siblings[a, b]  # a mixture of a sound with itself has nothing to tell apart
    gain = 10 ** (-augment.uniform((mixed, 1), -6, 6, generator) / 20)
    waveform[:mixed] += apart[:, None] * gain * read(second)
    noisy = torch.rand((config.batch_size, 1), generator=generator) < config.noisy_share
    level = 0.05 * 10 ** (-augment.uniform((config.batch_size, 1), 0, 15, generator) / 20)
    waveform += noisy * level * torch.randn(waveform.shape, generator=generator)
    rows = torch.cat([own, torch.nonzero(apart)[:, 0]])
    return Sounds(waveform, rows, torch.cat([sampler.concept[first], b[apart]]))


def make_pairs(
    sounds: Sounds,
    embedding: Tensor,
    bank: TextBank,
    sampler: ClipSampler,
    backend: CLAPBackend,
    config: TrainConfig,
    generator: torch.Generator,
) -> Pairs:
    """What is in the sounds (or what the CLAP believes is), and one prompt per sound that is not in it."""
    drawn = torch.multinomial(sampler.concept_weight, config.num_rivals, generator=generator)
    contest = torch.cat([sounds.concepts, drawn]).unique()
    rivals = backend.project_text(bank.draw_of(contest, generator).to(embedding.device))
    batch = len(sounds.waveform)
    concepts = sounds.concepts.clone()
    counts = torch.bincount(sounds.rows, minlength=batch)
    believed = contest[(embedding @ rivals.T).argmax(1)]
    single = counts[sounds.rows] == 1
    swap = single & (torch.rand(len(concepts), generator=generator) < config.predicted_share)
    concepts[swap] = believed[sounds.rows][swap]

    inside = torch.zeros(batch, len(bank.concepts), dtype=torch.bool)
    inside[sounds.rows, sounds.concepts] = True
    inside[sounds.rows, concepts] = True
    related = inside | ((inside.float() @ bank.siblings.float()) > 0)
    wrong_rows = torch.arange(batch)
    allowed = (~related).float()
    common = torch.zeros(len(bank.concepts))
    common[sounds.concepts] = 1.0  # half of the wrong prompts name what is in a neighbour: the hard ones
    weight = allowed * (0.02 + common)[None]
    wrong = torch.multinomial(weight, 1, generator=generator)[:, 0]

    rows = torch.cat([sounds.rows, wrong_rows])
    chosen = torch.cat([concepts, wrong])
    sentences = bank.draw_of(chosen, generator)
    ignored = bank.siblings[chosen][:, contest] | (chosen[:, None] == contest[None])
    right = torch.arange(len(rows)) < len(sounds.rows)
    text = backend.project_text(sentences.to(embedding.device))
    count = len(sounds.rows)
    same = (rows[:count, None] == rows[None, :count]) & ~torch.eye(count, dtype=torch.bool)
    partner = torch.full((len(rows),), -1)
    partner[:count] = torch.where(same.any(1), same.int().argmax(1), -1)
    return Pairs(rows, text, rivals, ignored, right, partner)


def main(config: TrainConfig) -> None:
    """seed -> data -> frozen backend -> decoder -> run (resumes) -> loop -> save."""
    torch.manual_seed(config.seed)
    accelerator = Accelerator(mixed_precision=config.mixed_precision)
    device, cache = accelerator.device, Path(config.run) / "cache"
    backend = load_backend(config.backend, str(device))
    train, _ = split_clips(read_clips(config.clips), list(config.hold_out))
    store = cache_waveforms(train, backend, cache / "train.i16")
    sampler = ClipSampler(train, config.emphasis)
    bank = load_text_bank(cache / "texts.pt", train, sampler.weight, 64, config.seed)

    decoder = build_decoder(backend, decoder_config(backend, config.domain))
    if config.init:
        weights = load_file(config.init)
        # Decoders of the two domains differ in this constant only, so one may go on from the other.
        weights.pop("mel_to_bins", None)
        constant = {name: value for name, value in decoder.named_buffers() if name == "mel_to_bins"}
        decoder.load_state_dict(weights | constant)
    accelerator.print(f"{sum(p.numel() for p in decoder.parameters())} parameters, {len(train)} clips")
    groups = [{"params": list(decoder.parameters())}]
    run = TrainingRun(config, accelerator, decoder, groups, warm_up=100, max_norm=1.0)
    for step in run.steps():
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        sounds = draw_sounds(store, sampler, bank.siblings, config, generator)
        with torch.no_grad(), accelerator.autocast():
            audio = backend.analyze(sounds.waveform.to(device))
        with torch.no_grad():
            pairs = make_pairs(sounds, audio.embedding.float(), bank, sampler, backend, config, generator)
        with accelerator.autocast():
            if config.objective == "paper":
                text = pairs.text[: config.batch_size]
                weights = (config.sparsity_weight, config.diversity_weight)
                report = paper_loss(backend, run.network, audio, text, *weights)
            else:
                choice = torch.randint(1, len(AREAS), (len(sounds.rows),), generator=generator)
                weights = (config.removed_weight, config.partner_weight, config.worth_weight)
                report = contrast_loss(
                    backend, run.network, audio, pairs, torch.tensor(AREAS)[choice], *weights
                )
        if run.learn(report):
            run.save()


if __name__ == "__main__":
    main(parse_config(TrainConfig, __doc__))
