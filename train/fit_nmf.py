"""Learn the dictionary of L2I: sparse NMF of log-magnitude spectra (Parekh et al. 2022, eq. 5).

    python -m train.fit_nmf --clips data/clips.csv --hold-out esc50:4 --out assets/releases/l2i-nmf-compact-2

Frames are drawn from clips as the other trainings draw them, quiet ones left out, on the backend's own STFT grid and
with the level normalisation that the explainer has too. Runs on a GPU where there is one.
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

if not __package__:  # started as a file: put the repository in the place of this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs import load_backend
from lmaczs.clap import EMBEDDED
from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.l2i.interpretation import log_magnitude
from lmaczs.explainers.l2i.nmf import SparseNMF
from lmaczs.hub import save_release
from lmaczs.signal.spectral import stft
from train.clips import only_open, read_clips, split_clips
from train.config import flag_parser, read_flags
from train.model_card import render, sources_of
from train.plain_errors import plain_errors
from train.windows import BATCH, ClipStore, open_store

KIND = "nmf"
# Frames quieter than this below the window's loudest are left out.
FLOOR_DB = -50.0
# Of a window.
FRAMES_EACH = 8


@dataclass(frozen=True)
class FitConfig:
    """What a dictionary is made of.

    Attributes:
        clips: CSV of path and captions.
        out: release folder to write.
        cache: folder for decoded clips; "" is beside `out`.
        hold_out: "dataset:fold" that is never learnt from; may be given several times.
        emphasis: "dataset=factor" or "dataset:label=factor", drawn more often.
        backend: key of the CLAP whose STFT grid it is.
        components: K.
        sparsity: mu.
        columns: frames to learn from.
        steps: rounds of updates at most.
        seed: of every random draw.
    """

    clips: str = ""
    out: str = ""
    cache: str = ""
    hold_out: tuple[str, ...] = ()
    emphasis: tuple[str, ...] = ()
    backend: str = EMBEDDED
    components: int = 100
    sparsity: float = 0.8
    columns: int = 40_000
    steps: int = 300
    seed: int = 0


@torch.no_grad()
def draw_spectra(store: ClipStore, backend: CLAPBackend, columns: int, seed: int) -> Tensor:
    """X of random frames of random clips.

    Args:
        store: of clips.
        backend: whose STFT grid it is.
        columns: how many frames.
        seed: of the draws.

    Returns:
        (bins, columns) float32 >= 0, on the backend's device.
    """
    generator = torch.Generator().manual_seed(seed)
    device, found, count = backend.mel_filters.device, [], 0
    with tqdm(total=columns, desc="frames", unit="frame") as bar:
        while count < columns:
            waveform = store.read(store.sampler.draw(BATCH, generator), generator).to(device)
            log_mag = log_magnitude(stft(waveform, backend.spectral)).cpu()
            level = torch.expm1(log_mag).square().sum(1)
            loud = 10 * torch.log10(level / level.amax(1, keepdim=True).clamp_min(1e-12) + 1e-12) > FLOOR_DB
            for window, audible in zip(log_mag, loud, strict=True):
                frames = torch.nonzero(audible)[:, 0]
                picked = torch.randperm(len(frames), generator=generator)[:FRAMES_EACH]
                found.append(window[:, frames[picked]])
                count += len(picked)
            bar.update(min(count, columns) - bar.n)
    return torch.cat(found, dim=1)[:, :columns].contiguous().to(device)


def main() -> None:
    """Read the flags, draw frames, fit, write the release."""
    parser = flag_parser(FitConfig, __doc__)
    config = read_flags(parser, FitConfig)
    if not config.clips or not config.out:
        parser.error("give --clips (a CSV of path and captions) and --out, the release folder to write")
    out = Path(config.out)
    backend = load_backend(config.backend)
    train = only_open(split_clips(read_clips(config.clips), list(config.hold_out))[0], config.clips)
    cache = Path(config.cache) if config.cache else out.parent / f"{out.name}-cache"
    store = open_store(train, backend, cache, config.emphasis)
    spectra = draw_spectra(store, backend, config.columns, config.seed)
    found, objective = fit(config, spectra)
    dictionary, active = found
    error = (spectra - dictionary @ active).norm() / spectra.norm()
    numbers = {
        "relative_error": float(error),
        "active_share": float((active > 1e-3 * active.amax()).float().mean()),
        "mean_cosine": float(_mean_cosine(dictionary)),
    }
    settings = {key: value for key, value in asdict(config).items() if key not in ("clips", "out", "cache")}
    training = {
        "settings": settings,
        "steps": len(objective) - 1,
        "continues_another_run": False,
        "objective": objective,
        "fit": numbers,
        "sources": sources_of(Path(config.clips), {clip.path for clip in train}),
    }
    shape = {"backend": backend.name, "components": config.components, "sparsity": config.sparsity}
    save_release(out, KIND, shape, {"dictionary": dictionary.cpu()}, training=training)
    (out / "README.md").write_text(render(out), "utf-8")
    print(numbers)


def fit(config: FitConfig, spectra: Tensor) -> tuple[tuple[Tensor, Tensor], list[float]]:
    """Dictionary (bins, components) and activations (components, columns), low patterns first; and the objective."""
    nmf = SparseNMF.start(spectra, config.components, config.sparsity, config.seed)
    objective = [nmf.objective(spectra)]
    with tqdm(total=config.steps, desc="sparse NMF", unit="round") as bar:
        for value in nmf.fit(spectra, config.steps):
            objective.append(value)
            bar.update()
            bar.set_postfix(objective=f"{value / spectra.numel():.5f} a cell")
    order = _by_pitch(nmf.dictionary)
    return (nmf.dictionary[:, order], nmf.activations[order]), objective


def _by_pitch(dictionary: Tensor) -> Tensor:
    """Components from low to high, by the centre of their pattern's energy."""
    bins = torch.arange(len(dictionary), device=dictionary.device, dtype=dictionary.dtype)
    power = dictionary.square()
    return (bins @ power / power.sum(0).clamp_min(1e-12)).argsort()


def _mean_cosine(dictionary: Tensor) -> Tensor:
    """How alike two patterns are on average."""
    gram = dictionary.T @ dictionary
    count = len(gram)
    return (gram.sum() - gram.trace()) / (count * (count - 1))


if __name__ == "__main__":
    with plain_errors():
        main()
