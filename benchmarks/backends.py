"""Time every explainer once on each published CLAP at full size, beside the reference's own encoder pass.

    python benchmarks/backends.py                                  # writes benchmarks/backends.md; ~an hour on two cores
    python benchmarks/backends.py --backends laion --methods lmac-zs grad-cam --out out/backends.md

Weights are random (times do not depend on them), so nothing is downloaded. Each backend and method runs in a process of
its own: its peak memory is that of this work alone. Run it on a machine that does nothing else.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from tqdm import tqdm

from lmaczs import __version__, load_explainer
from lmaczs.clap.laion import build_laion
from lmaczs.clap.msclap import VERSION_2022, VERSION_2023, build_msclap
from lmaczs.clap.published import PublishedCLAP
from lmaczs.explainers import EXPLAINERS
from lmaczs.explainers.lmac_zs.explainer import LMACZS, build_decoder, decoder_config
from lmaczs.pipeline import classify, explain, open_recording
from lmaczs.signal.audio import make_clip

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "clap"))  # the references are put together there

from miniatures import BERT, GPT2, LAION_FRONT_END, reference_msclap  # noqa: E402

KINDS = ("msclap-2022", "msclap-2023", "laion")
PROMPTS = ["a siren wailing", "an engine idling", "a dog barking", "church bells ringing", "rain falling"]
ROUNDS = 5
FAST = (None, "lmac-zs", "grad-cam", "grad-cam++", "saliency")  # None: the classification
LIMITS = {
    ("msclap-2022", "classify"): 1.3,
    ("msclap-2022", "lmac-zs"): 3.0,
}  # encoder passes of the reference


def build(kind: str) -> PublishedCLAP:
    """The backend at full size with random weights.

    The text encoder stays without a tokenizer; the prompts' embeddings are put into the cache.
    """
    if kind == "laion":
        from transformers import ClapConfig

        backend = build_laion(kind, ClapConfig(), LAION_FRONT_END, None)
    else:
        backend = build_msclap(VERSION_2022 if kind == "msclap-2022" else VERSION_2023, None)
    generator = torch.Generator().manual_seed(0)
    rows = F.normalize(torch.randn(len(PROMPTS), backend.embed_dim, generator=generator), dim=1)
    backend._text_cache.update(zip(PROMPTS, rows, strict=True))
    return backend.requires_grad_(False)


def build_reference(kind: str) -> Callable[[torch.Tensor], object]:
    """The reference's audio encoder: waveform (1, samples) -> embedding."""
    if kind != "laion":
        model = reference_msclap(kind[-4:], BERT if kind == "msclap-2022" else GPT2).audio_encoder
        return model.requires_grad_(False)
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    clap, extractor = ClapModel(ClapConfig()).eval(), ClapFeatureExtractor.from_dict(LAION_FRONT_END)

    def encode(waveform: torch.Tensor) -> object:
        features = extractor(waveform[0].numpy(), sampling_rate=48000, return_tensors="pt")
        return clap.get_audio_features(input_features=features["input_features"])

    return encode


def seconds_of(work: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak_mb() -> float:
    """Largest resident memory of this process so far, MB."""
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes here
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measure(kind: str, method: str | None) -> dict[str, float]:
    """One clip of the window's length, from the waveform to the decision or to the sound of an explanation's parts.

    Args:
        kind: of the backend.
        method: key in EXPLAINERS; None is the classification.

    Returns:
        seconds; reference, seconds of the reference's encoder pass, taken in turn with it; peak_mb, without the
        reference.
    """
    torch.set_num_threads(2)
    backend = build(kind)
    rate = backend.spectral.sample_rate
    noise = 0.1 * torch.randn(backend.clip_samples, generator=torch.Generator().manual_seed(1))
    clip = make_clip(noise, rate)
    if method == "lmac-zs":
        explainer: Any = LMACZS(backend, build_decoder(backend, decoder_config(backend, "stft")).eval())
    elif method == "optimized-mask":
        explainer = load_explainer(method, backend, rivals=PROMPTS)
    elif method:
        explainer = load_explainer(method, backend)

    def work() -> None:
        recording = open_recording(clip, backend)
        if method is None:
            classify(recording, PROMPTS, backend)
        else:
            explain(recording, PROMPTS, backend, explainer, score=False)

    first, peak = seconds_of(work), peak_mb()
    reference = build_reference(kind)
    with torch.no_grad():
        reference(clip.waveform[None])
        rounds = ROUNDS if method in FAST else 1
        passes, found = [], [first] if rounds == 1 else []
        for _ in range(rounds):
            passes.append(seconds_of(lambda: reference(clip.waveform[None])))
            if rounds > 1:
                found.append(seconds_of(work))
    return {"seconds": median(found), "reference": median(passes), "peak_mb": peak}


def in_own_process(kind: str, method: str | None) -> dict[str, float]:
    """`measure` in a fresh interpreter."""
    command = [sys.executable, __file__, "--measure", kind, *([method] if method else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{kind}, {method or 'classification'} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(kind: str, found: dict[str, dict[str, float]]) -> list[str]:
    """Markdown lines of one backend."""
    lines = [
        f"## {kind}",
        "",
        "| task | s | encoder passes of the reference | limit | peak memory, MB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, values in found.items():
        ratio, limit = values["seconds"] / values["reference"], LIMITS.get((kind, name))
        verdict = "" if limit is None else f"≤ {limit:g} {'✓' if ratio <= limit else '✗'}"
        lines.append(
            f"| {name} | {values['seconds']:.2f} | {ratio:.2f} | {verdict} | {values['peak_mb']:.0f} |"
        )
    return [*lines, ""]


def main() -> None:
    """Measure, and write the table after each backend."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backends", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--methods", nargs="+", choices=list(EXPLAINERS), default=list(EXPLAINERS))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "backends.md")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        kind, *method = arguments.measure
        print(json.dumps(measure(kind, method[0] if method else None)))
        return
    machine = (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    )
    lines = [
        "# Published CLAPs at full size",
        "",
        "One clip of the window's length, random weights, CPU, 2 threads; from the waveform to the sound of the parts, "
        f"without faithfulness numbers. Medians of {ROUNDS} rounds for the fast methods, one round for the others, all "
        f"with their default settings. {date.today()}, {machine}, lmaczs {__version__}.",
        "",
    ]
    for kind in arguments.backends:
        tasks = [None, *arguments.methods]
        found = {
            task or "classify": in_own_process(kind, task) for task in tqdm(tasks, desc=kind, leave=False)
        }
        lines += table(kind, found)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text("\n".join(lines), "utf-8")


if __name__ == "__main__":
    main()
