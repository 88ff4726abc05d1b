"""Every explainer and every control through the checks, one row for each question about a clip.

- cascade (Adebayo et al. 2018): the explanation of the predicted prompt, while the audio encoder loses its trained
  weights block by block from the output to the input.
- text: the same with the prompt read by a text encoder of random weights; the sound is heard as before.
- decoder: the same with random weights in the explainer itself, for explainers that were trained.
- prompts: the clip's label against labels of other clips; also gives mask means over similarities.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.similarity import prompts_from_labels, similarities
from lmaczs.data.clip_table import ClipEntry
from lmaczs.errors import LMACError
from lmaczs.evaluation.hearing import HeardClips
from lmaczs.evaluation.masks import CONTROLS, IDEAL, control_mask
from lmaczs.evaluation.rows import ResultRows, Row
from lmaczs.explainers.base import Explainer
from lmaczs.sanity.likeness import spearman, ssim
from lmaczs.sanity.randomise import Block, audio_blocks, explainer_block, randomised, text_block
from lmaczs.signal.audio import load_clip, resample
from lmaczs.signal.windows import cut_windows, plan_windows
from lmaczs.types import AudioClip, MaskDomain, TextState

GROUP = 32  # clips whose masks are in memory together
REFERENCE = 16  # clips on which batch normalisations measure their inputs again
CHECKS = ("cascade", "text", "decoder", "prompts")
UNTOUCHED = tuple(name for name in CONTROLS if name != IDEAL)  # masks that know neither model nor prompt
OTHER_CLIP, RIGHT, UNRELATED = "another clip", "right", "unrelated"
KEYS = ("path", "check", "step", "seed")
TEXT_COLUMNS = ("label", "prompt", "error")
NUMBER_COLUMNS = ("rank", "similarity")
MASK_COLUMNS = ("mask_mean", "ssim", "spearman")  # of each method, as "method/mask_mean"


@dataclass(frozen=True)
class Trial:
    """What is checked, and how.

    Attributes:
        backend: the CLAP.
        explainers: by the name that they have in the tables, all in one mask domain.
        labels: to choose between.
        domain: of the masks.
        checks: of `CHECKS`.
        seeds: how many random models.
        unrelated: how many other labels each clip is explained for.
        seed: of everything that is drawn.
    """

    backend: CLAPBackend
    explainers: Mapping[str, Explainer]
    labels: tuple[str, ...]
    domain: MaskDomain = "stft"
    checks: tuple[str, ...] = CHECKS
    seeds: int = 5
    unrelated: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be checked.

        Raises:
            LMACError: a number is below 1, there is no such check, or only one label to tell apart.
        """
        if unknown := [check for check in self.checks if check not in CHECKS]:
            raise LMACError(f"There is no check '{unknown[0]}': choose among {', '.join(CHECKS)}.")
        if not self.checks:
            raise LMACError(f"No check was asked for: choose among {', '.join(CHECKS)}.")
        if self.seeds < 1:
            raise LMACError(f"{self.seeds} random models were asked for: ask for at least 1.")
        if self.unrelated < 1:
            raise LMACError(f"{self.unrelated} unrelated prompts were asked for: ask for at least 1.")
        if "prompts" in self.checks and len(self.labels) < 2:
            raise LMACError(
                f"All clips have the label '{self.labels[0]}', so no prompt is unrelated: give clips of at least two "
                "labels, or leave out the check 'prompts'."
            )

    @property
    def methods(self) -> tuple[str, ...]:
        """Names in the tables: explainers, then controls."""
        return (*self.explainers, *UNTOUCHED)

    def takes(self, method: str, step: "Step") -> bool:
        """Controls and explainers without weights of their own have no decoder that could be randomised."""
        return step.check != "decoder" or (
            method in self.explainers and explainer_block(self.explainers[method]) is not None
        )

    def read(self, labels: Sequence[str]) -> TextState:
        """Prompts of labels, past the backend's cache, which knows nothing of random weights; on its device."""
        prompts = prompts_from_labels(labels)
        found = {prompt: self.backend.embed_sentences([prompt])[0] for prompt in dict.fromkeys(prompts)}
        return TextState(tuple(prompts), torch.stack([found[prompt] for prompt in prompts]))

    def unrelated_labels(self, clip: ClipEntry) -> list[str]:
        """Labels of other clips, the same in every run; more of them begin with the fewer."""
        others = [label for label in self.labels if label != clip.label]
        random.Random(f"{self.seed} {clip.path}").shuffle(others)
        return others[: self.unrelated]


@dataclass(frozen=True)
class Step:
    """One question that is put to a group of clips.

    Attributes:
        check: as in the column.
        name: as in the column step.
        number: of the random model or of the unrelated prompt, as in the column seed.
        blocks: that are randomised.
    """

    check: str
    name: str
    number: int = 0
    blocks: tuple[Block, ...] = ()

    def key(self, path: str) -> tuple[str, ...]:
        """Of a clip's row."""
        return (path, self.check, self.name, str(self.number))


def plan_steps(trial: Trial) -> list[Step]:
    """Everything that is asked, in order.

    Raises:
        LMACError: the backend has no weights to randomise.
    """
    steps = [Step("chance", OTHER_CLIP)]
    seeds = range(trial.seeds)
    if "cascade" in trial.checks:
        blocks = audio_blocks(trial.backend)
        steps += [
            Step("cascade", block.name, seed, tuple(blocks[: depth + 1]))
            for seed in seeds
            for depth, block in enumerate(blocks)
        ]
    if "text" in trial.checks:
        block = text_block(trial.backend)
        steps += [Step("text", block.name, seed, (block,)) for seed in seeds]
    if "decoder" in trial.checks:
        found = [explainer_block(explainer) for explainer in trial.explainers.values()]
        own = tuple(block for block in found if block is not None)
        steps += [Step("decoder", "decoder", seed, own) for seed in seeds if own]
    if "prompts" in trial.checks:
        steps += [Step("prompts", RIGHT)]
        steps += [
            Step("prompts", UNRELATED, turn) for turn in range(min(trial.unrelated, len(trial.labels) - 1))
        ]
    return steps


def columns(trial: Trial) -> list[str]:
    """All number columns of the result file."""
    return [*NUMBER_COLUMNS, *(f"{method}/{name}" for method in trial.methods for name in MASK_COLUMNS)]


def run_checks(
    trial: Trial, clips: Sequence[ClipEntry], results: ResultRows, quiet: bool = False
) -> list[Row]:
    """Ask everything that has no answer yet.

    Args:
        trial: what is checked.
        clips: to check on.
        results: gets the rows of one step of one group of clips at a time; a clip that cannot be read has one row
            with its reason in the column error.
        quiet: no progress bar.

    Returns:
        All rows, by clip and step.
    """
    steps = plan_steps(trial)
    listen = Reference(trial, clips)
    with tqdm(total=len(clips) * len(steps), unit="step", desc="sanity", disable=quiet) as bar:
        # Groups are cut before finished clips are left out: a run that goes on computes what one run would have.
        for first in range(0, len(clips), GROUP):
            group = clips[first : first + GROUP]
            if _missing(trial, group, steps, results):
                loaded = [(clip, load_entry(clip, trial.backend.spectral.sample_rate)) for clip in group]
                usable = [(clip, audio) for clip, audio in loaded if isinstance(audio, AudioClip)]
                results.add(
                    dict(zip(KEYS, steps[0].key(clip.path), strict=True))
                    | {"label": clip.label, "error": str(audio)}
                    for clip, audio in loaded
                    if isinstance(audio, LMACError)
                )
                readable = [clip for clip, _ in usable]
                heard = Group(trial, usable) if _missing(trial, readable, steps, results) else None
                for step in steps:
                    methods = _missing(trial, readable, [step], results)
                    if heard is not None and methods:
                        bar.set_postfix_str(f"{step.name}, seed {step.number}", refresh=False)
                        results.add(step_rows(heard, step, methods, listen))
                    bar.update(len(group))
            else:
                bar.update(len(steps) * len(group))
    keys = [step.key(clip.path) for clip in clips for step in steps]
    return results.finish([key for key in keys if key in results.rows])


def _missing(
    trial: Trial, clips: Sequence[ClipEntry], steps: Sequence[Step], results: ResultRows
) -> list[str]:
    """Methods that have not answered all of these steps for all of these clips."""
    return [
        method
        for method in trial.methods
        if any(
            trial.takes(method, step)
            and f"{method}/mask_mean" not in results.rows.get(step.key(clip.path), {})
            for step in steps
            for clip in clips
        )
    ]


def load_entry(clip: ClipEntry, sample_rate: int) -> AudioClip | LMACError:
    """The recording at the wanted rate, or the reason why it cannot be used."""
    try:
        return resample(load_clip(clip.file), sample_rate)
    except LMACError as error:
        return error


@dataclass
class Reference:
    """Real sounds for batch normalisations: the first readable clips, the same ones for every group.

    Attributes:
        trial: whose backend hears them.
        clips: to choose from.
    """

    trial: Trial
    clips: Sequence[ClipEntry]
    _mel_power: list[Tensor] = field(default_factory=list)

    def __call__(self) -> None:
        """Run them through the audio encoder."""
        backend, windows = self.trial.backend, []
        if not self._mel_power:
            for clip in self.clips:
                audio = load_entry(clip, backend.spectral.sample_rate)
                if isinstance(audio, AudioClip):
                    plan = plan_windows(audio.waveform.shape[-1], backend.clip_samples)
                    windows.append(cut_windows(audio.waveform, plan, 0, 1))
                if len(windows) == REFERENCE:
                    break
            state = backend.analyze(torch.cat(windows).to(backend.mel_filters.device))
            self._mel_power.append(state.mel_power)
        backend.encode(self._mel_power[0])


class Group:
    """Some clips, heard once by the trained model, with the masks that everything is compared with."""

    def __init__(self, trial: Trial, usable: Sequence[tuple[ClipEntry, AudioClip]]) -> None:
        """Hear and decide.

        Args:
            trial: what is checked.
            usable: the clips and their sounds.
        """
        self.trial = trial
        self.clips = [clip for clip, _ in usable]
        self._waveforms = [audio.waveform for _, audio in usable]
        self.heard = self.hear()
        labels = trial.read(trial.labels).embedding.cpu()
        self.similarity = similarities(self.heard.embedding, labels)  # (clips, labels)
        self.predicted = [trial.labels[index] for index in self.similarity.argmax(1).tolist()]
        self._masks: dict[tuple[str, bool], list[Tensor]] = {}
        self._with_itself: dict[tuple[str, int], tuple[float, float]] = {}

    def hear(self) -> HeardClips:
        """The clips through the model as it is now."""
        return HeardClips(self._waveforms, self.trial.backend)

    def labels(self, step: Step) -> list[str]:
        """What each clip is explained for: its label or another one, to see what prompts do, else what the model
        hears."""
        if step.name == RIGHT:
            return [clip.label for clip in self.clips]
        if step.name == UNRELATED:
            return [self.trial.unrelated_labels(clip)[step.number] for clip in self.clips]
        return self.predicted

    def masks(self, method: str, heard: HeardClips, text: TextState) -> list[Tensor]:
        """Masks of a method, or of a control, to which neither model nor prompt means anything; on the CPU."""
        if method in self.trial.explainers:
            return [mask.cpu() for mask in heard.masks(self.trial.explainers[method], text)]
        if (method, False) in self._masks:
            return self._masks[method, False]
        return [
            control_mask(
                method, waveform, self.trial.backend, self.trial.domain, f"{self.trial.seed} {clip.path}"
            ).cpu()
            for waveform, clip in zip(self.heard.waveforms, self.clips, strict=True)
        ]

    def originals(self, method: str, for_label: bool = False) -> list[Tensor]:
        """Masks of the trained model for what it hears, or for the clips' labels."""
        if (method, for_label) not in self._masks:
            labels = [clip.label for clip in self.clips] if for_label else self.predicted
            self._masks[method, for_label] = self.masks(method, self.heard, self.trial.read(labels))
        return self._masks[method, for_label]

    def likeness(self, method: str, index: int, mask: Tensor, other: Tensor) -> tuple[float, float]:
        """SSIM and rank correlation of two masks over the frames that both have."""
        if mask is other:  # a control: computed once, not at every step
            if (method, index) not in self._with_itself:
                self._with_itself[method, index] = ssim(mask, mask), spearman(mask, mask)
            return self._with_itself[method, index]
        frames = min(mask.shape[1], other.shape[1])
        return ssim(mask[:, :frames], other[:, :frames]), spearman(mask[:, :frames], other[:, :frames])


def step_rows(group: Group, step: Step, methods: Sequence[str], listen: Callable[[], object]) -> list[Row]:
    """One row a clip, with the numbers of these methods; afterwards all weights are as they were.

    Args:
        group: the clips.
        step: one of `plan_steps`.
        methods: to ask.
        listen: real sounds through the encoder, for `randomised`.
    """
    rows = []
    for clip, label, similarity in zip(group.clips, group.labels(step), group.similarity, strict=True):
        column = group.trial.labels.index(label)
        row: Row = dict(zip(KEYS, step.key(clip.path), strict=True))
        row |= {"label": clip.label, "prompt": prompts_from_labels([label])[0], "error": None}
        row |= {"rank": 1.0 + int((similarity > similarity[column]).sum())}
        rows.append(row | {"similarity": float(similarity[column])})
    for method in methods:  # before any weight is random
        if group.trial.takes(method, step):
            group.originals(method, for_label=step.check == "prompts")
    with disturbed(group, step, listen) as (heard, text):
        for method in methods:
            if group.trial.takes(method, step):
                masks, others = _pair(group, step, method, heard, text)
                for index, row in enumerate(rows):
                    row[f"{method}/mask_mean"] = float(masks[index].double().mean())
                    if others is not None:
                        row[f"{method}/ssim"], row[f"{method}/spearman"] = group.likeness(
                            method, index, masks[index], others[index]
                        )
    return rows


def _pair(
    group: Group, step: Step, method: str, heard: HeardClips, text: TextState
) -> tuple[list[Tensor], list[Tensor] | None]:
    """The masks of a step, and those that they are held against."""
    originals = group.originals(method, for_label=step.check == "prompts")
    if step.name == RIGHT:
        return originals, None
    if step.name == OTHER_CLIP:  # the next clip: masks with nothing in common but the method
        return originals, [*originals[1:], originals[0]] if len(originals) > 1 else None
    return group.masks(method, heard, text), originals


@contextmanager
def disturbed(
    group: Group, step: Step, listen: Callable[[], object]
) -> Iterator[tuple[HeardClips, TextState]]:
    """The clips as they are heard and the prompts as they are read in a step.

    While the block lasts, the weights that the step names are random.

    Args:
        group: the clips.
        step: one of `plan_steps`.
        listen: real sounds through the encoder, for `randomised`.
    """
    trial, seed = group.trial, f"{group.trial.seed} {step.number}"
    text = trial.read(group.labels(step))
    if step.check == "text":
        with randomised(step.blocks, seed):
            text = trial.read(group.labels(step))
        yield group.heard, text
    elif step.check == "cascade":
        with randomised(step.blocks, seed, listen):
            yield group.hear(), text
    else:
        with randomised(step.blocks, seed):
            yield group.heard, text
