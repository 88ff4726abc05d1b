"""Train an L2I interpreter for a frozen CLAP, over a closed set of prompts or for any prompt.

    python -m train.fit_nmf ... --out assets/releases/l2i-nmf-compact-2
    python -m train.train_l2i --clips data/clips.csv --hold-out esc50:4 --dictionary assets/releases/l2i-nmf-compact-2 \\
        --unheard train/unheard.txt --run runs/l2i-open                                      # any prompt
    python -m train.train_l2i --clips data/clips.csv --hold-out esc50:4 --dictionary assets/releases/l2i-nmf-compact-2 \\
        --prompts-file esc50_prompts.txt --logit-weight 0 --run runs/l2i-esc50             # a closed set, as in the paper
    python -m train.train_l2i ... --theta max --run runs/l2i-esc50-max                   # with the paper's other pooling
    python -m train.train_l2i ... --classifier runs/classifier-esc50/release --run runs/head-l2i   # a head's decision

The classifier that is mimicked is CLAP itself, zero-shot: its softmax over the closed set, or over prompts that are drawn
anew in every step. Windows (clips, and mixtures of two) are encoded once and kept in the run's cache.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # started as a file: put the repository in the place of this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from safetensors.torch import load_file
from torch import Tensor

from lmaczs import load_backend
from lmaczs.clap import EMBEDDED
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.decisions import HeadDecision, load_head
from lmaczs.clap.similarity import prompts_from_labels
from lmaczs.explainers.l2i.explainer import interpreter_config
from lmaczs.explainers.l2i.loss import fidelity_loss, logit_loss, reconstruction_loss, sparsity_loss
from lmaczs.explainers.l2i.networks import Interpreter, OpenTheta
from lmaczs.hub import load_release
from lmaczs.metrics.fidelity import top_k_fidelity
from lmaczs.metrics.multi_label import multi_label_fidelity
from train.clips import TrainingClip, cache_waveforms, only_open, split_clips, training_clips
from train.common import RunConfig, TrainingRun, make_accelerator, start
from train.explained import remember_explained
from train.prompts import Prompts, load_sentences, open_prompts, read_names
from train.windows import BATCH, load_windows, open_store


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """What a run is made of; stored with the weights.

    Attributes:
        backend: key of the CLAP that is explained.
        weights: file or folder with its weights in the place of the published ones, or "".
        dictionary: release folder of `train.fit_nmf`.
        prompts_file: the closed set, a sentence a line; "" is any prompt, or the labels of a classifier that has some.
        classifier: release folder of a head of `train.train_classifier`, mimicked in CLAP's place, with its labels.
        unheard: file of concepts, one a line, that are never used: neither their clips nor any sentence that names them.
        theta: pooling, "attention" or "max".
        maps: deepest hidden maps of the classifier that are read.
        windows: that are drawn and encoded.
        mixed_share: of them, mixtures of two clips.
        num_prompts: drawn at random in each step of an open vocabulary, beside those of the batch.
        fidelity_weight: of the cross-entropy with CLAP's decision.
        logit_weight: of the difference of the logits themselves.
        reconstruction_weight: alpha of eq. 4, of the mean over cells.
        sparsity_weight: beta of eq. 4, of the mean activation.
    """

    steps: int = 5000
    batch_size: int = 32
    save_every: int = 250
    ema_decay: float = 0.998
    learning_rate: float = 2e-3
    mixed_precision: str = "no"
    backend: str = EMBEDDED
    weights: str = ""
    dictionary: str = ""
    prompts_file: str = ""
    classifier: str = ""
    unheard: str = ""
    theta: str = "attention"
    maps: int = 3
    windows: int = 20_000
    mixed_share: float = 0.5
    num_prompts: int = 256
    fidelity_weight: float = 1.0
    logit_weight: float = 0.05
    reconstruction_weight: float = 10.0
    sparsity_weight: float = 0.3


class Validation:
    """Fidelity on a held-out fold: whole clips, as they are."""

    @torch.no_grad()
    def __init__(
        self,
        clips: list[TrainingClip],
        prompts: Sequence[str],
        backend: CLAPBackend,
        cache: Path,
        name: str,
        head: HeadDecision | None = None,
    ) -> None:
        """Encode clips and prompts once.

        Args:
            clips: never trained on.
            prompts: sentences that the decision is among.
            backend: the CLAP.
            cache: folder.
            name: of the cached file.
            head: whose decision it is in CLAP's place.
        """
        store = torch.from_numpy(cache_waveforms(clips, backend, cache, name))
        device = backend.mel_filters.device
        states = [backend.analyze(part.to(device).float() / 32768) for part in torch.split(store, BATCH)]
        self.hidden = [state.hidden for state in states]
        self.text = backend.encode_text(prompts).embedding
        embedding = torch.cat([state.embedding for state in states])
        self.decision = backend.logit_scale * embedding @ self.text.T
        self.head = head
        if head is not None:
            self.decision = torch.cat([head.logits(state) for state in states])

    @torch.no_grad()
    def score(self, interpreter: Interpreter, prompts: Tensor) -> dict[str, float]:
        """Top-1, 3 and 5 fidelity in percent, or what multi-label decisions have; prompts as in `Theta.class_weights`."""
        interpreter.eval()
        found = torch.cat([interpreter.logits(interpreter(hidden)[1], prompts) for hidden in self.hidden])
        if self.head is not None and self.head.multi_label:
            return multi_label_fidelity(self.head.given(self.decision.sigmoid()), found.sigmoid())
        scores = {f"top-{k}": 100 * float(top_k_fidelity(self.decision, found, k).mean()) for k in (1, 3, 5)}
        return scores | {"n": len(found)}


def validations(
    config: TrainConfig,
    clips: list[TrainingClip],
    closed: Sequence[str],
    backend: CLAPBackend,
    cache: Path,
    head: HeadDecision | None,
) -> dict[str, Validation]:
    """One for each held-out fold: over the closed set, or over the fold's own labels and over the unheard concepts."""
    found = {}
    _, held_out = split_clips(clips, list(config.hold_out))
    unheard = prompts_from_labels(read_names(config.unheard))
    for name, fold in held_out.items():
        own = prompts_from_labels(sorted({clip.label for clip in fold}))
        file = name.replace(":", "-")
        found[name] = Validation(fold, closed or own, backend, cache, file, head)
        if not closed and unheard:
            found[f"{name} among unheard prompts"] = Validation(fold, unheard, backend, cache, file)
    return found


def step_report(
    run: TrainingRun[Interpreter],
    config: TrainConfig,
    windows: tuple[tuple[Tensor, ...], Tensor, Tensor, Tensor],
    prompts: tuple[Tensor, Tensor],
    wanted: Tensor,
    multi_label: bool,
    autocast: Callable[[], AbstractContextManager[None]],
) -> dict[str, Tensor]:
    """Losses of a step.

    Args:
        run: in training.
        config: its settings.
        windows: from `WindowBank.read`.
        prompts: from `Prompts.draw`.
        wanted: (windows, prompts), logits of the decision that is mimicked.
        multi_label: whether each label is decided on its own.
        autocast: of the accelerator.
    """
    hidden, projected, energy, _ = windows
    interpreter = run.network
    with autocast():
        interpreter.train()
        activations, pooled = interpreter(hidden)
        logits = interpreter.logits(pooled, prompts[1]).float()
    activations = activations.float()
    decision = wanted.sigmoid() if multi_label else wanted.softmax(1)
    fidelity = fidelity_loss(logits, decision, multi_label=multi_label)
    reconstruction = reconstruction_loss(interpreter.dictionary, activations, projected, energy)
    return {
        "loss/fidelity": config.fidelity_weight * fidelity,
        "loss/logits": config.logit_weight * logit_loss(logits, wanted),
        "loss/reconstruction": config.reconstruction_weight * reconstruction,
        "loss/sparsity": config.sparsity_weight * sparsity_loss(activations),
        "fidelity/top-1": 100 * top_k_fidelity(wanted, logits.detach(), 1).mean().float(),
    }


def main(config: TrainConfig) -> None:
    """seed -> clips -> frozen backend -> windows -> interpreter -> run (resumes) -> loop -> save."""
    torch.manual_seed(config.seed)
    accelerator = make_accelerator(config)
    device, cache = accelerator.device, Path(config.run) / "cache"
    backend = load_backend(config.backend, str(device), weights=config.weights or None)
    head = load_head(config.classifier, backend) if config.classifier else None
    remember_explained(Path(config.run), backend, head.head if head else None, accelerator.is_main_process)
    dictionary = load_release(config.dictionary, "nmf").state["dictionary"].to(device)
    clips = training_clips(config.clips, config.datasets, config.data_dir)
    train = only_open(split_clips(clips, list(config.hold_out))[0], config.clips)
    unheard = read_names(config.unheard)
    store = open_store(train, backend, cache, config.emphasis, frozenset(unheard))
    drawn = (config.windows, config.mixed_share, config.seed)
    bank = load_windows(store, backend, dictionary, cache, *drawn, maps=config.maps)
    closed = tuple(prompts_from_labels(head.labels)) if head else read_names(config.prompts_file)
    # A classifier with labels takes no other prompts.
    closed = closed or backend.labels or ()
    multi_label = head is not None and head.multi_label
    judges = validations(config, clips, closed, backend, cache, head)
    sentences = None if closed else load_sentences(train, unheard, store, backend, cache)
    prompts = open_prompts(closed, backend, sentences)

    interpreter = fresh_interpreter(config, backend, dictionary, prompts)
    accelerator.print(f"{sum(p.numel() for p in interpreter.parameters())} parameters, {len(train)} clips")
    scale, groups = backend.logit_scale.detach(), [{"params": list(interpreter.parameters())}]
    run = TrainingRun(config, accelerator, interpreter, groups, warm_up=100, max_norm=1.0)
    for step in run.steps():
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        rows = torch.randint(config.windows, (run.full_batch,), generator=generator)[run.mine()]
        windows = bank.read(rows, device)
        asked = prompts.draw(bank.concepts[rows], config.num_prompts, generator)
        hidden, *_, embedding = windows
        wanted = head.logits_of(embedding, hidden) if head else scale * embedding @ asked[0].T
        if run.learn(step_report(run, config, windows, asked, wanted, multi_label, accelerator.autocast)):
            scores = {
                name: judge.score(run.averaged, prompts.keys if closed else judge.text)
                for name, judge in judges.items()
            }
            run.save(**scores)


def fresh_interpreter(
    config: TrainConfig, backend: CLAPBackend, dictionary: Tensor, prompts: Prompts
) -> Interpreter:
    """An interpreter with fresh weights, or with those of `--init`, on the backend's device."""
    shape = interpreter_config(
        backend,
        dictionary.shape[1],
        classes=len(prompts.closed) or None,
        pooling=config.theta,
        maps=config.maps,
    )
    interpreter = Interpreter(shape, dictionary).to(dictionary.device)
    sentences = prompts.sentences
    if sentences is not None and isinstance(interpreter.theta, OpenTheta):
        centre = (sentences.weight @ sentences.embedding.cpu()) / sentences.weight.sum()
        interpreter.theta.centre.copy_(centre)
    if config.init:
        interpreter.load_state_dict(load_file(config.init))
    return interpreter


if __name__ == "__main__":
    start(main, TrainConfig, __doc__)
