"""Every method and every control through the checks of a plan, one row for each question about a clip."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.recording import Recording, listen
from lmaczs.clap.target import Target, make_target
from lmaczs.data.clips import Clip
from lmaczs.errors import LMACError
from lmaczs.evaluation.clips import rank_of
from lmaczs.evaluation.contenders import Contender
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.provenance import sound_sha256
from lmaczs.evaluation.scores import Row, ScoreTable
from lmaczs.sanity.likeness import order_kept, ssim
from lmaczs.sanity.plan import OTHER_CLIP, RIGHT, UNRELATED, SanityPlan, Step
from lmaczs.sanity.randomise import fresh_sentences, randomised
from lmaczs.signal.audio import load_clip, resample
from lmaczs.types import AudioClip

# Clips whose masks are in memory together.
GROUP = 32
# Clips on which batch normalisations measure their inputs again.
REFERENCE = 16
# Columns of a contender, after its key.
MASK_MEAN, SSIM, SPEARMAN = "mask/mean", "mask/ssim", "mask/spearman"


@dataclass(frozen=True)
class LoadedClip:
    """A clip that could be read.

    Attributes:
        entry: of the table.
        sound: hash of its file.
        audio: at the backend's rate.
    """

    entry: Clip
    sound: str
    audio: AudioClip


def run_checks(plan: SanityPlan, clips: Sequence[Clip], table: ScoreTable, quiet: bool = False) -> list[Row]:
    """Ask everything that has no answer yet.

    Args:
        plan: what is checked.
        clips: to check on.
        table: gets the answers; a clip that cannot be read has its reason in "error".
        quiet: no progress bar.

    Returns:
        All rows, by clip and step.
    """
    steps = plan.steps()
    hear_reference = Reference(plan.evaluator, clips)
    # Random models measure some of the clips, and masks are held against those of the next clip: with another sound of
    # any clip, the answers about all of them are others.
    together = sound_sha256(*(clip.file for clip in clips))
    sounds = {clip.path: sound_sha256(clip.file, together) for clip in clips}
    with table, tqdm(total=len(clips) * len(steps), unit="step", desc="sanity", disable=quiet) as bar:
        # Groups are cut before finished clips are left out: a run that goes on computes what one run would have.
        for first in range(0, len(clips), GROUP):
            group = clips[first : first + GROUP]
            for step, count in _check_group(plan, group, sounds, steps, table, hear_reference):
                bar.set_postfix_str(f"{step.name}, seed {step.number}", refresh=False)
                bar.update(count)
    keys = [(step.condition, clip.path) for clip in clips for step in steps]
    return table.finish(keys)


def _check_group(
    plan: SanityPlan,
    clips: Sequence[Clip],
    sounds: Mapping[str, str],
    steps: Sequence[Step],
    table: ScoreTable,
    hear_reference: Callable[[], object],
) -> Iterator[tuple[Step, int]]:
    """Answer the steps for some clips; yields each step when it is done."""

    def missing(step: Step, some: Sequence[Clip]) -> list[Contender]:
        rows = [table.open_row(step.condition, clip.path, sounds[clip.path]) for clip in some]
        return [c for c in plan.takers(step) if any(f"{c.key}/{MASK_MEAN}" not in row for row in rows)]

    group: Group | None = None
    readable: list[Clip] = list(clips)
    if any(missing(step, clips) for step in steps):
        loaded = []
        for clip in clips:
            found = load_entry(clip, plan.evaluator.backend.spectral.sample_rate)
            if isinstance(found, AudioClip):
                loaded.append(LoadedClip(clip, sounds[clip.path], found))
            else:
                facts = {"label": clip.label, "error": str(found)}
                table.add(steps[0].condition, clip.path, sounds[clip.path], facts)
        readable = [one.entry for one in loaded]
        group = Group(plan, loaded) if any(missing(step, readable) for step in steps) else None
    for step in steps:
        contenders = missing(step, readable) if group is not None else []
        if group is not None and contenders:
            rows = step_rows(group, step, contenders, hear_reference)
            for one, row in zip(group.clips, rows, strict=True):
                table.add(step.condition, one.entry.path, one.sound, row)
        yield step, len(clips)


def load_entry(clip: Clip, sample_rate: int) -> AudioClip | LMACError:
    """The recording at the wanted rate, or the reason why it cannot be used."""
    try:
        return resample(load_clip(clip.file), sample_rate)
    except LMACError as error:
        return error


@dataclass
class Reference:
    """Real sounds for batch normalisations: the first readable clips, the same ones for every group.

    Attributes:
        evaluator: whose backend hears them.
        clips: to choose from.
    """

    evaluator: MaskEvaluator
    clips: Sequence[Clip]
    _windows: list[Tensor] = field(default_factory=list)

    def __call__(self) -> None:
        """Run them through the audio encoder."""
        backend = self.evaluator.backend
        if not self._windows:
            for clip in self.clips:
                audio = load_entry(clip, backend.spectral.sample_rate)
                if isinstance(audio, AudioClip):
                    state = next(listen(audio, backend).batches(backend))
                    self._windows.append(state.waveform[:1])
                if len(self._windows) == REFERENCE:
                    break
        backend.analyze(torch.cat(self._windows))


class Group:
    """Some clips, heard once by the trained model, with the masks that everything is compared with."""

    def __init__(self, plan: SanityPlan, clips: Sequence[LoadedClip]) -> None:
        """Hear and decide.

        Args:
            plan: what is checked.
            clips: with their sounds.
        """
        self.plan, self.clips = plan, tuple(clips)
        evaluator = plan.evaluator
        self.recordings = self.listen()
        self.logits = evaluator.logits(torch.stack([one.embedding for one in self.recordings]))
        self.predicted = [evaluator.labels[index] for index in self.logits.argmax(1).tolist()]
        self._masks: dict[tuple[str, bool], list[Tensor]] = {}
        self._with_itself: dict[tuple[str, int], tuple[float, float]] = {}

    def listen(self) -> list[Recording]:
        """The clips through the model as it is now."""
        return [listen(clip.audio, self.plan.evaluator.backend) for clip in self.clips]

    def labels(self, step: Step) -> list[str]:
        """What each clip is explained for: its label or another one, to see what prompts do, else what the model
        hears."""
        if step.name == RIGHT:
            return [clip.entry.label for clip in self.clips]
        if step.name == UNRELATED:
            return [self.plan.unrelated_labels(clip.entry)[step.number] for clip in self.clips]
        return self.predicted

    def targets(self, labels: Sequence[str]) -> list[Target]:
        """Prompts of labels as the text encoder reads them now."""
        evaluator = self.plan.evaluator
        with fresh_sentences(evaluator.backend):
            found = {
                label: make_target(
                    evaluator.backend, evaluator.prompts[evaluator.labels.index(label)], evaluator.prompts
                )
                for label in dict.fromkeys(labels)
            }
        return [found[label] for label in labels]

    def masks(
        self, contender: Contender, recordings: Sequence[Recording], targets: Sequence[Target]
    ) -> list[Tensor]:
        """Masks of a method, or of a control, to which neither model nor prompt means anything."""
        if contender.is_control and (contender.key, False) in self._masks:
            return self._masks[contender.key, False]
        return [
            contender.explain(recording, target, clip.entry.path).mask
            for recording, target, clip in zip(recordings, targets, self.clips, strict=True)
        ]

    def originals(self, contender: Contender, for_label: bool = False) -> list[Tensor]:
        """Masks of the trained model for what it hears, or for the clips' labels."""
        if (contender.key, for_label) not in self._masks:
            labels = [clip.entry.label for clip in self.clips] if for_label else self.predicted
            found = self.masks(contender, self.recordings, self.targets(labels))
            self._masks[contender.key, for_label] = found
        return self._masks[contender.key, for_label]

    def likeness(
        self, contender: Contender, index: int, original: Tensor, mask: Tensor
    ) -> tuple[float, float]:
        """SSIM and rank correlation of two masks over the frames that both have."""
        # A control's mask is compared with itself once, not at every step.
        if mask is original:
            key = (contender.key, index)
            if key not in self._with_itself:
                self._with_itself[key] = ssim(mask, mask), order_kept(mask, mask)
            return self._with_itself[key]
        frames = min(mask.shape[1], original.shape[1])
        first, second = original[:, :frames], mask[:, :frames]
        return ssim(first, second), order_kept(first, second)


def step_rows(
    group: Group, step: Step, contenders: Sequence[Contender], hear_reference: Callable[[], object]
) -> list[Row]:
    """One row a clip, with the numbers of these contenders; afterwards all weights are as they were.

    Args:
        group: the clips.
        step: one of `SanityPlan.steps`.
        contenders: to ask.
        hear_reference: runs real sounds through the encoder, for `randomised`.
    """
    evaluator = group.plan.evaluator
    scale = float(evaluator.backend.logit_scale)
    rows: list[Row] = []
    for clip, label, logits in zip(group.clips, group.labels(step), group.logits, strict=True):
        index = evaluator.labels.index(label)
        rows.append(
            {
                "label": clip.entry.label,
                "prompt": evaluator.prompts[index],
                "error": None,
                "rank": rank_of(logits, index),
                "similarity": float(logits[index]) / scale,
            }
        )
    # Before any weight is random.
    for contender in contenders:
        group.originals(contender, for_label=step.check == "prompts")
    with disturbed(group, step, hear_reference) as (recordings, targets):
        for contender in contenders:
            masks, others = _pair(group, step, contender, recordings, targets)
            for index, row in enumerate(rows):
                row[f"{contender.key}/{MASK_MEAN}"] = float(masks[index].double().mean())
                if others is not None:
                    alike, order = group.likeness(contender, index, others[index], masks[index])
                    row |= {f"{contender.key}/{SSIM}": alike, f"{contender.key}/{SPEARMAN}": order}
    return rows


def _pair(
    group: Group, step: Step, contender: Contender, recordings: Sequence[Recording], targets: Sequence[Target]
) -> tuple[list[Tensor], list[Tensor] | None]:
    """The masks of a step, and those that they are held against."""
    originals = group.originals(contender, for_label=step.check == "prompts")
    if step.name == RIGHT:
        return originals, None
    # The next clip: masks with nothing in common but the method.
    if step.name == OTHER_CLIP:
        return originals, [*originals[1:], originals[0]] if len(originals) > 1 else None
    return group.masks(contender, recordings, targets), originals


@contextmanager
def disturbed(
    group: Group, step: Step, hear_reference: Callable[[], object]
) -> Iterator[tuple[list[Recording], list[Target]]]:
    """The clips as they are heard and the prompts as they are read in a step.

    While the block lasts, the weights that the step names are random.

    Args:
        group: the clips.
        step: one of `SanityPlan.steps`.
        hear_reference: runs real sounds through the encoder, for `randomised`.
    """
    seed, labels = f"{group.plan.seed} {step.number}", group.labels(step)
    if step.check == "text":
        with randomised(step.blocks, seed):
            targets = group.targets(labels)
        yield group.recordings, targets
        return
    targets = group.targets(labels)
    if step.check == "cascade":
        with randomised(step.blocks, seed, hear_reference):
            yield group.listen(), targets
    else:
        with randomised(step.blocks, seed):
            yield group.recordings, targets
