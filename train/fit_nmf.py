"""Learn the dictionary of L2I: sparse NMF of log-magnitude spectra (Parekh et al. 2022, eq. 5).

    python train/fit_nmf.py --clips data/clips.csv --hold-out esc50:4 --out assets/releases/l2i-nmf-compact

Frames are drawn from clips as the other trainings draw them, quiet ones left out, on the backend's own STFT grid and
with the level normalisation that the explainer has too. Runs on a GPU where there is one.
"""

import argparse
import sys
from pathlib import Path

if not __package__:  # started as a file: put the repository in the place of this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs import load_backend
from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.l2i.interpretation import log_magnitude
from lmaczs.explainers.l2i.nmf import SparseNMF
from lmaczs.hub import save_release
from lmaczs.signal.spectral import stft
from train.clips import read_clips, split_clips
from train.model_card import render, sources_of
from train.plain_errors import plain_errors
from train.windows import BATCH, ClipStore, open_store

KIND = "nmf"
FLOOR_DB = -50.0  # frames quieter than this below the window's loudest are left out
FRAMES_EACH = 8  # of a window


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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, required=True, help="CSV of path, captions")
    parser.add_argument("--out", type=Path, required=True, help="release folder to write")
    parser.add_argument("--cache", type=Path, help="folder for decoded clips; beside --out if missing")
    parser.add_argument("--hold-out", action="append", default=[], help="dataset:fold never learnt from")
    parser.add_argument(
        "--emphasis", action="append", default=[], help="dataset[:label]=factor, drawn more often"
    )
    parser.add_argument("--backend", default="compact")
    parser.add_argument("--components", type=int, default=100, help="K")
    parser.add_argument("--sparsity", type=float, default=0.8, help="mu")
    parser.add_argument("--columns", type=int, default=40_000, help="frames to learn from")
    parser.add_argument("--steps", type=int, default=300, help="rounds of updates at most")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()

    backend = load_backend(flags.backend)
    train, _ = split_clips(read_clips(flags.clips), flags.hold_out)
    cache = flags.cache or flags.out.parent / f"{flags.out.name}-cache"
    store = open_store(train, backend, cache, tuple(flags.emphasis))
    spectra = draw_spectra(store, backend, flags.columns, flags.seed)
    fit = SparseNMF.start(spectra, flags.components, flags.sparsity, flags.seed)
    objective = [fit.objective(spectra)]
    with tqdm(total=flags.steps, desc="sparse NMF", unit="round") as bar:
        for value in fit.fit(spectra, flags.steps):
            objective.append(value)
            bar.update()
            bar.set_postfix(objective=f"{value / spectra.numel():.5f} a cell")
    order = _by_pitch(fit.dictionary)
    dictionary, active = fit.dictionary[:, order], fit.activations[order]
    error = (spectra - dictionary @ active).norm() / spectra.norm()
    numbers = {
        "relative_error": float(error),
        "active_share": float((active > 1e-3 * active.amax()).float().mean()),
        "mean_cosine": float(_mean_cosine(dictionary)),
    }
    settings = {key: value for key, value in vars(flags).items() if key not in ("clips", "out", "cache")}
    training = {
        "settings": settings,
        "steps": len(objective) - 1,
        "continues_another_run": False,
        "objective": objective,
        "fit": numbers,
        "sources": sources_of(flags.clips, {clip.path for clip in train}),
    }
    config = {"backend": backend.name, "components": flags.components, "sparsity": flags.sparsity}
    save_release(flags.out, KIND, config, {"dictionary": dictionary.cpu()}, training=training)
    (flags.out / "README.md").write_text(render(flags.out), "utf-8")
    print(numbers)


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
