"""Time every explainer once on each published CLAP at full size, beside the reference's own encoder pass.

    python benchmarks/backends.py                              # writes benchmarks/backends.md and .json; 12 minutes
    python benchmarks/backends.py                              # the same again goes on with the rows that are missing
    python benchmarks/backends.py --backends laion --methods lmac-zs grad-cam --out out/backends.md

Weights are random (times do not depend on them), so nothing is downloaded. Each row is measured in a process of its own:
its peak memory is that of this work alone. The reference's pass is timed beside each row, in turn with it, so that the
ratio holds on a machine that is also doing something else. Methods that need hundreds of passes run from end to end with
fewer (`SHORT`); what they need with their default settings is worked out from that and marked as such.
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
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from tqdm import tqdm

from lmaczs import __version__, load_explainer
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.dasheng import DashengConfig
from lmaczs.clap.glap import FILTERS, GRID, build_glap
from lmaczs.clap.laion import build_laion
from lmaczs.clap.msclap import VERSION_2022, VERSION_2023, build_msclap
from lmaczs.clap.sonar import SonarConfig
from lmaczs.explainers import METHODS
from lmaczs.explainers.base import Method
from lmaczs.explainers.l2i.explainer import L2I, interpreter_config
from lmaczs.explainers.l2i.networks import Interpreter
from lmaczs.explainers.lmac_zs.guided import GuidedDecoder, GuidedLMACZS, guided_config
from lmaczs.hearing import classify, explain, listen
from lmaczs.signal.audio import make_clip
from lmaczs.signal.spectral import mel_filterbank

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "clap"))  # the references are put together there

from miniatures import BERT, GPT2, LAION_FRONT_END, reference_msclap  # noqa: E402
from reference_glap import reference_dasheng  # noqa: E402

KINDS = ("msclap-2022", "msclap-2023", "laion", "glap")
# Text encoders are not measured: one layer, so that their memory is none of the audio's.
SMALL_SONAR = SonarConfig(vocabulary=300, layers=1)
CLASSIFY = "classify"  # the row without an explainer
PROMPTS = ["a siren wailing", "an engine idling", "a dog barking", "church bells ringing", "rain falling"]
ROUNDS = 5
# Of L2I.
COMPONENTS = 100
# A further prompt for a recording that was heard already.
NEXT = "lmac-any, one more prompt"
FAST = (CLASSIFY, "lmac-zs", "lmac-any", "l2i", "grad-cam", "grad-cam++", "saliency")
# Fewer passes than by default; not fewer than go through the encoder at once, so that the peak of memory is the same.
SHORT: dict[str, dict[str, int]] = {
    "smoothgrad": {"n": 8},
    "integrated-gradients": {"steps": 10},
    "occlusion": {"overlap": 1},
    "rise": {"n": 32},
    "slime": {"n": 32},
    "optimized-mask": {"steps": 4},
}
# What is trained for a closed set has nothing to run here; the shapes of a decoder and of an interpreter are known.
MEASURED = tuple(name for name in METHODS if name in (*FAST, *SHORT))
# Encoder passes of the reference.
LIMITS = {CLASSIFY: 1.3, "lmac-any": 4.0, NEXT: 3.0}


@dataclass(frozen=True)
class Row:
    """What was measured for one backend and one task.

    Attributes:
        seconds: of the task, from the waveform to the decision or to the sound of an explanation's parts.
        passes: the same in encoder passes of the reference, timed beside it.
        share: of the method's default amount of work that was done, in (0, 1].
        peak_mb: resident memory of the process, without the reference.
        options: of the method, where they are not the default ones.
    """

    seconds: float
    passes: float
    share: float
    peak_mb: float
    options: dict[str, int]


class Bytes:
    """In place of a tokenizer: prompts are counted, but their embeddings come from the cache."""

    def num_special_tokens_to_add(self) -> int:
        """Marks around a prompt."""
        return 2

    def __call__(self, prompt: str, **_: object) -> dict[str, list[int]]:
        """A token for each byte."""
        return {"input_ids": self.ids(prompt)}

    def ids(self, prompt: str) -> list[int]:
        """The same for SONAR."""
        return list(prompt.encode())


def build(kind: str) -> CLAPBackend:
    """The backend at full size with random weights; the prompts' embeddings are put into the cache."""
    backend: CLAPBackend
    if kind == "laion":
        from transformers import ClapConfig

        backend = build_laion(kind, ClapConfig(), LAION_FRONT_END, Bytes())
    elif kind == "glap":
        filters = mel_filterbank(GRID).T
        backend = build_glap(DashengConfig(), SMALL_SONAR, Bytes(), {FILTERS: filters})
    else:
        backend = build_msclap(VERSION_2022 if kind == "msclap-2022" else VERSION_2023, Bytes())
    generator = torch.Generator().manual_seed(0)
    rows = F.normalize(torch.randn(len(PROMPTS), backend.embed_dim, generator=generator), dim=1)
    backend._text_cache.update(zip(PROMPTS, rows, strict=True))
    return backend.requires_grad_(False)


def build_reference(kind: str) -> Callable[[torch.Tensor], object]:
    """The reference's audio encoder: waveform (1, samples) -> embedding."""
    if kind == "glap":
        return reference_dasheng()
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


def prepare(backend: CLAPBackend, name: str) -> tuple[Method, float]:
    """The method with the settings of this benchmark, and its share of the default amount of work."""
    if name == "lmac-zs":
        network = GuidedDecoder(guided_config(backend)).eval()
        return GuidedLMACZS(backend, network=network, needed_gain=0.0), 1.0
    if name == "l2i":
        generator = torch.Generator().manual_seed(2)
        dictionary = F.normalize(torch.rand(backend.spectral.n_bins, COMPONENTS, generator=generator), dim=0)
        interpreter = Interpreter(interpreter_config(backend, COMPONENTS), dictionary).eval()
        return L2I(backend, interpreter=interpreter), 1.0
    method = load_explainer(name, backend, **SHORT.get(name, {}))
    return method, method.passes() / load_explainer(name, backend).passes()


def measure(kind: str, task: str) -> Row:
    """One clip of the window's length, from the waveform to the decision or to the sound of an explanation's parts.

    Args:
        kind: of the backend.
        task: `CLASSIFY`, `NEXT` or a key of METHODS.
    """
    torch.set_num_threads(2)
    backend = build(kind)
    noise = 0.1 * torch.randn(backend.clip_samples, generator=torch.Generator().manual_seed(1))
    clip = make_clip(noise, backend.spectral.sample_rate)
    explainer, share = (None, 1.0) if task == CLASSIFY else prepare(backend, task.partition(",")[0])
    heard = listen(clip, backend) if task == NEXT else None

    def work() -> None:
        recording = heard or listen(clip, backend)
        if explainer is None:
            classify(recording, PROMPTS, backend)
        else:
            explain(recording, PROMPTS, backend, explainer, measure=False)

    first, peak = seconds_of(work), peak_mb()
    reference = build_reference(kind)

    def one_pass() -> float:
        return seconds_of(lambda: reference(clip.waveform[None]))

    with torch.no_grad():
        one_pass()  # the first one is slower
        if task in (*FAST, NEXT):
            rounds = [(one_pass(), seconds_of(work)) for _ in range(ROUNDS)]
        else:
            rounds = [(median(one_pass() for _ in range(3)), first)]
    return Row(
        seconds=median(found for _, found in rounds),
        passes=median(found / alone for alone, found in rounds),
        share=share,
        peak_mb=peak,
        options=SHORT.get(task, {}),
    )


def in_own_process(kind: str, task: str) -> dict[str, Any]:
    """`measure` in a fresh interpreter."""
    command = [sys.executable, __file__, "--measure", kind, task]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{kind}, {task} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(kind: str, found: dict[str, dict[str, Any]]) -> list[str]:
    """Markdown lines of one backend; rows that are not measured yet are left out."""
    lines = [
        f"## {kind}",
        "",
        "| task | with | s | encoder passes | limit | passes with default settings | peak memory, MB |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in found.items():
        passes, limit = row["passes"], LIMITS.get(name)
        verdict = "" if limit is None else f"≤ {limit:g} {'✓' if passes <= limit else '✗'}"
        settings = ", ".join(f"{key} {value}" for key, value in row["options"].items())
        default = f"{passes:.1f}"
        if row["share"] < 1:  # hearing the clip once, and the same work more often
            default = f"≈ {1 + (passes - 1) / row['share']:.0f}"
        lines.append(
            f"| {name} | {settings or 'defaults'} | {row['seconds']:.2f} | {passes:.2f} | {verdict} | {default} | "
            f"{row['peak_mb']:.0f} |"
        )
    return [*lines, ""]


def report(rows: dict[str, dict[str, dict[str, Any]]], path: Path) -> None:
    """Write the tables, and the rows beside them."""
    machine = (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    )
    lines = [
        "# Published CLAPs at full size",
        "",
        "Made by `python benchmarks/backends.py`. One clip of the window's length, random weights, CPU, 2 threads; from "
        "the waveform to the decision, or to the sound of the parts, without faithfulness numbers. Encoder passes are "
        "those of the reference code (the packages msclap and dasheng, transformers' `ClapModel`), timed in turn with "
        f"the row: medians of {ROUNDS} rounds where all settings are the default ones, one round otherwise. Methods "
        "that need hundreds of passes ran with fewer (column *with*); what their default settings take follows from "
        "that (≈). "
        f"{date.today()}, {machine}, lmaczs {__version__}.",
        "",
    ]
    for kind in KINDS:
        if rows.get(kind):
            lines += table(kind, rows[kind])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), "utf-8")
    path.with_suffix(".json").write_text(json.dumps(rows, indent=2) + "\n", "utf-8")


def main() -> None:
    """Measure what is missing, and write the tables after each row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backends", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--methods", nargs="+", choices=MEASURED, default=MEASURED)
    parser.add_argument("--again", action="store_true", help="measure also what the results hold already")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "backends.md")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(asdict(measure(*arguments.measure))))
        return
    stored = arguments.out.with_suffix(".json")
    rows = json.loads(stored.read_text("utf-8")) if stored.exists() else {}
    tasks = [(kind, task) for kind in arguments.backends for task in (CLASSIFY, *arguments.methods, NEXT)]
    for kind, task in (bar := tqdm(tasks, unit="row")):
        bar.set_postfix_str(f"{kind}, {task}")
        known = rows.setdefault(kind, {})
        if arguments.again or task not in known:
            known[task] = in_own_process(kind, task)
            rows[kind] = {name: known[name] for name in (CLASSIFY, *MEASURED, NEXT) if name in known}
            report(rows, arguments.out)


if __name__ == "__main__":
    main()
