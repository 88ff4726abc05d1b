"""Train the compact CLAP on any CSV of `path, captions`.

    python train/train_clap.py --clips data/clips.csv --hold-out esc50:4 --hold-out urbansound8k:3 --run runs/clap
    python train/train_clap.py --clips data/clips.csv --run runs/clap --steps 9000     # the same folder resumes
    accelerate launch --mixed_precision bf16 train/train_clap.py ...                   # on GPUs

Every audio clip is compared with one sentence of every concept in the collection at once, and with joined captions of
the mixtures in its batch; sentences of equal or sibling concepts are never its negatives.
"""

import argparse
import json
import math
import time
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

import augment
from clips import ClipSampler, TrainingClip, cache_mel_power, read_clips, split_clips
from lmaczs.clap.compact import CompactCLAP, CompactConfig
from lmaczs.clap.minilm import MiniLM
from lmaczs.clap.similarity import prompts_from_labels
from texts import TextBank, build_text_bank


@dataclass(frozen=True)
class TrainConfig:
    """What a run is made of; stored with the weights."""

    clips: str
    run: str
    hold_out: tuple[str, ...] = ()
    steps: int = 6500
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    mixed_share: float = 0.5
    region_share: float = 0.3
    emphasis: tuple[str, ...] = ()
    text_noise: float = 0.02
    init: str = ""
    stop_after: int = 0
    ema_decay: float = 0.998
    eval_every: int = 300
    seed: int = 0
    mixed_precision: str = "bf16"


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


def make_batch(
    mel_db: "torch.Tensor", sampler: ClipSampler, bank: TextBank, config: TrainConfig, step: int
) -> Batch:
    """The batch of a step; depends on the seed and the step only, so that a resumed run sees the same data."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    size, mixed = config.batch_size, round(config.batch_size * config.mixed_share)
    concepts = len(bank.concepts)

    pair_rows = torch.randint(len(bank.pairs), (mixed,), generator=generator)
    pairs = bank.pairs[pair_rows]
    first = [sampler.draw_of(int(c), generator) for c in pairs[:, 0]]
    second = [sampler.draw_of(int(c), generator) for c in pairs[:, 1]]
    single = sampler.draw(size - mixed, generator)
    rows = torch.cat([torch.tensor(first), single])

    def power(indices: Tensor) -> Tensor:
        db = torch.from_numpy(mel_db[indices.numpy()]).float()
        clean = 10 ** (db / 10)
        clean = augment.time_roll(clean, generator)
        clean = augment.stretch(clean, 0.12, generator)
        return augment.equalise(clean, 12.0, generator)

    mel = power(rows)
    snr_db = augment.uniform((mixed,), -10, 10, generator)
    mel[:mixed] = augment.mix(mel[:mixed], power(torch.tensor(second)), snr_db)
    noisy = torch.rand(size, generator=generator) < 0.3
    mel[noisy] = augment.add_noise(mel[noisy], 5.0, generator)
    masked = torch.rand(size, generator=generator) < config.region_share
    mel[masked] = augment.random_regions(mel[masked], generator)
    mel[~masked] = augment.spec_augment(mel[~masked], generator)

    target = torch.zeros(size, concepts + mixed)
    excluded = torch.zeros(size, concepts + mixed, dtype=torch.bool)
    share = torch.sigmoid(snr_db * math.log(10) / 20 * 2)  # the louder part says more: share of power
    share = 0.2 + 0.6 * share
    row = torch.arange(mixed)
    target[row, pairs[:, 0]] += 0.75 * share
    target[row, pairs[:, 1]] += 0.75 * (1 - share)
    target[row, concepts + row] += 0.25
    own = sampler.concept[single]
    target[mixed + torch.arange(size - mixed), own] = 1.0

    present = torch.zeros(size, concepts, dtype=torch.bool)
    present[row, pairs[:, 0]] = present[row, pairs[:, 1]] = True
    present[mixed + torch.arange(size - mixed), own] = True
    related = present | ((present.float() @ bank.siblings.float()) > 0)
    excluded[:, :concepts] = related
    excluded[:, concepts:] = related[:, pairs[:, 0]] | related[:, pairs[:, 1]]
    excluded &= target == 0

    sentences = torch.cat([bank.draw(generator), bank.pair_embedding[pair_rows]])
    sentences = sentences + config.text_noise * torch.randn(sentences.shape, generator=generator)
    return Batch(mel, F.normalize(sentences, dim=-1), target, excluded)


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
    model: CompactCLAP, mel_db: "torch.Tensor", clips: list[TrainingClip], texts: Tensor, labels: list[str]
):
    """Zero-shot top-1 and top-5 in percent, with the paper's prefix before every label of the set."""
    model.eval()
    text = model.project_text(texts)
    top1 = top5 = 0
    for start in range(0, len(clips), 64):
        mel = 10 ** (torch.from_numpy(mel_db[start : start + 64]).float().to(text.device) / 10)
        rank = (model.encode(mel)[0] @ text.T).argsort(descending=True)
        for row, clip in zip(rank.tolist(), clips[start : start + 64], strict=True):
            found = row.index(labels.index(clip.label))
            top1 += found == 0
            top5 += found < 5
    return {"top1": 100 * top1 / len(clips), "top5": 100 * top5 / len(clips), "n": len(clips)}


def main(config: TrainConfig) -> None:
    """seed -> data -> model -> optimiser -> prepare -> (resume) -> loop -> save."""
    torch.manual_seed(config.seed)
    accelerator = Accelerator(mixed_precision=config.mixed_precision)
    run = Path(config.run)
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.json").write_text(json.dumps(asdict(config), indent=2))

    model = CompactCLAP(CompactConfig(), sentence_encoder=torch.nn.Identity())
    train, valid = split_clips(read_clips(config.clips), list(config.hold_out))
    mel_db = cache_mel_power(train, model, run / "cache" / "train.f16")
    valid_db = {
        name: cache_mel_power(v, model, run / "cache" / f"{name.replace(':', '-')}.f16")
        for name, v in valid.items()
    }
    labels = {name: sorted({clip.label for clip in v}) for name, v in valid.items()}
    sampler = ClipSampler(train, config.emphasis)
    bank_file = run / "cache" / "texts.pt"
    if bank_file.exists():
        bank = TextBank(**torch.load(bank_file, weights_only=True))
    else:
        bank = build_text_bank(train, sampler.weight, 8000, torch.Generator().manual_seed(config.seed))
        torch.save(vars(bank), bank_file)
    encoder = MiniLM()
    valid_texts = {name: encoder(prompts_from_labels(labels[name])).to(accelerator.device) for name in valid}
    del encoder
    accelerator.print(
        f"{len(train)} training clips, {len(bank.concepts)} concepts, {len(bank.sentence_embedding)} sentences"
    )

    if config.init:
        model.load_state_dict(load_file(config.init))
    model.audio_encoder.to(memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=config.learning_rate,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda s: (
            min(1.0, (s + 1) / 300) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, s / config.steps))) + 1e-3
        ),
    )
    model, optimiser = accelerator.prepare(model, optimiser)
    averaged = deepcopy(accelerator.unwrap_model(model))
    step = 0
    state_file = run / "state.pt"
    if state_file.exists():
        saved = torch.load(state_file, weights_only=True, map_location="cpu")
        accelerator.unwrap_model(model).load_state_dict(saved["model"])
        averaged.load_state_dict(saved["averaged"])
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
        torch.set_rng_state(saved["rng"])
        step = saved["step"]
    bar = tqdm(
        total=config.steps, initial=step, desc="train", unit="step", disable=not accelerator.is_main_process
    )
    running: dict[str, float] = {}
    started = time.monotonic()
    last = config.stop_after or config.steps  # stopping early keeps the schedule of the whole run
    while step < last:
        model.train()
        batch = make_batch(mel_db, sampler, bank, config, step)
        device = accelerator.device
        with accelerator.autocast():
            audio = model.encode(batch.mel_power.to(device))[0]
        with torch.autocast(device.type, enabled=False):
            text = model.project_text(batch.sentences.to(device))
            logits = model.logit_scale * audio.float() @ text.T
            losses = contrastive_loss(logits, batch.target.to(device), batch.excluded.to(device))
        total = sum(losses.values())
        accelerator.backward(total)
        accelerator.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        step += 1
        bar.update()
        decay = min(config.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, value in zip(
                averaged.state_dict().values(),
                accelerator.unwrap_model(model).state_dict().values(),
                strict=True,
            ):
                if mean.dtype.is_floating_point:
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)
        for key, value in losses.items():
            running[key] = running.get(key, 0.0) + float(value.detach()) / config.eval_every
        if step % config.eval_every == 0 or step == last:
            row = {"step": step, "minutes": (time.monotonic() - started) / 60, **running}
            row["logit_scale"] = averaged.logit_scale.item()
            for name, group in valid.items():
                row[name] = evaluate(averaged, valid_db[name], group, valid_texts[name], labels[name])
            running = {}
            if accelerator.is_main_process:
                with (run / "metrics.jsonl").open("a") as file:
                    file.write(json.dumps(row) + "\n")
                bar.write(json.dumps(row))
                state = {
                    "model": accelerator.unwrap_model(model).state_dict(),
                    "averaged": averaged.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "schedule": schedule.state_dict(),
                    "rng": torch.get_rng_state(),
                    "step": step,
                }
                torch.save(state, state_file.with_suffix(".new"))
                state_file.with_suffix(".new").replace(state_file)  # atomic: a kill leaves the older one
                save_file(
                    {k: v.contiguous() for k, v in averaged.state_dict().items()}, run / "model.safetensors"
                )
    bar.close()


def parse_arguments() -> TrainConfig:
    """Flags of the same names as `TrainConfig`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", required=True, help="CSV of path, captions")
    parser.add_argument(
        "--run", required=True, help="folder for checkpoints, cache and metrics; an existing one resumes"
    )
    parser.add_argument(
        "--hold-out", action="append", default=[], help="dataset:fold that is only validated on"
    )
    parser.add_argument(
        "--emphasis", action="append", default=[], help="dataset=factor, drawn that much more often"
    )
    defaults = TrainConfig("", "")
    for name, value in vars(defaults).items():
        if name not in ("clips", "run", "hold_out", "emphasis"):
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    values = vars(parser.parse_args())
    values["hold_out"] = tuple(values["hold_out"])
    values["emphasis"] = tuple(values["emphasis"])
    return TrainConfig(**values)


if __name__ == "__main__":
    main(parse_arguments())
