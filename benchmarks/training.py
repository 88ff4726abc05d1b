"""Measure training: the batched loss of eq. 6 and 7 against loops over pairs, what speeds it up, and one Clotho epoch.

    python benchmarks/training.py                     # writes benchmarks/training.md; some minutes on two cores
    python benchmarks/training.py --rounds 2 --skip-full-size --out out/training.md        # a quick look

Every round runs each way once, in turn, so that a slow moment of the machine meets all of them; medians over rounds. The
compact CLAP has its shipped weights, the CLAP of the paper has random ones at full size: times do not depend on them. A
GPU is used where there is one.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs import __version__, load_backend
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.msclap import VERSION_2022, build_msclap
from lmaczs.explainers.lmac_zs.decoder import LMACZSDecoder
from lmaczs.explainers.lmac_zs.explainer import build_decoder, decoder_config
from lmaczs.explainers.lmac_zs.loss import decode_pairs, paper_loss, view_spectrogram
from lmaczs.explainers.masked_sound import encode_masked
from lmaczs.types import AudioState

ROOT = Path(__file__).resolve().parents[1]
BATCH = 6
WEIGHTS = (0.1, 0.1)  # lambda 1 and 2
CLOTHO_CLIPS, CLOTHO_CAPTIONS = 3839, 5
PAPER_BATCH = 2
PAPER = "1 hour on an RTX 3090, as the paper says"
RATIO_LIMIT = 3.0


@dataclass(frozen=True)
class Task:
    """A training step up to the gradient.

    Attributes:
        backend: frozen.
        decoder: in training.
        waveform: (batch, clip_samples).
        text: (batch, embed_dim), unit norm.
    """

    backend: CLAPBackend
    decoder: LMACZSDecoder
    waveform: Tensor
    text: Tensor

    @torch.no_grad()
    def analyze(self) -> AudioState:
        """The windows, encoded once."""
        return self.backend.analyze(self.waveform)


@dataclass(frozen=True)
class Measure:
    """Medians over rounds.

    Attributes:
        wall_s: seconds on the clock.
        cpu_s: seconds of all cores together; on a busy machine the fairer one.
    """

    wall_s: float
    cpu_s: float


def make_task(backend: CLAPBackend, batch: int) -> Task:
    """Noise and random sentences: what they are makes no difference to time."""
    backend.requires_grad_(False)
    torch.manual_seed(0)
    device = backend.mel_filters.device
    decoder = build_decoder(backend, decoder_config(backend, "stft")).to(device)
    waveform = 0.1 * torch.randn(batch, backend.clip_samples, device=device)
    text = torch.nn.functional.normalize(torch.randn(batch, backend.embed_dim, device=device), dim=1)
    return Task(backend, decoder, waveform, text)


def batched(task: Task, at_once: int = 0) -> float:
    """All pairs in one pass, as `train/train_lmac_zs.py --objective paper` does it."""
    report = paper_loss(task.backend, task.decoder, task.analyze(), task.text, *WEIGHTS, at_once=at_once)
    loss = report["loss/faithfulness"] + report["loss/sparsity"] + report["loss/diversity"]
    loss.backward()
    return loss.item()


def masked(task: Task, audio: AudioState, i: int, j: int) -> tuple[Tensor, Tensor]:
    """f_audio(M(t_i, h_j) * X_j) (embed_dim,) and the mean of the mask, for one pair."""
    row = audio[slice(j, j + 1)]
    view = view_spectrogram(row, "stft")
    first = torch.zeros(1, dtype=torch.int64)
    mask = torch.sigmoid(decode_pairs(task.decoder, row, view, first, task.text[i : i + 1]).logits)
    return encode_masked(task.backend, row, first, mask, "stft")[0], mask.mean()


def loop_as_written(task: Task) -> float:
    """Eq. 6 and 7 as two sums, each term with the masks that stand in it; windows are encoded once."""
    audio, count, total = task.analyze(), len(task.text), 0.0
    for i in range(count):
        for j in range(count):
            embedding, area = masked(task, audio, i, j)
            similarity = task.text[i] @ audio.embedding[j]
            term = (similarity - task.text[i] @ embedding).abs() + WEIGHTS[0] * area
            (term / count**2).backward()
            total += term.item() / count**2
    for i in range(count):
        for j in range(count):
            if i != j:
                crossed = masked(task, audio, i, i)[0] @ masked(task, audio, j, i)[0]
                term = WEIGHTS[1] * (task.text[i] @ task.text[j] - crossed).abs() / count**2
                term.backward()
                total += term.item()
    return total


def loop_once(task: Task) -> float:
    """A loop that makes every mask once and keeps it for eq. 7; needs the memory of the batched pass."""
    audio, count = task.analyze(), len(task.text)
    found = {(i, j): masked(task, audio, i, j) for i in range(count) for j in range(count)}
    total = torch.zeros((), device=task.text.device)
    for (i, j), (embedding, area) in found.items():
        term = (task.text[i] @ audio.embedding[j] - task.text[i] @ embedding).abs() + WEIGHTS[0] * area
        total = total + term / count**2
        if i != j:
            crossed = found[i, i][0] @ found[j, i][0]
            total = total + WEIGHTS[1] * (task.text[i] @ task.text[j] - crossed).abs() / count**2
    total.backward()
    return total.item()


def encoder_only(task: Task) -> None:
    """The masked sounds' way through the frozen encoder and back, without the decoder."""
    audio, count = task.analyze(), len(task.text)
    rows = torch.arange(count).repeat(count)
    mask = torch.full((count**2, *audio.stft.shape[1:]), 0.5, device=task.text.device, requires_grad=True)
    encode_masked(task.backend, audio, rows, mask, "stft").sum().backward()


def compare(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, Measure]:
    """Each way once a round, in turn; the first round warms up and does not count."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in tqdm(range(rounds + 1), desc=next(iter(ways)), unit="round"):
        for name, work in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: Measure(median(t[0] for t in found), median(t[1] for t in found))
        for name, found in times.items()
    }


def kept_megabytes(work: Callable[[], object]) -> float:
    """What a forward pass keeps for the backward pass."""
    total = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal total
        total += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        work()
    return total / 1e6


def portion_megabytes(task: Task) -> float:
    """What a portion of as many pairs as there are windows keeps, when its turn in the backward pass has come."""
    audio, first = task.analyze(), torch.zeros(len(task.text), dtype=torch.int64, device=task.text.device)
    return kept_megabytes(
        lambda: paper_loss(task.backend, task.decoder, audio, task.text[:1], *WEIGHTS, own=first)
    )


def channels_last(task: Task) -> Task:
    """The same with both networks' weights in channels-last order."""
    other = make_task(load_backend("compact-2", str(task.text.device)), len(task.text))
    other.backend.to(memory_format=torch.channels_last)
    other.decoder.to(memory_format=torch.channels_last)
    return other


def in_bf16(task: Task) -> float:
    """The batched loss as `--mixed-precision bf16` runs it."""
    with torch.autocast(task.text.device.type, torch.bfloat16):
        return batched(task)


def compiled(task: Task) -> Task:
    """The same with the decoder through torch.compile."""
    return Task(task.backend, torch.compile(task.decoder), task.waveform, task.text)


def loops_table(task: Task, rounds: int) -> list[str]:
    """The batched loss against loops."""
    count = len(task.text) ** 2
    ways = {
        "batched, one pass over all pairs": lambda: batched(task),
        "loop, every mask made once": lambda: loop_once(task),
        "loop over the terms of eq. 6 and 7 as written": lambda: loop_as_written(task),
    }
    found = compare(ways, rounds)
    first = found["batched, one pass over all pairs"]
    lines = [f"## The loss of eq. 6 and 7, {len(task.text)} texts x {len(task.text)} windows", ""]
    lines += [
        "| how | pairs per second | times slower | CPU seconds | times as many |",
        "|---|---|---|---|---|",
    ]
    for name, measure in found.items():
        slower = measure.wall_s / first.wall_s
        mark = f" (≥ {RATIO_LIMIT:g} {'✓' if slower >= RATIO_LIMIT else '✗'})" if "as written" in name else ""
        lines.append(
            f"| {name} | {count / measure.wall_s:.2f} | {slower:.2f}{mark} | {measure.cpu_s:.2f} | "
            f"{measure.cpu_s / first.cpu_s:.2f} |"
        )
    losses = [batched(task), loop_once(task), loop_as_written(task)]
    lines += ["", f"All three give the same loss: {', '.join(f'{loss:.5f}' for loss in losses)}.", ""]
    return lines


def options_table(task: Task, rounds: int, with_compile: bool) -> list[str]:
    """What speeds the batched loss up, or makes it smaller."""
    portion = len(task.text)
    last = channels_last(task)
    ways = {
        "as it is (float32)": lambda: batched(task),
        "channels-last": lambda: batched(last),
        "bf16 (`--mixed-precision bf16`)": lambda: in_bf16(task),
        f"`--pairs-at-once {portion}`": lambda: batched(task, portion),
    }
    if with_compile:
        quick = compiled(task)
        ways["decoder through torch.compile"] = lambda: batched(quick)
    found = compare(ways, rounds)
    first = found["as it is (float32)"]
    lines = [
        "## What helps",
        "",
        "| option | times as fast | CPU time | kept for the backward pass, MB |",
        "|---|---|---|---|",
    ]
    for name, measure in found.items():
        kept = ""
        if "pairs-at-once" in name:
            kept = f"{portion_megabytes(task):.0f} at a time"
        elif "compile" not in name:
            kept = f"{kept_megabytes(ways[name]):.0f}"
        lines.append(
            f"| {name} | {first.wall_s / measure.wall_s:.2f} | {measure.cpu_s / first.cpu_s:.2f} | {kept} |"
        )
    return [*lines, ""]


def epoch_table(tasks: dict[str, Task], rounds: int) -> list[str]:
    """One Clotho epoch, from the time of a step with the paper's batch."""
    pairs = CLOTHO_CLIPS * CLOTHO_CAPTIONS
    steps = -(-pairs // PAPER_BATCH)
    lines = [
        f"## One Clotho epoch: {CLOTHO_CLIPS} clips x {CLOTHO_CAPTIONS} captions, {steps} steps of {PAPER_BATCH}",
        "",
        "| CLAP | seconds per step | clips per second | share of the encoder | an epoch, extrapolated |",
        "|---|---|---|---|---|",
    ]
    for name, task in tasks.items():
        if task.text.is_cuda:
            torch.cuda.reset_peak_memory_stats()
        found = compare({name: lambda: batched(task), "encoder": lambda: encoder_only(task)}, rounds)  # noqa: B023
        step, share = found[name].wall_s, found["encoder"].cpu_s / found[name].cpu_s
        if task.text.is_cuda:
            share = found["encoder"].wall_s / step
            name += f", {torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
        lines.append(
            f"| {name} | {step:.2f} | {PAPER_BATCH / step:.2f} | {100 * share:.0f} % | {steps * step / 3600:.1f} hours |"
        )
    return [*lines, f"| the paper's | | | | {PAPER} |", ""]


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "training.md")
    parser.add_argument("--skip-full-size", action="store_true", help="leave out the paper's CLAP")
    parser.add_argument("--skip-compile", action="store_true", help="leave out torch.compile")
    arguments = parser.parse_args()
    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    if not gpu:
        torch.set_num_threads(2)
    load = os.getloadavg()[0]
    compact = load_backend("compact-2", device)
    task = make_task(compact, BATCH)
    lines = loops_table(task, arguments.rounds)
    lines += options_table(task, arguments.rounds, not arguments.skip_compile)
    tasks = {"compact-2, 5 s at 32 kHz": make_task(compact, PAPER_BATCH)}
    if not arguments.skip_full_size:
        full = build_msclap(VERSION_2022, None).to(device)
        tasks["msclap-2022 (the paper's), 5 s at 44.1 kHz"] = make_task(full, PAPER_BATCH)
    lines += epoch_table(tasks, arguments.rounds)
    flags = f" --rounds {arguments.rounds}"  # and not --out, which may tell of somebody's machine
    flags += " --skip-full-size" * arguments.skip_full_size + " --skip-compile" * arguments.skip_compile
    where = torch.cuda.get_device_name() if gpu else f"{torch.get_num_threads()} CPU threads, no GPU at hand"
    head = [
        "# Training",
        "",
        f"Written by `python benchmarks/training.py{flags}` on {date.today()}: "
        f"lmaczs {__version__}, torch {torch.__version__}, Python {platform.python_version()}, {where}. Medians of "
        f"{arguments.rounds} rounds. Load when it began: {load:.1f}; where other work runs "
        "beside it, ratios of CPU seconds say more than those of the clock.",
        "",
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join([*head, *lines]).rstrip() + "\n", "utf-8")
    print(arguments.out.read_text("utf-8"))


if __name__ == "__main__":
    main()
