"""Fidelity of interpreters in the L2I benchmark: do they decide as the classifier does?"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from l2i_models import BATCH, RELEASES, TITLES, LoadedClips, Models, imitate, targets_of
from lmaczs.clap.decisions import HeadDecision, ZeroShotDecision
from lmaczs.metrics.fidelity import over_groups, top_k_fidelity
from lmaczs.metrics.multi_label import multi_label_fidelity
from lmaczs.types import AudioState

CLASSIFIER = "classifier"
# Parts of the held-out clips, for a deviation.
GROUPS = 5
RANKS = (1, 3, 5)
# Row -> numbers.
Found = dict[str, dict[str, float]]


def parts_of(heard: LoadedClips) -> list[int]:
    """A group for each clip; clips of one original recording are in the same."""
    originals = [
        clip.file.stem.split("-")[1] if "-" in clip.file.stem else clip.file.stem for clip in heard.clips
    ]
    numbers = {name: place % GROUPS for place, name in enumerate(sorted(set(originals)))}
    return [numbers[name] for name in originals]


def logits_of(
    heard: LoadedClips, asked: Mapping[str, Callable[[AudioState], Tensor]], name: str
) -> dict[str, Tensor]:
    """(clips, labels) of everyone who is asked; every clip is encoded once."""
    found: dict[str, list[Tensor]] = {who: [] for who in asked}
    for _, audio in tqdm(heard.batches(), total=-(-len(heard.clips) // BATCH), desc=name, leave=False):
        for who, ask in asked.items():
            found[who].append(ask(audio))
    return {who: torch.cat(parts) for who, parts in found.items()}


@torch.no_grad()
def fidelity(models: Models, kind: str, heard: LoadedClips, labels: Sequence[str]) -> Found:
    """Top-k fidelity in percent over clips: mean and deviation over parts of the set, and two controls."""
    decision = models.decision(kind, labels)
    if decision is None:
        return {}
    asked = {TITLES[name]: ask for name, ask in models.imitations(kind, decision).items()}
    answers, groups = logits_of(heard, {CLASSIFIER: decision.logits, **asked}, kind), parts_of(heard)
    wanted = answers.pop(CLASSIFIER)
    generator = torch.Generator().manual_seed(0)
    sounds = {TITLES[name]: models.sounds(release) for name, release in RELEASES[kind].items()}
    answers["control: random order"] = torch.rand(wanted.shape, generator=generator)
    answers["control: mean decision"] = wanted.softmax(1).mean(0, keepdim=True).expand_as(wanted)
    rows: Found = {}
    for name, found in answers.items():
        rows[name] = {"n": len(wanted), "sounds": sounds.get(name, 0)}
        for k in RANKS:
            numbers = over_groups(top_k_fidelity(wanted, found, k), groups)
            rows[name] |= {
                f"top-{k}": 100 * float(top_k_fidelity(wanted, found, k).mean()),
                f"top-{k} deviation": 100 * numbers["deviation"],
            }
    return rows


@torch.no_grad()
def tag_fidelity(models: Models, heard: LoadedClips) -> Found:
    """Multi-label fidelity to the head's binary decisions."""
    decision = models.decision("tags", ())
    if decision is None:
        return {}
    assert isinstance(decision, HeadDecision)
    asked = {TITLES[name]: ask for name, ask in models.imitations("tags", decision).items()}
    logits = logits_of(heard, {CLASSIFIER: decision.logits, **asked}, "tags")
    answers = {name: decision.probabilities(found) for name, found in logits.items()}
    probability = answers.pop(CLASSIFIER)
    given = decision.given(probability)
    sounds = {TITLES[name]: models.sounds(release) for name, release in RELEASES["tags"].items()}
    answers["control: the same for all"] = probability.mean(0, keepdim=True).expand_as(probability)
    rows = {}
    for name, found in answers.items():
        rows[name] = multi_label_fidelity(given, found) | {"sounds": sounds.get(name, 0)}
        rows[name]["macro_auprc_released"] = multi_label_fidelity(given, found, compat="released")[
            "macro_auprc"
        ]
    return rows


@torch.no_grad()
def unheard(models: Models, concepts: Sequence[str], own: LoadedClips, held_out: LoadedClips) -> Found:
    """Fidelity of L2I-open over labels that its training never used, neither sounds nor words.

    Args:
        models: with L2I-open.
        concepts: the labels.
        own: clips of these labels.
        held_out: clips of the held-out fold, whose own labels are none of them.
    """
    decision = ZeroShotDecision(models.backend, concepts)
    explainer = models.explainer("zero-shot", "open", decision)
    if explainer is None:
        return {}
    targets, rows = targets_of(decision, models.backend), {}
    for name, heard in (("clips of these labels", own), ("clips of the held-out fold", held_out)):
        asked = {CLASSIFIER: decision.logits, name: lambda audio: imitate(explainer, targets, audio)}
        answers = logits_of(heard, asked, name)
        wanted, found = answers[CLASSIFIER], answers[name]
        mean = wanted.softmax(1).mean(0, keepdim=True).expand_as(wanted)
        for row, answer in ((name, found), (f"control: mean decision, {name}", mean)):
            rows[row] = {f"top-{k}": 100 * float(top_k_fidelity(wanted, answer, k).mean()) for k in RANKS}
            rows[row]["n"] = len(wanted)
    return rows
