"""Every method and every control on every clip, scored on what is heard."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.similarity import prompts_from_labels, similarities
from lmaczs.data.clip_table import ClipEntry
from lmaczs.errors import LMACError
from lmaczs.evaluation.hearing import HeardClips, embed
from lmaczs.evaluation.masks import CONTROLS, FORMS, control_mask, in_form
from lmaczs.evaluation.rows import ResultRows, Row
from lmaczs.explainers.base import Explainer
from lmaczs.metrics.faithfulness import faithfulness
from lmaczs.metrics.shape import mask_shape
from lmaczs.signal.audio import load_clip, resample
from lmaczs.signal.masking import masked_waveform, mel_mask_to_stft
from lmaczs.types import AudioClip, MaskDomain, TextState

GROUP = 16  # clips that go through the encoder together
TEXT_COLUMNS = ("path", "label", "predicted", "error")
CLIP_NUMBERS = ("probability", "rank")
FAITHFULNESS = ("ai", "ad", "ag", "ff", "fid_in")
SHAPE = ("sps", "comp", "mm")
SOFT_ONLY = ("constant",)  # its cells are all equal: at equal area it would be a second random mask


def score_columns(methods: Sequence[str]) -> list[str]:
    """Columns "method/form/metric" for methods and controls."""
    return [
        f"{method}/{form}/{key}"
        for method in (*methods, *CONTROLS)
        for form in forms_of(method)
        for key in metric_keys(form)
    ]


def forms_of(method: str) -> tuple[str, ...]:
    """The forms in which a method's or control's masks are scored."""
    return ("soft",) if method in SOFT_ONLY else tuple(FORMS)


def metric_keys(form: str) -> tuple[str, ...]:
    """Metrics of a form; a binary mask of known area has a known shape."""
    return (*FAITHFULNESS, *SHAPE, "ad_double") if form == "soft" else (*FAITHFULNESS, "mm")


@dataclass(frozen=True)
class Judge:
    """What all clips are judged with.

    Attributes:
        backend: the CLAP.
        explainers: by the name that they have in the tables.
        labels: of all classes to choose between.
        seed: of the random control.
    """

    backend: CLAPBackend
    explainers: Mapping[str, Explainer]
    labels: tuple[str, ...]
    seed: int = 0

    def text(self) -> TextState:
        """One prompt for each label, on the CPU."""
        text = self.backend.encode_text(prompts_from_labels(self.labels))
        return TextState(text.prompts, text.embedding.cpu())

    def logits(self, embedding: Tensor) -> Tensor:
        """(clips, embed_dim) -> (clips, labels), logit_scale * cosine."""
        return self.backend.logit_scale.detach().cpu() * similarities(embedding, self.text().embedding)


def judge_clips(
    judge: Judge, clips: Sequence[ClipEntry], results: ResultRows, quiet: bool = False
) -> list[Row]:
    """Score all clips that are not scored yet.

    Args:
        judge: what to score with.
        clips: to score.
        results: grows by one row a clip; a clip that cannot be read has its reason in the column error.
        quiet: no progress bar.

    Returns:
        One row a clip, in order.
    """
    with tqdm(total=len(clips), unit="clip", desc="explaining", disable=quiet) as bar:
        # Groups are cut before finished clips are left out: a run that goes on computes what one run would
        # have.
        for first in range(0, len(clips), GROUP):
            group = clips[first : first + GROUP]
            if not all(_finished(results.rows.get(clip.path)) for clip in group):
                loaded = [(clip, load_entry(clip, judge.backend.spectral.sample_rate)) for clip in group]
                usable = [(clip, audio) for clip, audio in loaded if isinstance(audio, AudioClip)]
                if not all(_finished(results.rows.get(clip.path)) for clip, _ in usable):
                    results.add(_judge_group(judge, *zip(*usable, strict=True)))
                results.add(
                    {"path": clip.path, "label": clip.label, "error": str(audio)}
                    for clip, audio in loaded
                    if isinstance(audio, LMACError)
                )
            bar.update(len(group))
    return results.finish([clip.path for clip in clips])


def load_entry(clip: ClipEntry, sample_rate: int) -> AudioClip | LMACError:
    """The recording at the wanted rate, or the reason why it cannot be used."""
    try:
        return resample(load_clip(clip.file), sample_rate)
    except LMACError as error:
        return error


def _finished(row: Row | None) -> bool:
    return row is not None and "error" not in row


@torch.no_grad()
def _judge_group(judge: Judge, clips: Sequence[ClipEntry], audio: Sequence[AudioClip]) -> list[Row]:
    waveforms = [clip.waveform for clip in audio]
    heard = HeardClips(waveforms, judge.backend)
    logits = judge.logits(heard.embedding)
    target = logits.argmax(1)
    probability = logits.double().softmax(1)
    rows: list[Row] = []
    for index, clip in enumerate(clips):
        label = judge.labels.index(clip.label)
        rows.append(
            {
                "path": clip.path,
                "label": clip.label,
                "predicted": judge.labels[int(target[index])],
                "probability": float(probability[index].max()),
                "rank": 1.0 + int((logits[index] > logits[index, label]).sum()),
            }
        )
    text = judge.text()
    prompts = TextState(
        tuple(text.prompts[i] for i in target), text.embedding[target].to(judge.backend.mel_filters.device)
    )
    for method, domain, masks in all_masks(judge, heard, prompts, waveforms, [clip.path for clip in clips]):
        for form in forms_of(method):
            formed = [in_form(mask, form) for mask in masks]
            kept = [
                masked_waveform(waveform, audible(mask, domain, judge.backend), judge.backend.spectral)
                for waveform, mask in zip(waveforms, formed, strict=True)
            ]
            removed = [waveform - part for waveform, part in zip(waveforms, kept, strict=True)]
            kept_logits, removed_logits = judge.logits(embed([*kept, *removed], judge.backend)).chunk(2)
            values = faithfulness(logits, kept_logits, removed_logits, target)
            values["ad_double"] = faithfulness(
                logits, kept_logits, removed_logits, target, double_softmax=True
            )["ad"]
            if form == "soft":
                shapes = [mask_shape(mask.unsqueeze(0)) for mask in formed]  # clips differ in length
                values |= {key: torch.cat([shape[key] for shape in shapes]) for key in SHAPE}
            else:
                values["mm"] = torch.stack([mask.double().mean() for mask in formed])
            for index, row in enumerate(rows):
                row |= {f"{method}/{form}/{key}": float(values[key][index]) for key in metric_keys(form)}
    return rows


def all_masks(
    judge: Judge, heard: HeardClips, prompts: TextState, waveforms: Sequence[Tensor], names: Sequence[str]
) -> Iterator[tuple[str, MaskDomain, list[Tensor]]]:
    """Masks of every method and control for some clips, divided by their maximum.

    Args:
        judge: what to score with.
        heard: the clips, encoded.
        prompts: one per clip, on the backend's device.
        waveforms: the clips.
        names: of the clips; they seed the random masks.

    Yields:
        Name, domain and one mask per clip.
    """
    for method, explainer in judge.explainers.items():
        yield method, explainer.domain, heard.masks(explainer, prompts)
    grid = judge.backend.spectral
    for control in CONTROLS:
        yield (
            control,
            "stft",
            [
                control_mask(control, waveform, grid, f"{judge.seed} {name}")
                for waveform, name in zip(waveforms, names, strict=True)
            ],
        )


def audible(mask: Tensor, domain: MaskDomain, backend: CLAPBackend) -> Tensor:
    """The amplitude mask over STFT bins that makes a mask heard: (freq, frames) -> (bins, frames)."""
    return mask if domain == "stft" else mel_mask_to_stft(mask, backend.mel_filters.cpu())


def top_k(rows: Sequence[Row], k: int) -> float:
    """Share of scored clips whose label is among the k most probable, in percent; nan without clips."""
    ranks = [row["rank"] for row in rows if "rank" in row]
    return 100.0 * sum(rank <= k for rank in ranks) / len(ranks) if ranks else math.nan
