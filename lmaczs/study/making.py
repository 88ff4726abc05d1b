"""From labelled recordings to a study: mixtures, what each method keeps of them, a hidden reference and an anchor."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.base import CLAPBackend
from lmaczs.data.clips import Clip
from lmaczs.errors import LMACError, plain_write_errors
from lmaczs.evaluation.contenders import Contender
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.masks import IDEAL, Control
from lmaczs.evaluation.mixtures import MixturePlan, plan_mixtures
from lmaczs.hearing import listen
from lmaczs.signal.audio import load_clip, resample, tile_to_length
from lmaczs.signal.mixing import active_power, mix_at_snr
from lmaczs.study.design import ANCHOR, DESIGN, REFERENCE, Item, Stimulus, Study, write_study
from lmaczs.types import AudioClip

# All sounds of a study: power where they sound, and the highest peak; dB re full scale, and re full scale.
LEVEL_DB, PEAK = -26.0, 0.99
# Under which the anchor is found among the controls.
RANDOM = "random"


@dataclass(frozen=True)
class Wanted:
    """What a study is made of.

    Attributes:
        evaluator: the classifier with the labels to choose between.
        methods: that are compared.
        items: how many mixtures are rated; one more is there for practice.
        title: for listeners.
        seed: of mixtures, anchors and orders.
    """

    evaluator: MaskEvaluator
    methods: tuple[Contender, ...]
    items: int
    title: str
    seed: int = 0


def make_study(wanted: Wanted, clips: Sequence[Clip], folder: Path, quiet: bool = False) -> Study:
    """Write a study's sounds and its design.

    Each item is a mixture of two clips at the same level, and the class is that of the first: so the right answer is
    known, and is the hidden reference (the ideal ratio mask). The anchor is a mask of random cells.

    Args:
        wanted: what it is made of.
        clips: labelled recordings that nothing was trained on.
        folder: of the study; must not hold one.
        quiet: no progress bar.

    Raises:
        LMACError: the folder holds a study, the clips do not suffice, or one cannot be read.
    """
    if (folder / DESIGN).exists():
        raise LMACError(f"'{folder.name}' holds a study already: choose another folder, or remove it.")
    if wanted.items < 1:
        raise LMACError(f"{wanted.items} items were asked for: ask for at least 1.")
    plans = plan_mixtures(clips, wanted.items + 1, wanted.seed)
    with plain_write_errors(folder):
        (folder / "sounds").mkdir(parents=True, exist_ok=True)
        items = [
            _item(wanted, plan, folder) for plan in tqdm(plans, desc="study", unit="item", disable=quiet)
        ]
        backend = wanted.evaluator.backend
        settings = {"classifier": backend.name, "masks": wanted.methods[0].domain if wanted.methods else ""}
        conditions = (*(one.name for one in wanted.methods), REFERENCE, ANCHOR)
        study = Study(wanted.title, conditions, tuple(items[1:]), items[0], wanted.seed, settings)
        write_study(study, folder)
    return study


def _item(wanted: Wanted, plan: MixturePlan, folder: Path) -> Item:
    evaluator = wanted.evaluator
    backend: CLAPBackend = evaluator.backend
    rate = backend.spectral.sample_rate
    own, other = (
        tile_to_length(resample(load_clip(clip.file), rate).waveform, backend.clip_samples)
        for clip in (plan.a, plan.b)
    )
    mixture, other = mix_at_snr(own, other, snr_db=0.0)
    recording = listen(AudioClip(mixture, rate, plan.name), backend)
    target = evaluator.target(evaluator.labels.index(plan.a.label))
    domain = wanted.methods[0].domain
    reference = Control(backend, domain, IDEAL, str(wanted.seed))
    anchor = Control(backend, domain, RANDOM, str(wanted.seed))
    everyone = [
        *wanted.methods,
        Contender(REFERENCE, reference),
        Contender(ANCHOR, anchor),
    ]
    stimuli = []
    for contender in everyone:
        explanation = contender.explain(recording, target, plan.name, (own, other))
        kept = evaluator.kept_sounds(contender.method, recording, explanation)[0]
        stimuli.append(Stimulus(contender.name, _write(kept, rate, folder)))
    return Item(plan.a.label, _write(mixture, rate, folder), tuple(stimuli))


def _write(waveform: Tensor, rate: int, folder: Path) -> str:
    """Write a sound at the level of all others, under a name that says nothing; a silent one stays silent."""
    power = active_power(waveform)
    gain = 10 ** (LEVEL_DB / 20) / power**0.5 if power > 0 else 0.0
    sound = waveform * min(gain, PEAK / max(float(waveform.abs().max()), 1e-9))
    name = f"sounds/{secrets.token_hex(8)}.wav"
    soundfile.write(folder / name, sound.numpy(), rate, subtype="PCM_16")
    return name
