"""Measure `explain-many`: the same rows from every engine, what a kill costs, memory and cost per clip.

    python benchmarks/explain_many.py               # writes benchmarks/explain_many.md; some minutes on two cores
    python benchmarks/explain_many.py --clips 60    # a quick look

The clips are made here: tones in noise, 0.5 to 2 s. Every run is a process of its own, the command as a user types it.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas
import psutil
import soundfile
from tqdm import tqdm

KILLED = "one process, killed half-way"
ROOT = Path(__file__).resolve().parents[1]
PROMPTS = ["a siren wailing", "rain falling", "a dog barking", "church bells ringing"]
RATE = 16_000
TIMED = ("seconds",)  # the only column that may differ between runs


@dataclass(frozen=True)
class Run:
    """What one call of the command took.

    Attributes:
        seconds: wall clock.
        cpu_seconds: of the process and its children.
        peak_mb: largest resident memory of the process.
        code: exit code.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    code: int


def make_clips(folder: Path, count: int) -> None:
    """Write `count` recordings, every 100th of them damaged."""
    folder.mkdir(parents=True)
    for index in tqdm(range(count), desc="making clips", unit="clip", disable=None):
        rng = np.random.default_rng(index)
        time_s = np.arange(round(RATE * rng.uniform(0.5, 2))) / RATE
        tone = rng.uniform(0.05, 0.5) * np.sin(2 * np.pi * rng.uniform(100, 4000) * time_s)
        path = folder / f"clip-{index:06d}.wav"
        if index % 100 == 99:
            path.write_bytes(b"no recording")
        else:
            soundfile.write(path, tone + 0.02 * rng.standard_normal(len(time_s)), RATE)


class Command:
    """One call of `explain-many`, from its start to its end."""

    def __init__(self, source: Path, out: Path, arguments: argparse.Namespace, *more: str) -> None:
        self.out = out
        prompts = source.parent / "prompts.txt"
        prompts.write_text("\n".join(PROMPTS) + "\n", "utf-8")
        model = ["--backend", arguments.backend, "--method", arguments.method, "--device", "cpu"]
        command = [
            sys.executable,
            "-m",
            "lmaczs",
            "explain-many",
            str(source),
            "--prompts-file",
            str(prompts),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._start = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, *model, "--out", str(out), *more], env=environment, stdout=subprocess.DEVNULL
        )

    def wait(self) -> Run:
        """Wait for its end, and say what it took: a long benchmark should not be silent."""
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = code = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - self._start
        run = Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, code)
        print(self.out.name, run, flush=True)
        return run


def finished(out: Path) -> dict[str, float]:
    """Seconds of every clip that is done, finished units or not: a clip that is done again has other ones."""
    found = {}
    if (out / "rows").exists():
        rows = pandas.read_parquet(out / "rows", columns=["path", "seconds"])
        found = dict(zip(rows["path"], rows["seconds"].fillna(0.0), strict=True))
    for path in (out / "unfinished").glob("*/*.json"):
        entry = json.loads(path.read_text("utf-8"))
        if "row" in entry:
            found[entry["row"]["path"]] = entry["row"].get("seconds", 0.0)
    return found


def wait_for(out: Path, count: int, command: Command) -> None:
    """Wait until `count` clips are done."""
    while (
        command.process.poll() is None
        and len(list((out / "unfinished").glob("*/*.json"))) + rows_in(out) < count
    ):
        time.sleep(0.2)


def rows_in(out: Path) -> int:
    """Clips in finished units."""
    return (
        len(pandas.read_parquet(out / "rows", columns=["path"]))
        if list((out / "rows").glob("*.parquet"))
        else 0
    )


def kill_a_worker(command: Command) -> int:
    """Kill -9 one Ray worker that belongs to the command; returns how many there were."""
    family = psutil.Process(command.process.pid).children(recursive=True)
    workers = [child for child in family if "MapWorker" in " ".join(child.cmdline() or [child.name()])]
    if workers:
        workers[0].send_signal(signal.SIGKILL)
    return len(workers)


def table(out: Path) -> pandas.DataFrame:
    """All rows, in the order of their paths."""
    return pandas.read_parquet(out / "rows").sort_values("path").reset_index(drop=True)


def largest_difference(one: pandas.DataFrame, other: pandas.DataFrame) -> float:
    """Between the numbers of two tables whose texts and clips are equal; anything else is an error."""
    largest = 0.0
    if list(one["path"]) != list(other["path"]):
        raise SystemExit("the tables hold other clips")
    for column in one.columns.difference(TIMED):
        left, right = one[column], other[column]
        if column == "probabilities":
            left = left.map(lambda values: () if values is None else tuple(values))
            right = right.map(lambda values: () if values is None else tuple(values))
            pairs = [(a, b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True)]
            largest = max(largest, *(abs(a - b) for a, b in pairs))
        elif left.dtype.kind == "f":
            if not (left.isna() == right.isna()).all():
                raise SystemExit(f"column {column} is empty in other rows")
            largest = max(largest, float((left - right).abs().max(skipna=True) or 0.0))
        elif list(left.fillna("")) != list(right.fillna("")):
            raise SystemExit(f"column {column} differs")
    return 0.0 if largest != largest else largest


@dataclass(frozen=True)
class Runs:
    """All runs by their names in the table, the rows of the uninterrupted one, and sentences about the others."""

    table: dict[str, Run]
    rows: pandas.DataFrame
    sentences: list[str]


def run_all(arguments: argparse.Namespace, folder: Path) -> Runs:
    """Explain the clips in one process and on Ray, whole and interrupted.

    Raises:
        SystemExit: a run lost a row, or ended with another exit code.
    """
    count, few = arguments.clips, few_of(arguments)
    source, some = folder / "clips", folder / "some"
    make_clips(source, count)
    some.mkdir()
    for path in sorted(source.iterdir())[:few]:
        shutil.copy(path, some)
    small = Command(some, folder / "small", arguments).wait()
    large = Command(source, folder / "large", arguments).wait()
    rows = table(folder / "large")
    if len(rows) != count or rows["path"].nunique() != count:
        raise SystemExit(f"{len(rows)} rows for {count} clips")
    ray = Command(source, folder / "ray", arguments, "--engine", "ray", "--workers", "2").wait()
    between = largest_difference(rows, table(folder / "ray"))
    ray_killed, about_worker = run_with_a_killed_worker(arguments, folder, rows)
    interrupted, about_rerun = run_interrupted(arguments, folder, rows)
    runs = {
        f"one process, {few} clips": small,
        f"one process, {count} clips": large,
        "Ray, 2 workers": ray,
        "Ray, 2 workers, one of them killed half-way": ray_killed,
        **interrupted,
    }
    expected = 1 if int(rows["error"].notna().sum()) else 0
    if {run.code for name, run in runs.items() if name not in (next(iter(runs)), KILLED)} != {expected}:
        raise SystemExit("a run ended with another exit code than that of failed clips")
    about_ray = (
        f"Largest difference between any number of one process and of Ray: {between:g} (`seconds` left out; texts are "
        "equal)."
    )
    return Runs(runs, rows, [about_ray, about_worker, about_rerun])


def few_of(arguments: argparse.Namespace) -> int:
    """Clips of the small run: a tenth."""
    return max(arguments.clips // 10, 1)


def run_with_a_killed_worker(
    arguments: argparse.Namespace, folder: Path, rows: pandas.DataFrame
) -> tuple[Run, str]:
    """Ray with two workers, of which one is killed half-way."""
    source, out = folder / "clips", folder / "killed-worker"
    command = Command(source, out, arguments, "--engine", "ray", "--workers", "2")
    wait_for(out, arguments.clips // 2, command)
    workers = kill_a_worker(command)
    run = command.wait()
    after = table(out)
    difference = largest_difference(rows, after)
    return (
        run,
        f"After one of {workers} workers was killed: {len(after)} rows, largest difference {difference:g}.",
    )


def run_interrupted(
    arguments: argparse.Namespace, folder: Path, rows: pandas.DataFrame
) -> tuple[dict[str, Run], str]:
    """One process that is killed half-way, and the same command twice more."""
    source, out = folder / "clips", folder / "killed"
    command = Command(source, out, arguments)
    wait_for(out, arguments.clips // 2, command)
    command.process.send_signal(signal.SIGKILL)
    runs = {KILLED: command.wait()}
    before = finished(out)
    runs["the same command again"] = Command(source, out, arguments).wait()
    after = finished(out)
    kept = sum(after[path] == seconds for path, seconds in before.items())
    difference = largest_difference(rows, table(out))
    runs["and once more, with nothing to do"] = Command(source, out, arguments).wait()
    return runs, (
        f"Killed after {len(before)} clips: the rerun left {kept} of these as they were and did "
        f"{arguments.clips - len(before)}; largest difference to the uninterrupted run {difference:g}."
    )


def measure(arguments: argparse.Namespace, folder: Path) -> str:
    """Do all runs; returns the report."""
    found = run_all(arguments, folder)
    count, few, rows = arguments.clips, few_of(arguments), found.rows
    small, large = list(found.table.values())[:2]
    seconds = rows["seconds"].dropna()
    machine = f"{os.cpu_count()} cores" + (", other work running beside" if arguments.busy else "")
    lines = [
        "# Explaining many clips",
        "",
        f"Written by `python benchmarks/explain_many.py --clips {count}` on {date.today()}; {machine}, 1 thread for each "
        f"process. {count} clips of 0.5 to 2 s, {int(rows['error'].notna().sum())} of them damaged on purpose; backend "
        f"`{arguments.backend}`, method `{arguments.method}`, faithfulness scored.",
        "",
        "| run | wall s | CPU s | peak memory MB | exit code |",
        "|---|---:|---:|---:|---:|",
        *(row(name, run, own_process_only=name.startswith("Ray")) for name, run in found.table.items()),
        "",
        "Exit code 1 says that some clips could not be explained (the damaged ones), -9 that the run was killed. Of the "
        "Ray runs, CPU and memory are those of the driver; they include Ray's own start.",
        "",
        f"- Rows: {len(rows)} for {count} clips, every clip once, in every run.",
        *(f"- {sentence}" for sentence in found.sentences),
        f"- Peak memory: {small.peak_mb:.0f} MB for {few} clips, {large.peak_mb:.0f} MB for {count} "
        f"({large.peak_mb / small.peak_mb:.2f} times).",
        f"- Cost: {1000 * seconds.mean():.1f} ms for each clip explained and scored; "
        f"{1000 * seconds.iloc[:few].mean():.1f} ms in the first {few}, "
        f"{1000 * seconds.iloc[-few:].mean():.1f} ms in the last {few}. With the start of the "
        f"program, wall clock: {1000 * small.seconds / few:.1f} ms for each of {few} clips, "
        f"{1000 * large.seconds / count:.1f} ms for each of {count}; CPU: {1000 * small.cpu_seconds / few:.1f} and "
        f"{1000 * large.cpu_seconds / count:.1f} ms; every clip after the first {few}: "
        f"{1000 * (large.cpu_seconds - small.cpu_seconds) / (count - few):.1f} ms of CPU.",
        "",
    ]
    return "\n".join(lines)


def row(name: str, run: Run, own_process_only: bool = False) -> str:
    """One line of the table."""
    mark = " (driver)" if own_process_only else ""
    return (
        f"| {name} | {run.seconds:.1f} | {run.cpu_seconds:.1f}{mark} | {run.peak_mb:.0f}{mark} | {run.code} |"
    )


def main() -> None:
    """Read the flags, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--backend", default="debug")
    parser.add_argument("--method", default="grad-cam++")
    parser.add_argument("--busy", action="store_true", help="say in the report that other work ran beside")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "explain_many.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lmaczs-many-") as folder:
        report = measure(arguments, Path(folder))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(report, "utf-8")
    print(report)


if __name__ == "__main__":
    main()
