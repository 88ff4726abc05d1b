"""Train a head with fixed labels on a frozen CLAP's audio encoder: the paper's own kind of classifier to interpret.

    python -m train.train_classifier --clips data/clips.csv --hold-out esc50:4 --run runs/classifier-esc50
    python -m train.train_classifier --datasets sonyc-ust --data-dir data/SONYC_UST --run runs/classifier-tags

The first tells the labels of a collection of the CSV apart (softmax), the second gives SONYC-UST's eight coarse tags
(sigmoid; clips longer than the encoder's window count with their beginning). The finished head is `release` in the run's
folder. Some minutes on two cores.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # started as a file: put the repository in the place of this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from lmaczs import load_backend
from lmaczs.clap import EMBEDDED
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.decisions import Head, HeadConfig, HeadDecision, save_head
from lmaczs.data.registry import DATASETS
from lmaczs.data.sonyc_ust import TAGS
from lmaczs.errors import LMACError
from lmaczs.metrics.multi_label import multi_label_fidelity
from train.clips import Array, TrainingClip, cache_waveforms, read_clips, split_clips, training_clip
from train.common import RunConfig, TrainingRun, make_accelerator, start
from train.explained import remember_explained

# That are tried for each tag.
THRESHOLDS = tuple(step / 20 for step in range(1, 20))


@dataclass(frozen=True)
class ClassifierConfig(RunConfig):
    """What a run is made of; stored with the weights.

    Attributes:
        backend: key of the CLAP whose encoder is used.
        collection: of the CSV, whose labels are told apart.
        smoothing: of the labels of a single-label head.
    """

    steps: int = 600
    batch_size: int = 32
    learning_rate: float = 2e-3
    save_every: int = 100
    ema_decay: float = 0.99
    backend: str = EMBEDDED
    collection: str = "esc50"
    smoothing: float = 0.1


@dataclass(frozen=True)
class Examples:
    """Clips and what is in them.

    Attributes:
        clips: recordings.
        truth: (clips, labels) float32 of zeros and ones.
    """

    clips: list[TrainingClip]
    truth: Tensor


def read_examples(config: ClassifierConfig) -> tuple[tuple[str, ...], Examples, Examples]:
    """Labels, examples to train with and held-out ones.

    Raises:
        LMACError: a dataset other than SONYC-UST is asked for, the data is not there, or nothing is left to train with.
    """
    if config.datasets:
        if config.datasets != "sonyc-ust":
            raise LMACError(
                f"--datasets is '{config.datasets}': a multi-label head is trained on sonyc-ust; other collections come "
                "as --clips."
            )
        labels: tuple[str, ...] = tuple(TAGS)
        found = DATASETS["sonyc-ust"].list_clips(config.data_dir).clips
        train, valid = (
            [training_clip(clip) for clip in found if clip.split == split] for split in ("train", "validate")
        )
    else:
        clips = [
            clip for clip in read_clips(config.clips) if clip.dataset == config.collection and clip.label
        ]
        train, held_out = split_clips(clips, list(config.hold_out))
        labels = tuple(sorted({clip.label for clip in train}))
        valid = [clip for group in held_out.values() for clip in group if clip.label in labels]
    if not train:
        raise LMACError(
            "There is nothing to train with: check --collection, --hold-out and the data's folder."
        )
    return labels, _examples(train, labels), _examples(valid, labels)


def _examples(clips: list[TrainingClip], labels: tuple[str, ...]) -> Examples:
    truth = [[float(label in clip.source.labels) for label in labels] for clip in clips]
    return Examples(clips, torch.tensor(truth).view(-1, len(labels)))


def read_batch(store: Array, rows: Tensor, generator: torch.Generator | None) -> Tensor:
    """Waveforms of some clips, rolled in time where a generator is given: (batch, clip_samples)."""
    samples = torch.from_numpy(store[rows.numpy()]).float() / 32768
    if generator is not None:
        shift = torch.randint(samples.shape[1], (len(samples),), generator=generator)
        samples = torch.stack([row.roll(int(by)) for row, by in zip(samples, shift, strict=True)])
    return samples


@torch.no_grad()
def pooled_features(backend: CLAPBackend, waveform: Tensor) -> Tensor:
    """(batch, clip_samples) -> what a head sees, (batch, channels)."""
    return Head.pool(backend.analyze(waveform.to(backend.mel_filters.device)).hidden[-1])


@torch.no_grad()
def probabilities(head: Head, backend: CLAPBackend, store: Array, name: str) -> Tensor:
    """Of all clips of a store: (clips, labels) on the CPU."""
    decision, found = HeadDecision(head.eval()), []
    for rows in tqdm(torch.split(torch.arange(len(store)), 32), desc=name, unit="batch", leave=False):
        logits = head(pooled_features(backend, read_batch(store, rows, None)))
        found.append(decision.probabilities(logits).cpu())
    return torch.cat(found) if found else torch.empty(0, len(head.config.labels))


def best_thresholds(truth: Tensor, probability: Tensor) -> tuple[float, ...]:
    """For each tag the threshold of the largest F1, the middle one of several: truth and probability (clips, tags)."""
    chosen = []
    for column in range(truth.shape[1]):
        wanted = truth[:, column] > 0
        scores = []
        for threshold in THRESHOLDS:
            given = probability[:, column] >= threshold
            scores.append(2 * int((given & wanted).sum()) / max(int(given.sum() + wanted.sum()), 1))
        best = [t for t, score in zip(THRESHOLDS, scores, strict=True) if score == max(scores)]
        chosen.append(best[len(best) // 2])
    return tuple(chosen)


def scores(truth: Tensor, probability: Tensor, multi_label: bool) -> dict[str, float]:
    """How good the head is on held-out clips; empty where there are none."""
    if not len(truth):
        return {}
    if multi_label:
        return multi_label_fidelity(truth > 0, probability)
    right = probability.argmax(1) == truth.argmax(1)
    return {"accuracy": float(right.double().mean()), "n": len(truth)}


def main(config: ClassifierConfig) -> None:
    """seed -> data -> frozen backend -> head -> run (resumes) -> loop -> save -> release."""
    torch.manual_seed(config.seed)
    accelerator = make_accelerator(config)
    backend = load_backend(config.backend, str(accelerator.device)).requires_grad_(False)
    remember_explained(Path(config.run), backend, write=accelerator.is_main_process)
    labels, train, valid = read_examples(config)
    cache, multi_label = Path(config.run) / "cache", bool(config.datasets)
    store = cache_waveforms(train.clips, backend, cache, "train")
    held_out = cache_waveforms(valid.clips, backend, cache, "valid") if valid.clips else store[:0]
    head = Head(HeadConfig(labels, backend.hidden_channels[-1], multi_label))
    accelerator.print(f"{len(train.clips)} clips, {len(labels)} labels")
    run = TrainingRun(
        config, accelerator, head, [{"params": list(head.parameters())}], warm_up=20, max_norm=1.0
    )
    # A label is drawn as often as any other, whatever the collection has most of.
    weight = (train.truth / train.truth.sum(0).clamp_min(1)).sum(1) + 1e-4
    for step in run.steps():
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        rows = torch.multinomial(weight, run.full_batch, replacement=True, generator=generator)
        waveform, truth = read_batch(store, rows, generator)[run.mine()], train.truth[rows][run.mine()]
        logits = run.network(pooled_features(backend, waveform))
        truth = truth.to(logits)
        if multi_label:
            loss = F.binary_cross_entropy_with_logits(logits, truth)
        else:
            loss = F.cross_entropy(logits, truth.argmax(1), label_smoothing=config.smoothing)
        if run.learn({"loss/labels": loss}, {"waveform": waveform}):
            valid_scores = scores(
                valid.truth, probabilities(run.averaged, backend, held_out, "valid"), multi_label
            )
            run.save(valid=valid_scores)
    if accelerator.is_main_process:
        release(config, run.averaged, backend, store, train, held_out, valid)


def release(
    config: ClassifierConfig,
    head: Head,
    backend: CLAPBackend,
    store: Array,
    train: Examples,
    held_out: Array,
    valid: Examples,
) -> None:
    """Choose thresholds on the training clips, score on held-out ones, write `release` in the run's folder."""
    multi_label = head.config.multi_label
    if multi_label:
        found = best_thresholds(train.truth, probabilities(head, backend, store, "thresholds"))
        fitted = Head(HeadConfig(head.config.labels, head.config.channels, True, found))
        fitted.load_state_dict(head.state_dict())
        head = fitted.to(backend.mel_filters.device)
    metrics = scores(valid.truth, probabilities(head, backend, held_out, "valid"), multi_label)
    folder = save_head(Path(config.run) / "release", backend, head.eval(), metrics=metrics)
    print(f"{folder.name}: {metrics}")


if __name__ == "__main__":
    start(main, ClassifierConfig, __doc__)
