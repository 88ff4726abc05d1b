"""Train an LMAC-ZS decoder for a frozen CLAP.

    python -m train.train_lmac_zs --clips data/clips.csv --hold-out esc50:4 --hold-out urbansound8k:3 --run runs/lmac-zs
    python -m train.train_lmac_zs --datasets clotho --data-dir data --run runs/ct --objective paper --epochs 2 \\
        --backend msclap-2022 --batch-size 2 --learning-rate 1e-5 --weight-decay 0  # the paper's "CT"
    python -m train.train_lmac_zs --clips data/clips.csv --run runs/l-mac --objective labels --backend hf:FOLDER \\
        --prompt values --sparsity-weight 2                                # L-MAC, for a classifier with labels
    python -m train.train_lmac_zs --clips data/clips.csv --run runs/lmac-zs                     # the same folder resumes
    python -m train.train_lmac_zs --clips data/clips.csv --run runs/2022 --backend msclap-2022  # for any backend
    accelerate launch --num_processes 8 train/train_lmac_zs.py ...                              # on many GPUs

Two thirds of a batch are mixtures of two clips; each of their parts is a prompt to explain. The separate parts are never
a target: the only judge is the frozen CLAP.
"""

import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

if not __package__:  # started as a file: put the repository in the place of this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from safetensors.torch import load_file
from torch import Tensor

from lmaczs import load_backend
from lmaczs.clap import EMBEDDED
from lmaczs.clap.base import CLAPBackend
from lmaczs.errors import LMACError
from lmaczs.explainers.lmac_zs.closed_set import closed_set_loss
from lmaczs.explainers.lmac_zs.explainer import build_decoder, decoder_config
from lmaczs.explainers.lmac_zs.loss import contrast_loss, paper_loss
from lmaczs.explainers.lmac_zs.score_decoder import Decoder
from train import augment
from train.captioned import open_captioned
from train.clips import ClipSampler, TrainingClip, cache_waveforms, split_clips, training_clips
from train.common import TrainingRun, make_accelerator, start
from train.explained import remember_explained
from train.pairs import PairConfig, draw_areas, draw_sounds, make_pairs
from train.prompts import read_names
from train.texts import load_text_bank

# Of the masks' edges, drawn for each pair: what is heard and what is counted is cut differently.
SOFTNESS = (0.05, 0.25)
# A table of all pairs of concepts lies in memory.
MAX_CONCEPTS = 20_000
Autocast = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class TrainConfig(PairConfig):
    """What a run is made of; stored with the weights.

    Attributes:
        backend: key of the CLAP that is explained.
        weights: file or folder with its weights in the place of the published ones, or "".
        domain: of the masks.
        prompt: how it enters the decoder, "scores" (order only from the classifier's maps) or "values" (version 1).
        objective: "contrast" (ours), "paper" (eq. 6 and 7, on clips with their own captions) or "labels" (eq. 4 with the
            mask-out term, for the labels of a classifier, or the sentences of `prompts_file`).
        prompts_file: closed set of the objective "labels", a sentence a line; "": the labels of the classifier.
        in_weight: with the objective "labels", of the mask-in term.
        out_weight: with the objective "labels", of the mask-out term.
        epochs: with the paper's objective, passes over all pairs of clip and caption in the place of `steps`; or 0.
        removed_weight: of the mask-out term.
        partner_weight: of the term that looks for the other sound of a mixture in what is removed.
        worth_weight: of the head that learns how large a mask is worth keeping.
        worth_only: train that head alone: the order of the cells stays, the sizes of the masks are learnt again.
        sparsity_weight: lambda of eq. 4, lambda 1 of eq. 6.
        diversity_weight: lambda 2 of the paper's objective.
        pairs_at_once: pairs of sound and prompt whose activations are kept, the others are computed again: less memory
            for about a third more time; 0 keeps all.
    """

    steps: int = 2600
    batch_size: int = 12
    save_every: int = 50
    ema_decay: float = 0.997
    backend: str = EMBEDDED
    weights: str = ""
    domain: str = "stft"
    prompt: str = "scores"
    objective: str = "contrast"
    prompts_file: str = ""
    in_weight: float = 4.0
    out_weight: float = 0.2
    epochs: float = 0.0
    removed_weight: float = 1.0
    partner_weight: float = 1.0
    worth_weight: float = 1.0
    worth_only: bool = False
    sparsity_weight: float = 0.1
    diversity_weight: float = 0.1
    pairs_at_once: int = 0


class MixtureFeed:
    """Sounds and prompts of our objective, and what it says of a decoder."""

    def __init__(
        self, clips: list[TrainingClip], backend: CLAPBackend, cache: Path, config: TrainConfig
    ) -> None:
        concepts = len({clip.concept for clip in clips})
        if concepts < 2 or config.num_rivals < 2:
            raise LMACError(
                f"These clips name {concepts} concepts and --num-rivals is {config.num_rivals}: --objective contrast "
                "lets prompts compete, so it takes two or more of each."
            )
        if concepts > MAX_CONCEPTS:
            raise LMACError(
                f"These clips name {concepts} concepts, and --objective contrast compares up to {MAX_CONCEPTS} with each "
                "other: use --objective paper, or a CSV with a column concept."
            )
        self._backend, self._config = backend, config
        self._store = cache_waveforms(clips, backend, cache, "train")
        self._sampler = ClipSampler(clips, config.emphasis)
        self._bank = load_text_bank(
            cache, clips, self._sampler.weight, 64, config.seed, backend.name, backend.sentence_features
        )

    def report(
        self, run: TrainingRun[Decoder], step: int, autocast: Autocast
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses of this process's own batch of the step, and the batch.

        The prompts of a process compete with each other only, so processes draw apart from each other.
        """
        config, backend, device = self._config, self._backend, self._backend.mel_filters.device
        generator = run.own_generator()
        sounds = draw_sounds(self._store, self._sampler, self._bank.siblings, config, generator)
        with torch.no_grad(), autocast():
            audio = backend.analyze(sounds.waveform.to(device))
        with torch.no_grad():
            embedding = audio.embedding.float()
            pairs = make_pairs(sounds, embedding, self._bank, self._sampler, backend, config, generator)
        area = draw_areas(len(sounds.rows), config.compared_share, generator).to(device)
        low, high = (math.log(softness) for softness in SOFTNESS)
        softness = augment.uniform(area.shape, low, high, generator).exp().to(device)
        weights = (config.removed_weight, config.partner_weight, config.worth_weight, config.pairs_at_once)
        with autocast():
            report = contrast_loss(backend, run.network, audio, pairs, area, *weights, softness)
        return report, {"waveform": sounds.waveform, "rows": pairs.rows, "text": pairs.text}


class CaptionFeed:
    """Clips with their own captions and the paper's objective."""

    def __init__(
        self, clips: list[TrainingClip], backend: CLAPBackend, cache: Path, config: TrainConfig
    ) -> None:
        self._backend, self._config = backend, config
        self.clips = open_captioned(clips, backend, cache, config.seed)

    def report(
        self, run: TrainingRun[Decoder], step: int, autocast: Autocast
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses of the windows of this process with all captions of the step, and the batch."""
        backend, device = self._backend, self._backend.mel_filters.device
        generator = torch.Generator().manual_seed(self._config.seed * 1_000_003 + step)
        drawn = self.clips.draw(step, run.full_batch)
        place = torch.rand(run.full_batch, generator=generator)
        own = torch.arange(run.full_batch)[run.mine()]
        waveform = self.clips.read(drawn[own, 0], place[own])
        with torch.no_grad():
            text = backend.project_text(self.clips.features[drawn[:, 1]].to(device))
        with torch.no_grad(), autocast():
            audio = backend.analyze(waveform.to(device))
        weights = (self._config.sparsity_weight, self._config.diversity_weight)
        with autocast():
            report = paper_loss(
                backend, run.network, audio, text, *weights, own.to(device), self._config.pairs_at_once
            )
        return report, {"waveform": waveform, "own": own, "text": text}


class LabelFeed:
    """Clips and mixtures as they are, and L-MAC's objective over a closed set; nothing is read but the sounds."""

    def __init__(
        self, clips: list[TrainingClip], backend: CLAPBackend, cache: Path, config: TrainConfig
    ) -> None:
        prompts = read_names(config.prompts_file) or backend.labels
        if prompts is None:
            raise LMACError(
                f"The backend '{backend.name}' has no labels of its own: give the closed set with --prompts-file, or "
                "choose another --objective."
            )
        self._backend, self._config = backend, config
        self._store = cache_waveforms(clips, backend, cache, "train")
        self._sampler = ClipSampler(clips, config.emphasis)
        concepts = len(self._sampler.members)
        self._siblings = torch.zeros(concepts, concepts, dtype=torch.bool)
        self._text = backend.encode_text(prompts).embedding

    def report(
        self, run: TrainingRun[Decoder], step: int, autocast: Autocast
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses of this process's own batch of the step, and the batch."""
        config, backend, device = self._config, self._backend, self._backend.mel_filters.device
        sounds = draw_sounds(self._store, self._sampler, self._siblings, config, run.own_generator())
        with torch.no_grad(), autocast():
            audio = backend.analyze(sounds.waveform.to(device))
        weights = (config.in_weight, config.out_weight, config.sparsity_weight, config.pairs_at_once)
        with autocast():
            report = closed_set_loss(backend, run.network, audio, self._text, *weights)
        return report, {"waveform": sounds.waveform}


Feed: TypeAlias = type[MixtureFeed] | type[CaptionFeed] | type[LabelFeed]


def main(config: TrainConfig) -> None:
    """seed -> data -> frozen backend -> decoder -> run (resumes) -> loop -> save.

    Raises:
        LMACError: the data, the backend or a setting cannot be used.
    """
    kind = feed_of(config)
    torch.manual_seed(config.seed)
    accelerator = make_accelerator(config)
    backend = load_backend(config.backend, str(accelerator.device), weights=config.weights or None)
    train, _ = split_clips(
        training_clips(config.clips, config.datasets, config.data_dir), list(config.hold_out)
    )
    remember_explained(Path(config.run), backend, write=accelerator.is_main_process)
    # One process fills the caches, the others find them.
    with accelerator.main_process_first():
        feed = kind(train, backend, Path(config.run) / "cache", config)
    if config.epochs and isinstance(feed, CaptionFeed):
        full_batch = config.batch_size * accelerator.num_processes * config.accumulation
        config = replace(config, steps=feed.clips.steps_in(config.epochs, full_batch))

    decoder = fresh_decoder(config, backend)
    parameters = [parameter for parameter in decoder.parameters() if parameter.requires_grad]
    accelerator.print(f"{sum(p.numel() for p in parameters)} parameters, {len(train)} clips")
    groups = [{"params": parameters}]
    run = TrainingRun(config, accelerator, decoder, groups, warm_up=100, max_norm=1.0)
    for step in run.steps():
        report, batch = feed.report(run, step, accelerator.autocast)
        if run.learn(report, batch):
            run.save()


def feed_of(config: TrainConfig) -> Feed:
    """What the objective is trained on.

    Raises:
        LMACError: there is no such objective, or a setting does not belong to it.
    """
    kind = FEEDS.get(config.objective)
    if kind is None:
        raise LMACError(f"--objective is '{config.objective}': choose {' or '.join(FEEDS)}.")
    if config.domain not in ("stft", "mel"):
        raise LMACError(f"--domain is '{config.domain}': choose stft or mel.")
    if config.worth_only and kind is not MixtureFeed:
        raise LMACError(
            f"--worth-only trains a head that --objective {config.objective} has no use for: use --objective contrast."
        )
    if config.epochs and kind is not CaptionFeed:
        raise LMACError(
            "--epochs counts pairs of clip and caption: use it with --objective paper, else --steps."
        )
    return kind


def fresh_decoder(config: TrainConfig, backend: CLAPBackend) -> Decoder:
    """A decoder with fresh weights, or with those of `--init`; with `--worth-only` all but that head is frozen."""
    decoder = build_decoder(
        backend, decoder_config(backend, "mel" if config.domain == "mel" else "stft", config.prompt)
    )
    if config.init:
        weights = load_file(config.init)
        # Decoders of the two domains differ in this constant only, so one may go on from the other.
        weights.pop("mel_to_bins", None)
        constant = {name: value for name, value in decoder.named_buffers() if name == "mel_to_bins"}
        decoder.load_state_dict(weights | constant)
    if config.worth_only:
        decoder.requires_grad_(False)
        decoder.worth.requires_grad_(True)
    return decoder


FEEDS: dict[str, Feed] = {"contrast": MixtureFeed, "paper": CaptionFeed, "labels": LabelFeed}

if __name__ == "__main__":
    start(main, TrainConfig, __doc__)
