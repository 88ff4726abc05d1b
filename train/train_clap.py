"""Train the compact CLAP on any CSV of `path, captions`.

    python -m train.train_clap --clips data/clips.csv --hold-out esc50:4 --hold-out urbansound8k:3 --run runs/clap
    python -m train.train_clap --clips data/clips.csv --run runs/clap --steps 9000     # the same folder resumes
    accelerate launch --mixed_precision bf16 train/train_clap.py ...                   # on GPUs

Every audio clip is compared with one sentence of every concept in the collection at once, and with joined captions of
the mixtures in its batch; sentences of equal or sibling concepts are never its negatives.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # started as a file: put the repository in the place of this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from lmaczs.clap.compact import CompactCLAP, CompactConfig
from lmaczs.clap.minilm import MiniLM
from lmaczs.clap.similarity import prompts_from_labels
from train import augment
from train.clips import Array, ClipSampler, TrainingClip, cache_mel_power, split_clips, training_clips
from train.common import RunConfig, TrainingRun, make_accelerator, start
from train.texts import TextBank, load_text_bank


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """What a run is made of; stored with the weights.

    Attributes:
        mixed_share: of a batch that are mixtures of two clips.
        doubled_share: of the other clips that are two recordings of one concept at once.
        region_share: of a batch of which only random regions are left.
        text_noise: deviation of the noise that is added to sentence embeddings.
    """

    steps: int = 4000
    batch_size: int = 64
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    save_every: int = 250
    mixed_share: float = 0.5
    doubled_share: float = 0.4
    region_share: float = 0.2
    text_noise: float = 0.02


@dataclass(frozen=True)
class Batch:
    """A training batch.

    Attributes:
        mel_power: (batch, n_mels, frames), augmented.
        sentences: (texts, 384) MiniLM embeddings; one per concept, then one per mixture.
        target: (batch, texts), rows sum to 1.
        excluded: (batch, texts) bool, texts that are neither right nor wrong for a clip.
    """

    mel_power: Tensor
    sentences: Tensor
    target: Tensor
    excluded: Tensor


@dataclass(frozen=True)
class Drawn:
    """Which clips a batch is made of; mixtures come first.

    Attributes:
        rows: (batch,) clips.
        pair_rows: (mixtures,) rows of `TextBank.pairs`.
        snr_db: (mixtures,) level of the first part over the second.
        own: (batch - mixtures,) concepts of the single clips.
    """

    rows: Tensor
    pair_rows: Tensor
    snr_db: Tensor
    own: Tensor


def make_batch(
    mel_db: Array, sampler: ClipSampler, bank: TextBank, config: TrainConfig, generator: torch.Generator
) -> Batch:
    """The clips of a process in a step, augmented, with the sentences that they are compared with."""
    drawn, mel = draw_sounds(mel_db, sampler, bank, config, generator)
    noisy = torch.rand(len(mel), generator=generator) < 0.3
    mel[noisy] = augment.add_noise(mel[noisy], 5.0, generator)
    masked = torch.rand(len(mel), generator=generator) < config.region_share
    mel[masked] = augment.random_regions(mel[masked], generator)
    mel[~masked] = augment.spec_augment(mel[~masked], generator)
    target, excluded = compare(drawn, bank)
    sentences = torch.cat([bank.draw(generator), bank.pair_embedding[drawn.pair_rows]])
    sentences = sentences + config.text_noise * torch.randn(sentences.shape, generator=generator)
    return Batch(mel, F.normalize(sentences, dim=-1), target, excluded)


def draw_sounds(
    mel_db: Array, sampler: ClipSampler, bank: TextBank, config: TrainConfig, generator: torch.Generator
) -> tuple[Drawn, Tensor]:
    """Draw clips, mix some with another concept and some with another recording of their own.

    Returns:
        what was drawn, and (batch, n_mels, frames) power.
    """
    size, mixed = config.batch_size, round(config.batch_size * config.mixed_share)
    pair_rows = torch.randint(len(bank.pairs), (mixed,), generator=generator)
    pairs = bank.pairs[pair_rows]
    first = [sampler.draw_of(int(c), generator) for c in pairs[:, 0]]
    second = [sampler.draw_of(int(c), generator) for c in pairs[:, 1]]
    single = sampler.draw(size - mixed, generator)
    rows = torch.cat([torch.tensor(first), single])

    def power(indices: Tensor) -> Tensor:
        db = torch.from_numpy(mel_db[indices.numpy()]).float()
        clean = augment.time_roll(10 ** (db / 10), generator)
        clean = augment.stretch(clean, 0.2, generator)
        return augment.equalise(clean, 12.0, generator)

    mel = power(rows)
    snr_db = augment.uniform((mixed,), -10, 10, generator)
    mel[:mixed] = augment.mix(mel[:mixed], power(torch.tensor(second)), snr_db)
    # Two recordings of one concept are a third one: most concepts come from few places and microphones.
    doubled = (
        mixed + torch.nonzero(torch.rand(size - mixed, generator=generator) < config.doubled_share)[:, 0]
    )
    if len(doubled):
        other = [sampler.draw_of(int(concept), generator) for concept in sampler.concept[rows[doubled]]]
        level = augment.uniform((len(doubled),), -6, 12, generator)
        mel[doubled] = augment.mix(mel[doubled], power(torch.tensor(other)), level)
    return Drawn(rows, pair_rows, snr_db, sampler.concept[single]), mel


def compare(drawn: Drawn, bank: TextBank) -> tuple[Tensor, Tensor]:
    """What each clip of a batch is right for, and what it is not compared with; see `Batch`."""
    size, mixed, concepts = len(drawn.rows), len(drawn.pair_rows), len(bank.concepts)
    pairs = bank.pairs[drawn.pair_rows]
    target = torch.zeros(size, concepts + mixed)
    excluded = torch.zeros(size, concepts + mixed, dtype=torch.bool)
    # The louder part says more: share of power.
    share = 0.2 + 0.6 * torch.sigmoid(drawn.snr_db * math.log(10) / 20 * 2)
    row, alone = torch.arange(mixed), mixed + torch.arange(size - mixed)
    target[row, pairs[:, 0]] += 0.75 * share
    target[row, pairs[:, 1]] += 0.75 * (1 - share)
    target[row, concepts + row] += 0.25
    target[alone, drawn.own] = 1.0

    present = torch.zeros(size, concepts, dtype=torch.bool)
    present[row, pairs[:, 0]] = present[row, pairs[:, 1]] = True
    present[alone, drawn.own] = True
    related = present | ((present.float() @ bank.siblings.float()) > 0)
    excluded[:, :concepts] = related
    excluded[:, concepts:] = related[:, pairs[:, 0]] | related[:, pairs[:, 1]]
    return target, excluded & (target == 0)


def contrastive_loss(logits: Tensor, target: Tensor, excluded: Tensor) -> dict[str, Tensor]:
    """Softmax loss in both directions; excluded pairs count neither as right nor as wrong.

    Args:
        logits: (batch, texts).
        target: (batch, texts), rows sum to 1.
        excluded: (batch, texts) bool.
    """
    logits = logits.masked_fill(excluded, -1e4)
    audio_to_text = -(target * logits.log_softmax(dim=1)).sum(1).mean()
    column = target.sum(0)
    used = column > 0
    share = target[:, used] / column[used]
    text_to_audio = -(share * logits[:, used].log_softmax(dim=0)).sum(0).mean()
    return {"loss/audio_to_text": audio_to_text, "loss/text_to_audio": 0.3 * text_to_audio}


@torch.no_grad()
def evaluate(
    model: CompactCLAP, mel_db: Array, clips: list[TrainingClip], texts: Tensor, labels: list[str]
) -> dict[str, float]:
    """Zero-shot top-1 and top-5 in percent, with the paper's prefix before every label of the set."""
    model.eval()
    text = model.project_text(texts)
    top1 = top5 = 0
    for first in range(0, len(clips), 64):
        mel = 10 ** (torch.from_numpy(mel_db[first : first + 64]).float().to(text.device) / 10)
        rank = (model.encode(mel)[0] @ text.T).argsort(descending=True)
        for row, clip in zip(rank.tolist(), clips[first : first + 64], strict=True):
            found = row.index(labels.index(clip.label))
            top1 += found == 0
            top5 += found < 5
    return {"top1": 100 * top1 / len(clips), "top5": 100 * top5 / len(clips), "n": len(clips)}


def main(config: TrainConfig) -> None:
    """seed -> data -> model -> run (resumes) -> loop -> save."""
    torch.manual_seed(config.seed)
    accelerator = make_accelerator(config)
    device, cache = accelerator.device, Path(config.run) / "cache"
    model = CompactCLAP(CompactConfig(), sentence_encoder=torch.nn.Identity())
    clips = training_clips(config.clips, config.datasets, config.data_dir)
    train, valid = split_clips(clips, list(config.hold_out))
    with accelerator.main_process_first():  # one process fills the caches, the others find them
        mel_db = cache_mel_power(train, model, cache / "train.f16")
        valid_db = {
            name: cache_mel_power(group, model, cache / f"{name.replace(':', '-')}.f16")
            for name, group in valid.items()
        }
    labels = {name: sorted({clip.label for clip in group}) for name, group in valid.items()}
    sampler = ClipSampler(train, config.emphasis)
    encoder = MiniLM()
    with accelerator.main_process_first():
        bank = load_text_bank(cache, train, sampler.weight, 8000, config.seed, model.name, encoder)
    valid_texts = {name: encoder(prompts_from_labels(labels[name])).to(device) for name in valid}
    del encoder
    accelerator.print(f"{len(train)} clips, {len(bank.concepts)} concepts")

    if config.init:
        model.load_state_dict(load_file(config.init))
    # torch's stubs do not know the argument.
    model.audio_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    run = TrainingRun(config, accelerator, model, groups, warm_up=300, max_norm=5.0)
    for _ in run.steps():
        model = run.network.train()
        batch = make_batch(mel_db, sampler, bank, config, run.own_generator())
        with accelerator.autocast():
            audio = model.encode(batch.mel_power.to(device))[0]
        with torch.autocast(device.type, enabled=False):
            text = model.project_text(batch.sentences.to(device))
            logits = model.logit_scale * audio.float() @ text.T
            losses = contrastive_loss(logits, batch.target.to(device), batch.excluded.to(device))
        if run.learn(losses, {"mel_power": batch.mel_power, "target": batch.target}):
            scores = {
                name: evaluate(run.averaged, valid_db[name], group, valid_texts[name], labels[name])
                for name, group in valid.items()
            }
            run.save(logit_scale=run.averaged.logit_scale.item(), **scores)


if __name__ == "__main__":
    start(main, TrainConfig, __doc__)
