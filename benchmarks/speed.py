"""Measure how long an explanation takes, in units of one encoder pass, and how much memory a long file needs.

    python benchmarks/speed.py                  # writes benchmarks/speed.md; some minutes on two cores
    python benchmarks/speed.py --rounds 3 --long-minutes 1 --out out/speed.md     # a quick look

Also: every method on one clip in seconds, and what captum and grad-cam need for the same work on the same model.

Every round times each task once, in turn, so that a slow moment of the machine meets all of them; medians
over rounds. Run it on a machine that does nothing else.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import count
from pathlib import Path
from statistics import median

import torch
from tqdm import tqdm

from lmaczs import __version__, explain_clip, load_backend, load_clip, load_explainer
from lmaczs.clap.base import CLAPBackend
from lmaczs.errors import LMACError
from lmaczs.explainers import METHODS
from lmaczs.explainers.base import Method
from lmaczs.explainers.gradients import GradientMethod
from lmaczs.hearing import classify, explain, listen
from lmaczs.types import AudioClip
from peers import INTEGRATION_STEPS, SMOOTHGRAD_COPIES, captum_pairs, grad_cam_pairs

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "assets" / "examples" / "siren-and-engine.wav"
PROMPTS = ["a siren wailing", "an engine idling", "a dog barking", "church bells ringing", "rain falling"]
# Methods of at most so many encoder passes for a window are timed from end to end, and on a long recording.
QUICK_PASSES = 10.0
# LMAC-ZS and all gradient methods on one clip, s.
TOGETHER_LIMIT_S = 4.0
OPTIONS = {
    "smoothgrad": {"n": SMOOTHGRAD_COPIES},
    "integrated-gradients": {"steps": INTEGRATION_STEPS},
}
# At most: the slow methods take seconds each.
METHOD_ROUNDS = 5
MEMORY_LIMIT_MB = 1000


@dataclass(frozen=True)
class Task:
    """One thing to time: its name, what it does, and how many encoder passes its method says that it takes."""

    name: str
    work: Callable[[], object]
    passes: float | None = None


def load_methods(backend: CLAPBackend) -> dict[str, Method]:
    """Every method whose weights are at hand for this backend and that takes these prompts."""
    found = {}
    for name in METHODS:
        try:
            method = load_explainer(name, backend, **OPTIONS.get(name, {}))
            method.check_prompts(PROMPTS)
            found[name] = method
        except LMACError as error:
            print(f"left out: {error}", file=sys.stderr)
    return found


def quick_methods(backend: CLAPBackend) -> dict[str, Method]:
    """Methods that need few encoder passes."""
    return {name: method for name, method in load_methods(backend).items() if method.passes() <= QUICK_PASSES}


def tasks(backend: CLAPBackend, clip: AudioClip) -> Iterator[Task]:
    """What is timed; the first one is the unit."""
    recording = listen(clip, backend)
    mel_power = recording.states[0].mel_power[:1]
    fresh = (f"{PROMPTS[0]} number {number}" for number in count())  # never in the cache of sentences

    @torch.no_grad()
    def encode() -> object:
        return backend.encode(mel_power)

    yield Task("encoder, one pass", encode)
    yield Task("listen and classify", lambda: classify(listen(clip, backend), PROMPTS, backend))
    yield Task("text encoder, one new sentence", lambda: backend.encode_text([next(fresh)]))
    for name, explainer in quick_methods(backend).items():
        passes = explainer.passes()
        yield Task(
            f"explain_clip, {name}",
            lambda explainer=explainer: explain_clip(clip, PROMPTS, backend, explainer, measure=False),
            1 + passes,
        )
        yield Task(
            f"one more prompt, {name}",
            lambda explainer=explainer: explain(
                recording, PROMPTS, backend, explainer, target=PROMPTS[1], measure=False
            ),
            passes,
        )
        yield Task(
            f"one more prompt, a sentence never seen, {name}",
            lambda explainer=explainer: explain(
                recording, PROMPTS, backend, explainer, target=next(fresh), measure=False
            ),
            passes,
        )
        yield Task(
            f"explain_clip with its faithfulness numbers, {name}",
            lambda explainer=explainer: explain_clip(clip, PROMPTS, backend, explainer),
            1 + passes + 2,
        )


def method_tasks(backend: CLAPBackend, clip: AudioClip) -> Iterator[Task]:
    """Every method on a recording that is already open; the first ones are to stay below TOGETHER_LIMIT_S together."""
    recording = listen(clip, backend)
    for name, explainer in load_methods(backend).items():
        yield Task(
            name,
            lambda explainer=explainer: explain(recording, PROMPTS, backend, explainer, measure=False),
        )


def peer_tasks(backend: CLAPBackend, clip: AudioClip) -> Iterator[Task]:
    """Ours and a package's in turn; what is not installed is left out."""
    window = listen(clip, backend).states[0]
    for pairs in (
        lambda: grad_cam_pairs(backend, window, PROMPTS[0]),
        lambda: captum_pairs(backend, window, PROMPTS[0], "stft"),
        lambda: captum_pairs(backend, window, PROMPTS[0], "mel"),
    ):
        try:
            for name, ours, theirs in pairs():
                yield Task(name, ours)
                yield Task(f"{name} (package)", theirs)
        except ImportError as error:
            print(f"left out: {error}", file=sys.stderr)


def measure(jobs: list[Task], rounds: int) -> list[float]:
    """Median time of each task, s, after one warm-up round."""
    times: list[list[float]] = [[] for _ in jobs]
    for number in tqdm(range(rounds + 1), desc="rounds", unit="round"):
        for job, values in zip(jobs, times, strict=True):
            started = time.perf_counter()
            job.work()
            if number > 0:
                values.append(time.perf_counter() - started)
    return [median(values) for values in times]


def resident_mb(peak: bool) -> float:
    """Memory of this process, MB: its highest so far, or what it holds now.

    /proc is asked first: `ru_maxrss` of a child begins at what its parent held.
    """
    key = "VmHWM:" if peak else "VmRSS:"
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def memory_of_long_file(minutes: float, method: str) -> dict[str, float]:
    """Explain a long recording here: what it takes above the loaded model, MB, and how long, s."""
    backend = load_backend("compact-2", "cpu")
    backend.encode_text(PROMPTS)
    explainer = load_explainer(method, backend)
    short = load_clip(EXAMPLE)
    samples = round(minutes * 60 * short.sample_rate)
    loaded = resident_mb(peak=False)
    repeats = -(-samples // len(short.waveform))
    clip = AudioClip(short.waveform.repeat(repeats)[:samples], short.sample_rate, "long")
    started = time.perf_counter()
    explain_clip(clip, PROMPTS, backend, explainer, measure=False)
    return {"above_mb": resident_mb(peak=True) - loaded, "seconds": time.perf_counter() - started}


@contextmanager
def two_threads() -> Iterator[None]:
    """Two threads, whatever the machine has, so that numbers of different machines can be compared."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_own_process(minutes: float, method: str) -> dict[str, float]:
    """`memory_of_long_file` in a fresh process, so that nothing measured before counts."""
    command = [sys.executable, __file__, "--memory-of", method, "--long-minutes", str(minutes)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(answer.stdout.splitlines()[-1])


def processor() -> str:
    """Name of the CPU."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def verdict(value: float, limit: float | None) -> str:
    """The limit, and whether it is kept."""
    return "" if limit is None else f"≤ {limit:g} {'✓' if value <= limit else '✗'}"


def method_table(jobs: list[Task], seconds: list[float], together: Sequence[str]) -> list[str]:
    """Seconds of each method, and of some of them together."""
    times = dict(zip((job.name for job in jobs), seconds, strict=True))
    total = sum(times[name] for name in together)
    lines = ["| method, on an open 5 s clip | s | limit |", "|---|---:|---:|"]
    lines += [f"| {name} | {value:.3f} | |" for name, value in times.items()]
    lines.append(f"| **{' + '.join(together)}** | **{total:.3f}** | {verdict(total, TOGETHER_LIMIT_S)} |")
    return lines


def peer_table(jobs: list[Task], seconds: list[float]) -> list[str]:
    """Ours beside the package's, as a ratio."""
    lines = [
        "| work, package | ours, ms | package, ms | ours / package | limit |",
        "|---|---:|---:|---:|---:|",
    ]
    for job, ours, theirs in zip(jobs[::2], seconds[::2], seconds[1::2], strict=True):
        ratio = ours / theirs
        lines.append(
            f"| {job.name} | {1000 * ours:.1f} | {1000 * theirs:.1f} | {ratio:.2f} | {verdict(ratio, 1.0)} |"
        )
    return lines


def report(
    jobs: list[Task],
    seconds: list[float],
    methods: list[str],
    peers: list[str],
    memory: dict[str, dict[str, float]],
    arguments: argparse.Namespace,
) -> str:
    """The Markdown page."""
    unit = seconds[0]
    lines = [
        "# Speed",
        "",
        f"Medians of {arguments.rounds} rounds in one run, CPU, 2 threads, a 5 s clip, compact-2, on "
        f"{date.today()}: {processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}, lmaczs {__version__}.",
        "",
        "```sh",
        f"python benchmarks/speed.py --rounds {arguments.rounds} --long-minutes {arguments.long_minutes:g}",
        "```",
        "",
        "What a method says of itself (`Method.passes`, of which budget and lent GPU are reckoned)",
        "counts the encoder only. Opening the clip, drawing up the sounds and the text encoder come on top.",
        "",
        "| task | ms | measured, in encoder passes | passes of the encoder |",
        "|---|---:|---:|---:|",
    ]
    for job, value in zip(jobs, seconds, strict=True):
        ratio = value / unit
        stated = "" if job.passes is None else f"{job.passes:g}"
        lines.append(f"| {job.name} | {1000 * value:.1f} | {ratio:.2f} | {stated} |")
    lines += [
        "",
        f"SmoothGrad with {SMOOTHGRAD_COPIES} copies, integrated gradients with {INTEGRATION_STEPS} steps, the others "
        f"with their default settings; medians of {min(arguments.rounds, METHOD_ROUNDS)} rounds:",
        "",
        *methods,
        "",
        "The same work by public packages on the same model, window and prompt, in turn with ours. Both sides get frozen",
        "weights; the packages run in their default settings.",
        "",
        *peers,
    ]
    lines += ["", f"A recording of {arguments.long_minutes:g} minutes, in a process of its own:", ""]
    lines += ["| method | peak memory above the loaded model, MB | limit | time, s |", "|---|---:|---:|---:|"]
    for method, row in memory.items():
        above = row["above_mb"]
        lines.append(f"| {method} | {above:.0f} | {verdict(above, MEMORY_LIMIT_MB)} | {row['seconds']:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--long-minutes", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "speed.md")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with two_threads():
        if arguments.memory_of:
            print(json.dumps(memory_of_long_file(arguments.long_minutes, arguments.memory_of)))
            return
        backend = load_backend("compact-2", "cpu")
        jobs = list(tasks(backend, load_clip(EXAMPLE)))
        seconds = measure(jobs, arguments.rounds)
        clip, few = load_clip(EXAMPLE), min(arguments.rounds, METHOD_ROUNDS)
        every, peers = list(method_tasks(backend, clip)), list(peer_tasks(backend, clip))
        together = [
            name
            for name, method in load_methods(backend).items()
            if name == "lmac-zs" or isinstance(method, GradientMethod)
        ]
        methods = method_table(every, measure(every, few), together)
        ratios = peer_table(peers, measure(peers, few))
        minutes = arguments.long_minutes
        named = list(quick_methods(backend))
        memory = {name: in_own_process(minutes, name) for name in tqdm(named, desc="long file")}
    page = report(jobs, seconds, methods, ratios, memory, arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
