"""Train an LMAC-ZS decoder for a frozen CLAP.

    python train/train_lmac_zs.py --clips data/clips.csv --hold-out esc50:4 --hold-out urbansound8k:3 --run runs/lmac-zs
    python train/train_lmac_zs.py --clips data/clips.csv --run runs/paper --objective paper     # eq. 6 and 7 as printed
    python train/train_lmac_zs.py --clips data/clips.csv --run runs/lmac-zs                     # the same folder resumes

Two thirds of a batch are mixtures of two clips; each of their parts is a prompt to explain. The separate parts are never
a target: the only judge is the frozen CLAP.
"""

import argparse
import json
import math
import time
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

import augment
from clips import ClipSampler, cache_waveforms, read_clips, split_clips
from lmaczs import load_backend
from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.lmac_zs.decoder import AREAS
from lmaczs.explainers.lmac_zs.explainer import build_decoder, decoder_config
from lmaczs.explainers.lmac_zs.loss import Pairs, contrast_loss, paper_loss
from texts import TextBank, build_text_bank


@dataclass(frozen=True)
class TrainConfig:
    """What a run is made of; stored with the weights."""

    clips: str
    run: str
    hold_out: tuple[str, ...] = ()
    emphasis: tuple[str, ...] = ()
    backend: str = "compact"
    domain: str = "stft"
    objective: str = "contrast"
    steps: int = 4000
    batch_size: int = 12
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    removed_weight: float = 1.0
    worth_weight: float = 1.0
    sparsity_weight: float = 0.1
    diversity_weight: float = 0.1
    predicted_share: float = 0.5
    num_rivals: int = 64
    ema_decay: float = 0.997
    save_every: int = 200
    seed: int = 0
    mixed_precision: str = "bf16"
    init: str = ""
    stop_after: int = 0


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
    """Clips rolled in time; for our objective two thirds of them are mixed with another at -6 to 6 dB."""
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
    return Pairs(rows, text, rivals, ignored, right)


def main(config: TrainConfig) -> None:
    """seed -> data -> frozen backend -> decoder -> optimiser -> prepare -> (resume) -> loop -> save."""
    torch.manual_seed(config.seed)
    accelerator = Accelerator(mixed_precision=config.mixed_precision)
    run = Path(config.run)
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.json").write_text(json.dumps(asdict(config), indent=2))
    backend = load_backend(config.backend, str(accelerator.device))
    train, _ = split_clips(read_clips(config.clips), list(config.hold_out))
    store = cache_waveforms(train, backend, run / "cache" / "train.i16")
    sampler = ClipSampler(train, config.emphasis)
    bank_file = run / "cache" / "texts.pt"
    if bank_file.exists():
        bank = TextBank(**torch.load(bank_file, weights_only=True))
    else:
        bank = build_text_bank(train, sampler.weight, 64, torch.Generator().manual_seed(config.seed))
        torch.save(vars(bank), bank_file)

    decoder = build_decoder(backend, decoder_config(backend, config.domain))
    if config.init:
        decoder.load_state_dict(load_file(config.init))
    accelerator.print(
        f"{sum(p.numel() for p in decoder.parameters()) / 1e6:.2f} M parameters, {len(train)} clips"
    )
    optimiser = torch.optim.AdamW(
        decoder.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda s: (
            min(1.0, (s + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, s / config.steps))) + 1e-3
        ),
    )
    decoder, optimiser = accelerator.prepare(decoder, optimiser)
    averaged = deepcopy(accelerator.unwrap_model(decoder))
    step = 0
    state_file = run / "state.pt"
    if state_file.exists():
        saved = torch.load(state_file, weights_only=True, map_location="cpu")
        accelerator.unwrap_model(decoder).load_state_dict(saved["decoder"])
        averaged.load_state_dict(saved["averaged"])
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
        step = saved["step"]
    bar = tqdm(
        total=config.steps, initial=step, desc="train", unit="step", disable=not accelerator.is_main_process
    )
    running: dict[str, float] = {}
    started = time.monotonic()
    last = config.stop_after or config.steps  # stopping early keeps the schedule of the whole run
    while step < last:
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        sounds = draw_sounds(store, sampler, bank.siblings, config, generator)
        with torch.no_grad(), accelerator.autocast():
            audio = backend.analyze(sounds.waveform.to(accelerator.device))
        with torch.no_grad():
            pairs = make_pairs(sounds, audio.embedding.float(), bank, sampler, backend, config, generator)
        with accelerator.autocast():
            if config.objective == "paper":
                text = pairs.text[: config.batch_size]
                report = paper_loss(
                    backend, decoder, audio, text, config.sparsity_weight, config.diversity_weight
                )
            else:
                area = torch.tensor(AREAS)[
                    torch.randint(1, len(AREAS), (len(sounds.rows),), generator=generator)
                ]
                report = contrast_loss(
                    backend, decoder, audio, pairs, area, config.removed_weight, config.worth_weight
                )
        total = sum(value for key, value in report.items() if key.startswith("loss/"))
        accelerator.backward(total)
        accelerator.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        step += 1
        bar.update()
        decay = min(config.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            pairs_of_weights = zip(
                averaged.parameters(), accelerator.unwrap_model(decoder).parameters(), strict=True
            )
            for mean, value in pairs_of_weights:
                mean.lerp_(value, 1 - decay)
        for key, value in report.items():
            running[key] = running.get(key, 0.0) + float(value.detach()) / config.save_every
        if step % config.save_every == 0 or step == last:
            row = {"step": step, "minutes": round((time.monotonic() - started) / 60, 2), **running}
            running = {}
            if accelerator.is_main_process:
                with (run / "metrics.jsonl").open("a") as file:
                    file.write(json.dumps(row) + "\n")
                bar.write(json.dumps(row))
                state = {
                    "decoder": accelerator.unwrap_model(decoder).state_dict(),
                    "averaged": averaged.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "schedule": schedule.state_dict(),
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
        "--hold-out", action="append", default=[], help="dataset:fold that is never trained on"
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
