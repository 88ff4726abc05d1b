"""Train FLINT or VIBI, which L2I's fidelity is compared with, to imitate a classifier over fixed labels.

    python -m train.train_l2i_baselines --clips data/clips.csv --hold-out esc50:4 --interpreter flint --run runs/flint
    python -m train.train_l2i_baselines --clips data/clips.csv --hold-out esc50:4 --interpreter vibi --run runs/vibi
    python -m train.train_l2i_baselines ... --classifier runs/classifier-esc50/release --run runs/flint-head

The classifier is CLAP's zero-shot decision over the labels of a collection, or a head of `train.train_classifier`. Sounds
are drawn as `train.train_l2i` draws them, so that interpreters differ in what they are and not in what they have heard.
The finished network is `release` in the run's folder.
"""

import sys
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
from lmaczs.clap.decisions import Decision, HeadDecision, ZeroShotDecision, load_head
from lmaczs.explainers.l2i.flint import Flint, flint_losses
from lmaczs.explainers.l2i.interpretation import log_magnitude
from lmaczs.explainers.l2i.loss import fidelity_loss
from lmaczs.explainers.l2i.surrogates import build_surrogate, save_surrogate, surrogate_logits
from lmaczs.explainers.l2i.vibi import Vibi, levels_of, prior_loss, relaxed_choice
from lmaczs.metrics.fidelity import top_k_fidelity
from lmaczs.metrics.multi_label import multi_label_fidelity
from lmaczs.types import AudioState
from train.clips import TrainingClip, cache_waveforms, split_clips, training_clips
from train.common import RunConfig, TrainingRun, make_accelerator, start
from train.explained import remember_explained
from train.windows import BATCH, draw_windows, open_store


@dataclass(frozen=True)
class BaselineConfig(RunConfig):
    """What a run is made of; stored with the weights.

    Attributes:
        interpreter: "flint" or "vibi".
        classifier: release folder of a head; "" is CLAP's zero-shot decision.
        collection: of the CSV, whose labels a zero-shot decision is among; held-out clips of it judge the run.
        backend: key of the CLAP.
        components: attributes of FLINT.
        mixed_share: of the sounds, mixtures of two clips.
        shots: relaxed choices of VIBI for each sound.
    """

    steps: int = 800
    batch_size: int = 32
    learning_rate: float = 1e-3
    save_every: int = 100
    ema_decay: float = 0.995
    mixed_precision: str = "no"
    interpreter: str = "flint"
    classifier: str = ""
    collection: str = "esc50"
    backend: str = EMBEDDED
    components: int = 100
    mixed_share: float = 0.5
    shots: int = 2


def flint_report(network: Flint, audio: AudioState, decision: Tensor, multi_label: bool) -> dict[str, Tensor]:
    """Losses of FLINT: decision (batch, classes) are the classifier's probabilities."""
    attributes, logits = network(audio.hidden)
    fidelity = fidelity_loss(logits, decision, multi_label=multi_label)
    return {"loss/fidelity": fidelity} | flint_losses(
        attributes, network.decode(attributes), log_magnitude(audio.stft)
    )


def vibi_report(
    network: Vibi, audio: AudioState, decision: Tensor, multi_label: bool, shots: int
) -> dict[str, Tensor]:
    """Losses of VIBI: decision (batch, classes) are the classifier's probabilities."""
    levels, chosen = levels_of(audio.mel_power), network.config.chosen
    log_choice = network.choice(levels)
    choices = torch.cat([relaxed_choice(log_choice, chosen) for _ in range(shots)])
    logits = network(levels.repeat(shots, 1, 1), choices)
    return {
        "loss/fidelity": fidelity_loss(logits, decision.repeat(shots, 1), multi_label=multi_label),
        "loss/prior": prior_loss(log_choice, chosen),
    }


@torch.no_grad()
def validate(
    network: Flint | Vibi, decision: Decision, clips: list[TrainingClip], backend: CLAPBackend, cache: Path
) -> dict[str, float]:
    """Fidelity on held-out clips as they are; empty where there are none."""
    if not clips:
        return {}
    network.eval()
    store = torch.from_numpy(cache_waveforms(clips, backend, cache, "valid"))
    truth, found = [], []
    for part in torch.split(store, BATCH):
        audio = backend.analyze(part.float().to(backend.mel_filters.device) / 32768)
        truth.append(decision.logits(audio).cpu())
        found.append(surrogate_logits(network, audio).cpu())
    wanted, logits = torch.cat(truth), torch.cat(found)
    if isinstance(decision, HeadDecision) and decision.multi_label:
        return multi_label_fidelity(decision.given(torch.sigmoid(wanted)), torch.sigmoid(logits))
    scores = {f"top-{k}": 100 * float(top_k_fidelity(wanted, logits, k).mean()) for k in (1, 3, 5)}
    return scores | {"n": len(wanted)}


def main(config: BaselineConfig) -> None:
    """seed -> clips -> frozen backend and classifier -> network -> run (resumes) -> loop -> save -> release."""
    torch.manual_seed(config.seed)
    accelerator = make_accelerator(config)
    device, cache = accelerator.device, Path(config.run) / "cache"
    backend = load_backend(config.backend, str(device)).requires_grad_(False)
    clips = training_clips(config.clips, config.datasets, config.data_dir)
    train, held_out = split_clips(clips, list(config.hold_out))
    valid = [clip for group in held_out.values() for clip in group if clip.dataset == config.collection]
    decision: Decision
    head = None
    if config.classifier:
        decision = load_head(config.classifier, backend)
        head = decision.head
    else:
        labels = {clip.label for clip in clips if clip.dataset == config.collection and clip.label}
        decision = ZeroShotDecision(backend, sorted(labels))
    remember_explained(Path(config.run), backend, head, accelerator.is_main_process)
    store = open_store(train, backend, cache, config.emphasis)
    network = build_surrogate(config.interpreter, backend, len(decision.labels), config.components).to(device)
    if config.init:
        network.load_state_dict(load_file(config.init))
    accelerator.print(f"{sum(p.numel() for p in network.parameters())} parameters, {len(train)} clips")
    run = TrainingRun(
        config, accelerator, network, [{"params": list(network.parameters())}], warm_up=50, max_norm=1.0
    )
    for step in run.steps():
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        waveform, _ = draw_windows(store, run.full_batch, config.mixed_share, generator)
        with torch.no_grad():
            audio = backend.analyze(waveform[run.mine()].to(device))
            wanted = decision.probabilities(decision.logits(audio))
        run.network.train()
        if isinstance(run.network, Flint):
            report = flint_report(run.network, audio, wanted, decision.multi_label)
        else:
            report = vibi_report(run.network, audio, wanted, decision.multi_label, config.shots)
        if run.learn(report, {"waveform": waveform}):
            run.save(valid=validate(run.averaged, decision, valid, backend, cache))
    if accelerator.is_main_process:
        metrics = validate(run.averaged, decision, valid, backend, cache)
        training = {"steps": run.step, "sounds": run.step * run.full_batch, "initialised": bool(config.init)}
        folder = Path(config.run) / "release"
        save_surrogate(folder, backend, run.averaged.eval(), head, training=training, metrics=metrics)


if __name__ == "__main__":
    start(main, BaselineConfig, __doc__)
