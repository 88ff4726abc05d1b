"""Sounds of components in the L2I benchmark: do they add up, how well do they fit, what do they bring out, how fast?"""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import Tensor
from tqdm import tqdm

from l2i_fidelity import Found
from l2i_models import BATCH, TITLES, LoadedClips, Models, sound_of, targets_of
from lmaczs import explain_clip, load_explainer
from lmaczs.clap.decisions import ZeroShotDecision
from lmaczs.clap.recording import Recording, listen
from lmaczs.clap.similarity import prompts_from_labels
from lmaczs.clap.target import Target
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.masks import Control
from lmaczs.explainers.base import Method
from lmaczs.explainers.l2i.explainer import L2I
from lmaczs.explainers.l2i.interpretation import gain_of_share, log_magnitude, share_of, soft_masks
from lmaczs.explainers.l2i.nmf import SparseNMF, activate
from lmaczs.metrics.components import random_choice
from lmaczs.metrics.localisation import si_sdr
from lmaczs.signal.audio import make_clip
from lmaczs.signal.mixing import mix_at_snr, white_noise
from lmaczs.signal.spectral import istft
from lmaczs.types import AudioClip, AudioState

# Of the factorisations that are compared.
COMPONENTS = 100

ADDED = (
    "soft masks from 1",
    "components and rest from the input",
    "first lanes from Algorithm 2",
)
LEFT_OVER = "energy outside of all components"


@torch.no_grad()
def adding_up(models: Models, heard: LoadedClips, labels: Sequence[str]) -> Found:
    """Soft masks, sound of all components one by one, and the paper's interpretation as a sum of lanes."""
    decision = ZeroShotDecision(models.backend, labels)
    explainer = models.explainer("zero-shot", "open", decision)
    if explainer is None:
        return {}
    targets = targets_of(decision, models.backend)
    worst = dict.fromkeys((*ADDED, LEFT_OVER), 0.0)
    for _, audio in tqdm(heard.batches(), total=-(-len(heard.clips) // BATCH), desc="adding up", leave=False):
        for row, place in enumerate(decision.logits(audio).argmax(1)):
            found = _differences(explainer, audio[row : row + 1], targets[place])
            worst = {name: max(worst[name], value) for name, value in found.items()}
    return {name: {"largest difference": value, "n": len(heard.clips)} for name, value in worst.items()}


def _differences(explainer: L2I, window: AudioState, target: Target) -> dict[str, float]:
    """How far the parts of one window's explanation are from adding up."""
    grid, samples = explainer.backend.spectral, window.waveform.shape[1]
    active, contribution = explainer.decompose(window, target)
    relevance = explainer.relevance(contribution)
    total = soft_masks(explainer.patterns, active)[0].sum(0)
    sounding = (explainer.patterns @ active[0]) > 1e-9
    gains = explainer.lane_gains(window.stft[0], active[0], relevance[0].argsort(descending=True))
    sounds = istft(window.stft * gains, grid, samples).sum(0)
    left = istft(window.stft * (1 - gains.sum(0)), grid, samples)[0]
    chosen = explainer.chosen(relevance)
    wanted = gain_of_share(share_of(explainer.patterns, active, chosen), log_magnitude(window.stft))[0]
    differences = (
        float((total[sounding] - 1).abs().max()) if sounding.any() else 0.0,
        float((sounds + left - window.waveform[0]).abs().max()),
        float((gains[: int(chosen.sum())].sum(0) - wanted).abs().max()),
        float(left.square().sum() / window.waveform.square().sum().clamp_min(1e-12)),
    )
    return dict(zip((*ADDED, LEFT_OVER), differences, strict=True))


class _Comparison:
    """Factorisations of one matrix, as rows of a table."""

    def __init__(self, spectra: Tensor) -> None:
        self.spectra = spectra
        self.rows: Found = {}

    def add(self, name: str, dictionary: Tensor, active: Tensor, seconds: float, steps: int) -> None:
        """Add one: |X - W H| / |X|, and the share of activations above a thousandth of their largest."""
        scale = dictionary.norm(dim=0).clamp_min(1e-12)
        active = active * scale[:, None]
        self.rows[name] = {
            "relative error": float(
                (self.spectra - dictionary / scale @ active).norm() / self.spectra.norm()
            ),
            "active share": float((active > 1e-3 * active.amax()).float().mean()),
            "seconds": seconds,
            "rounds": steps,
            "n": self.spectra.shape[1],
        }


@torch.no_grad()
def factorisation(
    models: Models, heard: LoadedClips, columns: int, rounds: int
) -> tuple[Found, dict[str, list[float]]]:
    """Sparse NMF of ours and scikit-learn's on one matrix of held-out frames; also each objective's course.

    Returns:
        Rows of relative error |X - W H| / |X|, share of activations above a thousandth of their largest, and seconds;
        the objective of ours after each round.
    """
    generator = torch.Generator().manual_seed(0)
    frames = torch.cat(
        [log_magnitude(audio.stft).permute(1, 0, 2).flatten(1) for _, audio in heard.batches()], dim=1
    )
    frames = frames[:, frames.amax(0) > 1e-3]
    spectra = frames[:, torch.randperm(frames.shape[1], generator=generator)[:columns]].contiguous()
    found = _Comparison(spectra)
    courses = {}
    for sparsity in (0.0, 0.8, 3.0):
        fit = SparseNMF.start(spectra, COMPONENTS, sparsity, 0)
        start = time.perf_counter()
        course = list(tqdm(fit.fit(spectra, rounds), total=rounds, desc=f"ours, mu {sparsity}", leave=False))
        name = f"ours, mu {sparsity:g}"
        found.add(name, fit.dictionary, fit.activations, time.perf_counter() - start, len(course))
        courses[name] = course
    _add_scikit_learn(found, rounds)
    _add_shipped(found, models, heard)
    return found.rows, courses


def _add_scikit_learn(found: _Comparison, rounds: int) -> None:
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    for solver in ("mu", "cd"):
        model = NMF(COMPONENTS, init="random", solver=solver, max_iter=rounds, tol=1e-5, random_state=0)
        start = time.perf_counter()
        with warnings.catch_warnings():
            # As many rounds as ours, converged or not.
            warnings.simplefilter("ignore", ConvergenceWarning)
            columns = model.fit_transform(found.spectra.T.double().numpy())
        seconds = time.perf_counter() - start
        dictionary, active = (torch.from_numpy(part.T).float() for part in (model.components_, columns))
        found.add(f"scikit-learn, {solver}", dictionary, active, seconds, model.n_iter_)


def _add_shipped(found: _Comparison, models: Models, heard: LoadedClips) -> None:
    """The dictionary that is shipped, and the activations that the interpreter finds for it."""
    explainer = models.explainer("zero-shot", "open", ZeroShotDecision(models.backend, ["dog"]))
    if explainer is None:
        return
    start = time.perf_counter()
    active = activate(explainer.patterns, found.spectra, 0.0)
    name = "shipped dictionary, updates of H alone"
    found.add(name, explainer.patterns, active, time.perf_counter() - start, 50)
    square = error = 0.0
    for _, audio in heard.batches():
        log_mag = log_magnitude(audio.stft)
        model_of = explainer.patterns @ explainer.interpreter(audio.hidden)[0]
        error += float((log_mag - model_of).square().sum())
        square += float(log_mag.square().sum())
    found.rows["shipped dictionary, activations of L2I-open (all frames)"] = {
        "relative error": math.sqrt(error / square),
        "n": len(heard.clips) * log_mag.shape[2],
    }


# A smaller improvement is rounding.
HEARD_DB = 0.01
CORRUPTIONS = ("white noise, 0 dB", "another class, 0 dB")


@torch.no_grad()
def corrupted(heard: LoadedClips, which: str) -> Tensor:
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
def corruption(models: Models, heard: LoadedClips, labels: Sequence[str]) -> dict[str, Found]:
    """SI-SDR improvement of what is kept for the clip's own label, when something lies over the clip."""
    backend = models.backend
    decision = ZeroShotDecision(backend, labels)
    methods: dict[str, Method] = {}
    for name in ("l2i", "open"):
        found = models.explainer("zero-shot", name, decision)
        if found is not None:
            methods[f"{TITLES[name]}, threshold {found.relevance_threshold:g}"] = found
    methods["LMAC-ZS"] = load_explainer("lmac-zs", backend)
    methods["control: loudest cells"] = Control(backend, control="energy")
    methods["control: everything"] = Control(backend, control="full")
    evaluator = MaskEvaluator(backend, tuple(labels))
    return {which: _corruption(evaluator, methods, heard, which) for which in CORRUPTIONS}


def _corruption(
    evaluator: MaskEvaluator, methods: dict[str, Method], heard: LoadedClips, which: str
) -> Found:
    """One kind of corruption, clip by clip."""
    values: dict[str, list[float]] = {}
    generator = torch.Generator().manual_seed(0)
    rate = evaluator.backend.spectral.sample_rate
    noisy = corrupted(heard, which)
    for entry, waveform, clean in tqdm(
        zip(heard.clips, noisy, heard.waveforms, strict=True), total=len(noisy), desc=which, leave=False
    ):
        recording = listen(AudioClip(waveform, rate, entry.path), evaluator.backend)
        target = evaluator.target(evaluator.labels.index(entry.label))
        before = si_sdr(waveform[None], clean[None])

        def add(name: str, kept: Tensor, clean: Tensor = clean, before: Tensor = before) -> None:
            values.setdefault(name, []).append(float(si_sdr(kept[None], clean[None]) - before))

        for name, method in methods.items():
            explanation = method.explain(recording, target)
            add(name, evaluator.kept_sounds(method, recording, explanation)[0])
            if isinstance(method, L2I):
                drawn = _random_components(method, recording, target, generator)
                add(f"control: random components of {name}", drawn)
    rows: Found = {}
    for name, found in values.items():
        value = torch.tensor(found, dtype=torch.float64)
        rows[name] = {
            "mean": float(value.mean()),
            "median": float(value.median()),
            "better": 100 * float((value > HEARD_DB).double().mean()),
            "n": len(value),
        }
    return rows


def _random_components(
    method: L2I, recording: Recording, target: Target, generator: torch.Generator
) -> Tensor:
    """The sound of as many components as count, drawn at random, of a recording of one window."""
    audio = next(recording.batches(method.backend))
    activations, contribution = method.decompose(audio, target)
    drawn = random_choice(method.chosen(method.relevance(contribution)), generator)
    gain = gain_of_share(share_of(method.patterns, activations, drawn), log_magnitude(audio.stft))
    return sound_of(audio, gain, method.backend)[0]


def speed(models: Models, heard: LoadedClips, labels: Sequence[str], rounds: int) -> Found:
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
            clip, prompts, backend, explainer, measure=False
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
    explain_clip(clip, prompts, backend, slime, measure=False)
    times["explain_clip, SLIME"] = [time.perf_counter() - start]
    torch.set_num_threads(threads)
    unit = median(times["one encoder pass"])
    return {
        name: {"passes": median(found) / unit, "ms": 1000 * median(found), "n": len(found)}
        for name, found in times.items()
    }
