"""The measurements of the L2I benchmark, one function each: models and clips in, plain numbers out."""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import torch
from torch import Tensor
from tqdm import tqdm

from l2i_models import BATCH, RELEASES, TITLES, Heard, Models, imitate, some, sound_of, text_of
from lmaczs import explain_clip, load_explainer
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.decisions import Decision, HeadDecision, ZeroShotDecision
from lmaczs.clap.similarity import prompts_from_labels
from lmaczs.evaluation.masks import control_mask
from lmaczs.evaluation.mixtures import plan_mixtures
from lmaczs.explainers.base import Explainer
from lmaczs.explainers.l2i.explainer import L2I
from lmaczs.explainers.l2i.interpretation import gain_of_share, log_magnitude, share_of, soft_masks
from lmaczs.explainers.l2i.nmf import SparseNMF, activate
from lmaczs.explainers.perturbing import to_grid
from lmaczs.explainers.slime import SLIME
from lmaczs.metrics.components import THRESHOLDS, jaccard, random_choice
from lmaczs.metrics.fidelity import over_groups, top_k_fidelity
from lmaczs.metrics.localisation import si_sdr
from lmaczs.metrics.multi_label import multi_label_fidelity
from lmaczs.signal.audio import make_clip
from lmaczs.signal.mixing import mix_at_snr, white_noise
from lmaczs.signal.spectral import istft
from lmaczs.types import AudioState, TextState

CLASSIFIER = "classifier"
GROUPS = 5  # parts of the held-out clips, for a deviation
RANKS = (1, 3, 5)
Found = dict[str, dict[str, float]]  # row -> numbers


def parts_of(heard: Heard) -> list[int]:
    """A group for each clip; clips of one original recording are in the same."""
    originals = [
        clip.file.stem.split("-")[1] if "-" in clip.file.stem else clip.file.stem for clip in heard.clips
    ]
    numbers = {name: place % GROUPS for place, name in enumerate(sorted(set(originals)))}
    return [numbers[name] for name in originals]


def logits_of(
    heard: Heard, asked: Mapping[str, Callable[[AudioState], Tensor]], name: str
) -> dict[str, Tensor]:
    """(clips, labels) of everyone who is asked; every clip is encoded once."""
    found: dict[str, list[Tensor]] = {who: [] for who in asked}
    for _, audio in tqdm(heard.batches(), total=-(-len(heard.clips) // BATCH), desc=name, leave=False):
        for who, ask in asked.items():
            found[who].append(ask(audio))
    return {who: torch.cat(parts) for who, parts in found.items()}


@torch.no_grad()
def fidelity(models: Models, kind: str, heard: Heard, labels: Sequence[str]) -> Found:
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
def tag_fidelity(models: Models, heard: Heard) -> Found:
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
def removal(models: Models, kind: str, name: str, heard: Heard, labels: Sequence[str]) -> Found:
    """FF of taking the chosen components away, heard again from the waveform on, for each threshold of relevance.

    Beside it as many components drawn at random: of all, as in the paper, and of the others. Every clip counts once for
    the label that the classifier predicts; of a multi-label head, once for every label that it gives.
    """
    decision = models.decision(kind, labels)
    explainer = None if decision is None else models.explainer(kind, name, decision)
    if decision is None or explainer is None:
        return {}
    text, generator = text_of(decision, models.backend), torch.Generator().manual_seed(0)
    tally = _Tally()
    for _, batch in tqdm(
        heard.batches(), total=-(-len(heard.clips) // BATCH), desc=f"{kind} {name}", leave=False
    ):
        windows, target, before = _targets(decision, batch)
        if not len(target):
            continue
        audio = batch[windows]
        parts = explainer.decompose(audio, some(text, target))
        relevance = explainer.relevance(parts.contribution)
        for threshold in THRESHOLDS:
            chosen = relevance > threshold
            choices = {"chosen": chosen, "random": random_choice(chosen, generator)}
            if threshold == THRESHOLDS[-1]:
                choices["others"] = random_choice(chosen, generator, among_others=True)
            for which, choice in choices.items():
                gain = explainer.removal_gain(audio, parts.activations, choice)
                after, energy = _without(decision, audio, gain, target, models.backend)
                tally.add(threshold, which, before - after, energy, choice)
    return tally.rows()


class _Tally:
    """Numbers of removals, by threshold and by what was removed."""

    def __init__(self) -> None:
        self._values: dict[tuple[float, str, str], list[Tensor]] = {}

    def add(self, threshold: float, which: str, ff: Tensor, energy: Tensor, choice: Tensor) -> None:
        """Add some decisions: FF, share of energy removed (each (batch,)), and what was chosen (batch, parts)."""
        for key, value in (("ff", ff), ("energy", energy), ("count", choice.sum(1).double())):
            self._values.setdefault((threshold, which, key), []).append(value)

    def rows(self) -> Found:
        """Median FF, mean energy and mean count, by threshold."""
        found: Found = {}
        for (threshold, which, key), parts in self._values.items():
            value = torch.cat(parts)
            row = found.setdefault(f"{threshold:g}", {"n": len(value)})
            row[f"{which} {key}"] = float(value.median() if key == "ff" else value.mean())
        return found


def _targets(decision: Decision, audio: AudioState) -> tuple[Tensor, Tensor, Tensor]:
    """Window, label and probability of each decision that is explained."""
    probability = decision.probabilities(decision.logits(audio))
    if isinstance(decision, HeadDecision) and decision.multi_label:
        windows, target = torch.nonzero(decision.given(probability)).unbind(1)
    else:
        windows, target = torch.arange(len(probability)), probability.argmax(1)
    return windows, target, probability[windows, target].double()


def _without(
    decision: Decision, audio: AudioState, gain: Tensor, target: Tensor, backend: CLAPBackend
) -> tuple[Tensor, Tensor]:
    """Probability of the target without what a gain takes away, and the share of energy that it took."""
    left = sound_of(audio, gain, backend)
    probability = decision.probabilities(decision.logits(backend.analyze(left)))
    energy = 1 - left.square().sum(1) / audio.waveform.square().sum(1).clamp_min(1e-12)
    return probability[torch.arange(len(target)), target].double(), energy.double()


@torch.no_grad()
def slime_removal(models: Models, heard: Heard, labels: Sequence[str]) -> Found:
    """The same with SLIME's segments: those whose weight, relative to the largest, is above the threshold."""
    decision = ZeroShotDecision(models.backend, labels)
    text = text_of(decision, models.backend)
    slime, generator, tally = SLIME(models.backend, "mel"), torch.Generator().manual_seed(0), _Tally()
    for _, batch in tqdm(heard.batches(), total=-(-len(heard.clips) // BATCH), desc="slime", leave=False):
        _, target, before = _targets(decision, batch)
        weights = slime.segment_weights(batch, some(text, target))
        relevance = weights / weights.abs().amax(1, keepdim=True).clamp_min(1e-12)
        for threshold in THRESHOLDS:
            chosen = relevance > threshold
            for which, choice in (("chosen", chosen), ("random", random_choice(chosen, generator))):
                kept = to_grid(models.backend, slime.spread((~choice).float()), "stft")
                after, energy = _without(decision, batch, kept, target, models.backend)
                tally.add(threshold, which, before - after, energy, choice)
    return tally.rows()


@torch.no_grad()
def unheard(models: Models, concepts: Sequence[str], own: Heard, held_out: Heard) -> Found:
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
    text, rows = text_of(decision, models.backend), {}
    for name, heard in (("clips of these labels", own), ("clips of the held-out fold", held_out)):
        asked = {CLASSIFIER: decision.logits, name: lambda audio: imitate(explainer, text, audio)}
        answers = logits_of(heard, asked, name)
        wanted, found = answers[CLASSIFIER], answers[name]
        mean = wanted.softmax(1).mean(0, keepdim=True).expand_as(wanted)
        for row, answer in ((name, found), (f"control: mean decision, {name}", mean)):
            rows[row] = {f"top-{k}": 100 * float(top_k_fidelity(wanted, answer, k).mean()) for k in RANKS}
            rows[row]["n"] = len(wanted)
    return rows


@torch.no_grad()
def overlap(models: Models, heard: Heard, labels: Sequence[str], count: int) -> Found:
    """Jaccard index of the components chosen for the two labels of a mixture, and of controls."""
    decision = ZeroShotDecision(models.backend, labels)
    text = text_of(decision, models.backend)
    place = {clip.path: number for number, clip in enumerate(heard.clips)}
    plans = plan_mixtures(heard.clips, count)
    mixed = torch.stack(
        [
            mix_at_snr(heard.waveforms[place[p.a.path]], heard.waveforms[place[p.b.path]], 0.0)[0]
            for p in plans
        ]
    )
    sides = [
        torch.tensor([labels.index(clip.label) for clip in group])
        for group in ([plan.a for plan in plans], [plan.b for plan in plans])
    ]
    bare = models.backend.encode_text([label.replace("_", " ") for label in labels])
    rows: Found = {}
    for name in ("l2i", "open"):
        explainer = models.explainer("zero-shot", name, decision)
        if explainer is None:
            continue
        generator = torch.Generator().manual_seed(0)
        values: dict[str, list[Tensor]] = {}
        for rows_of in tqdm(torch.arange(len(mixed)).split(BATCH), desc=f"mixtures, {name}", leave=False):
            audio = models.backend.analyze(mixed[rows_of])
            first, second = (_choice(explainer, audio, some(text, side[rows_of])) for side in sides)
            values.setdefault("two prompts", []).append(jaccard(first, second))
            drawn = [random_choice(chosen, generator) for chosen in (first, second)]
            values.setdefault("control: random components", []).append(jaccard(drawn[0], drawn[1]))
            if name == "open":
                same = _choice(explainer, audio, some(bare, sides[0][rows_of]))
                values.setdefault("control: one prompt in other words", []).append(jaccard(first, same))
        for row, found in values.items():
            value = torch.cat(found)
            rows[f"{TITLES[name]}, {row}"] = {
                "jaccard": float(value.nanmean()),
                "n": int((~value.isnan()).sum()),
            }
    return rows


def _choice(explainer: L2I, audio: AudioState, text: TextState) -> Tensor:
    return explainer.chosen(explainer.relevance(explainer.decompose(audio, text).contribution))


@torch.no_grad()
def adding_up(models: Models, heard: Heard, labels: Sequence[str]) -> Found:
    """Soft masks, sound of all components one by one, and the paper's interpretation as a sum of lanes."""
    decision = ZeroShotDecision(models.backend, labels)
    explainer = models.explainer("zero-shot", "open", decision)
    if explainer is None:
        return {}
    text, grid = text_of(decision, models.backend), models.backend.spectral
    worst = {
        "soft masks from 1": 0.0,
        "components and rest from the input": 0.0,
        "first lanes from Algorithm 2": 0.0,
    }
    rest = []
    for _, audio in tqdm(heard.batches(), total=-(-len(heard.clips) // BATCH), desc="adding up", leave=False):
        target = decision.logits(audio).argmax(1)
        parts = explainer.decompose(audio, some(text, target))
        relevance = explainer.relevance(parts.contribution)
        for row in range(len(target)):
            active = parts.activations[row : row + 1]
            total = soft_masks(explainer.patterns, active)[0].sum(0)
            sounding = (explainer.patterns @ active[0]) > 1e-9
            worst["soft masks from 1"] = max(
                worst["soft masks from 1"],
                float((total[sounding] - 1).abs().max()) if sounding.any() else 0.0,
            )
            order = relevance[row].argsort(descending=True)
            gains = explainer.lane_gains(audio.stft[row], active[0], order)
            sounds = istft(audio.stft[row] * gains, grid, audio.waveform.shape[1]).sum(0)
            left = istft(audio.stft[row : row + 1] * (1 - gains.sum(0)), grid, audio.waveform.shape[1])[0]
            error = float((sounds + left - audio.waveform[row]).abs().max())
            key = "components and rest from the input"
            worst[key] = max(worst[key], error)
            rest.append(float(left.square().sum() / audio.waveform[row].square().sum().clamp_min(1e-12)))
            chosen = explainer.chosen(relevance[row : row + 1])
            share = share_of(explainer.patterns, active, chosen)
            wanted = gain_of_share(share, log_magnitude(audio.stft[row : row + 1]))[0]
            key = "first lanes from Algorithm 2"
            worst[key] = max(worst[key], float((gains[: int(chosen.sum())].sum(0) - wanted).abs().max()))
    rows = {name: {"largest difference": value, "n": len(heard.clips)} for name, value in worst.items()}
    rows["energy outside of all components"] = {"largest difference": max(rest), "n": len(rest)}
    return rows


@torch.no_grad()
def factorisation(
    models: Models, heard: Heard, columns: int, rounds: int
) -> tuple[Found, dict[str, list[float]]]:
    """Sparse NMF of ours and scikit-learn's on one matrix of held-out frames; also each objective's course.

    Returns:
        Rows of relative error |X - W H| / |X|, share of activations above a thousandth of their largest, and seconds;
        the objective of ours after each round.
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    generator = torch.Generator().manual_seed(0)
    frames = torch.cat(
        [log_magnitude(audio.stft).permute(1, 0, 2).flatten(1) for _, audio in heard.batches()], dim=1
    )
    frames = frames[:, frames.amax(0) > 1e-3]
    spectra = frames[:, torch.randperm(frames.shape[1], generator=generator)[:columns]].contiguous()
    count = 100
    rows: Found = {}
    courses: dict[str, list[float]] = {}

    def add(name: str, dictionary: Tensor, active: Tensor, seconds: float, steps: int) -> None:
        scale = dictionary.norm(dim=0).clamp_min(1e-12)
        active = active * scale[:, None]
        rows[name] = {
            "relative error": float((spectra - dictionary / scale @ active).norm() / spectra.norm()),
            "active share": float((active > 1e-3 * active.amax()).float().mean()),
            "seconds": seconds,
            "rounds": steps,
            "n": spectra.shape[1],
        }

    for sparsity in (0.0, 0.8, 3.0):
        fit = SparseNMF.start(spectra, count, sparsity, 0)
        start = time.perf_counter()
        course = list(tqdm(fit.fit(spectra, rounds), total=rounds, desc=f"ours, mu {sparsity}", leave=False))
        name = f"ours, mu {sparsity:g}"
        add(name, fit.dictionary, fit.activations, time.perf_counter() - start, len(course))
        courses[name] = course
    for solver in ("mu", "cd"):
        model = NMF(count, init="random", solver=solver, max_iter=rounds, tol=1e-5, random_state=0)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # as many rounds as ours, converged or not
            columns_of = model.fit_transform(spectra.T.double().numpy())
        seconds = time.perf_counter() - start
        add(
            f"scikit-learn, {solver}",
            torch.from_numpy(model.components_.T).float(),
            torch.from_numpy(columns_of.T).float(),
            seconds,
            model.n_iter_,
        )
    decision = ZeroShotDecision(models.backend, ["dog"])
    explainer = models.explainer("zero-shot", "open", decision)
    if explainer is not None:
        start = time.perf_counter()
        active = activate(explainer.patterns, spectra, 0.0)
        add(
            "shipped dictionary, updates of H alone",
            explainer.patterns,
            active,
            time.perf_counter() - start,
            50,
        )
        square = error = 0.0
        for _, audio in heard.batches():
            log_mag = log_magnitude(audio.stft)
            model_of = explainer.patterns @ explainer.interpreter(audio.hidden)[0]
            error += float((log_mag - model_of).square().sum())
            square += float(log_mag.square().sum())
        rows["shipped dictionary, activations of L2I-open (all frames)"] = {
            "relative error": math.sqrt(error / square),
            "n": len(heard.clips) * log_mag.shape[2],
        }
    return rows, courses


HEARD_DB = 0.01  # a smaller improvement is rounding
CORRUPTIONS = ("white noise, 0 dB", "another class, 0 dB")


@torch.no_grad()
def corrupted(heard: Heard, which: str) -> Tensor:
    """Clips under white noise, or under a clip of another class, at 0 dB: (clips, samples)."""
    rows = []
    for place, waveform in enumerate(heard.waveforms):
        if which == CORRUPTIONS[0]:
            other = white_noise(len(waveform), place)
        else:
            label = heard.clips[place].label
            others = [number for number, clip in enumerate(heard.clips) if clip.label != label]
            other = heard.waveforms[others[(7 * place) % len(others)]]
        rows.append(mix_at_snr(waveform, other, 0.0)[0])
    return torch.stack(rows)


@torch.no_grad()
def corruption(models: Models, heard: Heard, labels: Sequence[str]) -> dict[str, Found]:
    """SI-SDR improvement of what is kept for the clip's own label, when something lies over the clip."""
    backend = models.backend
    decision = ZeroShotDecision(backend, labels)
    text = text_of(decision, backend)
    target = torch.tensor([labels.index(clip.label) for clip in heard.clips])
    explainers: dict[str, Explainer] = {}
    for name in ("l2i", "open"):
        found = models.explainer("zero-shot", name, decision)
        if found is not None:
            explainers[f"{TITLES[name]}, threshold {found.relevance_threshold:g}"] = found
    explainers["LMAC-ZS"] = load_explainer("lmac-zs", backend)
    tables: dict[str, Found] = {}
    for which in CORRUPTIONS:
        waveforms = corrupted(heard, which)
        values: dict[str, list[Tensor]] = {}
        generator = torch.Generator().manual_seed(0)
        for places in tqdm(torch.arange(len(waveforms)).split(BATCH), desc=which, leave=False):
            audio, clean = backend.analyze(waveforms[places]), heard.waveforms[places]
            before, prompts = si_sdr(audio.waveform, clean), some(text, target[places])

            def gained(gain: Tensor) -> Tensor:
                return si_sdr(sound_of(audio, gain, backend), clean) - before  # noqa: B023

            for name, explainer in explainers.items():
                values.setdefault(name, []).append(gained(explainer.masks(audio, prompts)))
                if isinstance(explainer, L2I):
                    parts = explainer.decompose(audio, prompts)
                    drawn = random_choice(
                        explainer.chosen(explainer.relevance(parts.contribution)), generator
                    )
                    share = share_of(explainer.patterns, parts.activations, drawn)
                    gain = gain_of_share(share, log_magnitude(audio.stft))
                    values.setdefault(f"control: random components of {name}", []).append(gained(gain))
            energy = torch.stack([control_mask("energy", row, backend, "stft", "") for row in audio.waveform])
            values.setdefault("control: loudest cells", []).append(gained(energy))
            values.setdefault("control: everything", []).append(gained(torch.ones_like(energy)))
        tables[which] = {}
        for name, found in values.items():
            value = torch.cat(found)
            tables[which][name] = {
                "mean": float(value.mean()),
                "median": float(value.median()),
                "better": 100 * float((value > HEARD_DB).double().mean()),
                "n": len(value),
            }
    return tables


def speed(models: Models, heard: Heard, labels: Sequence[str], rounds: int) -> Found:
    """Explanations of one clip in units of one encoder pass; medians over rounds that take each once, two threads."""
    backend = models.backend
    prompts = prompts_from_labels(labels[:5])
    clip = make_clip(heard.waveforms[0], backend.spectral.sample_rate, "clip")
    decision = ZeroShotDecision(backend, labels)
    explainer = models.explainer("zero-shot", "open", decision)
    with torch.no_grad():
        mel_power = backend.analyze(heard.waveforms[:1]).mel_power
    backend.encode_text(prompts)

    @torch.no_grad()
    def encode() -> object:
        return backend.encode(mel_power)

    work: dict[str, Callable[[], object]] = {"one encoder pass": encode}
    if explainer is not None:
        work["explain_clip, L2I-open, all component audio"] = lambda: explain_clip(
            clip, prompts, backend, explainer, score=False
        )
    slime = load_explainer("slime", backend)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in tqdm(range(rounds + 1), desc="speed", unit="round", leave=False):
        for name, job in work.items():
            start = time.perf_counter()
            job()
            if number:
                times[name].append(time.perf_counter() - start)
    start = time.perf_counter()
    explain_clip(clip, prompts, backend, slime, score=False)
    times["explain_clip, SLIME"] = [time.perf_counter() - start]
    torch.set_num_threads(threads)
    unit = median(times["one encoder pass"])
    return {
        name: {"passes": median(found) / unit, "ms": 1000 * median(found), "n": len(found)}
        for name, found in times.items()
    }
