"""Twenty visitors at once: `python benchmarks/visitors.py` writes benchmarks/visitors.md, visitors.json and visitors.png.

The page runs as `python app.py` does; the crowd comes over loopback and stops by itself. Files are kept for three
minutes instead of half an hour, so that their end can be seen.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "ui"))  # the page server of the browser tests
import numpy as np  # noqa: E402
import soundfile  # noqa: E402
from page_server import running_page  # noqa: E402

from crowd import RATE, Diary, crowd  # noqa: E402
from rude import CANARY, leave_half_way, send_nonsense, wait_for_the_one_who_left  # noqa: E402

KEEP_S, SAMPLE_S = 180, 2
# Of the sounds and sentences in crowd.py.
CANARIES = ("visitor-", "machine number", "the voice of person")
WARM_UP = 8  # visitors, before memory counts
LABELS = {
    "page": "page (its protocol, no browser)",
    "program": "program (`/explain`)",
    "browser": "page in Chromium",
    "other": "programs that leave half-way, and malformed calls",
}


class Watch:
    """Samples the memory and the files of a server while a crowd is there."""

    def __init__(self, process: int, files: Path) -> None:
        self.process, self.files = process, files
        self.samples: list[tuple[float, float, int, float]] = []  # seconds, MB, files, MB
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._start = time.monotonic()
        self._thread.start()

    def sample(self) -> tuple[float, float, int, float]:
        """Seconds since the start, memory in MB, number of files, MB of files."""
        pages = int(Path(f"/proc/{self.process}/statm").read_text().split()[1])
        memory = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        sizes = []
        for folder, _, names in os.walk(self.files):
            for name in names:
                with contextlib.suppress(OSError):  # deleted a moment ago
                    sizes.append(os.stat(os.path.join(folder, name)).st_size)
        return (
            round(time.monotonic() - self._start, 1),
            round(memory, 1),
            len(sizes),
            round(sum(sizes) / 1e6, 2),
        )

    def end(self) -> None:
        """Stop sampling."""
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self.samples.append(self.sample())


def children() -> set[int]:
    """Processes that this one has started."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(number) for path in lists for number in path.read_text().split()}


def measure(
    pages: int, programs: int, browsers: int, rude: int, minutes: float, keep_s: float
) -> dict[str, Any]:
    """Start the page, let the crowd in, and look at what it leaves behind."""
    others = [leave_half_way] * rude + [send_nonsense] * rude
    with TemporaryDirectory() as name:
        home, files = Path(name), Path(name, "files")
        files.mkdir()
        environment = {"TMPDIR": str(files), "LMACZS_KEEP_MINUTES": str(keep_s / 60)}
        before = children()
        with running_page(home, environment=environment) as url:
            (process,) = children() - before
            watch = Watch(process, files)
            untouched = watch.sample()
            crowd(url, WARM_UP, 0, 0, 0)
            at_start, load = watch.sample(), os.getloadavg()[0]
            diaries = crowd(url, pages, programs, browsers, 60 * minutes, HERE / "visitors.png", others)
            at_end = watch.sample()
            time.sleep(1.5 * keep_s)  # the last file's time, and the pause between two sweeps
            rested = watch.sample()
            # Caches fill up with the first crowd; what a second one adds to them is what never ends.
            again = crowd(url, pages, programs, browsers, 60 * minutes, others=others)
            time.sleep(1.5 * keep_s)
            rested_again = watch.sample()
            sound = home / "minute.wav"
            soundfile.write(sound, np.random.default_rng(0).normal(0, 0.1, 60 * RATE), RATE)
            waits_s = [round(wait_for_the_one_who_left(url, str(sound)), 2) for _ in range(5)]
            watch.end()
        log = (home / "server.log").read_text("utf-8")
        # Names, sentences and sounds of visitors, and all that the rude ones send.
        told = sorted({word for word in (CANARY, *CANARIES) if word in log})
        left = sorted(str(path.relative_to(files)) for path in files.rglob("*") if path.is_file())
    return {
        "visitors": {"page": pages, "program": programs, "browser": browsers, "other": 2 * rude},
        "waits_for_the_one_who_left_s": waits_s,
        "log_bytes": len(log.encode()),
        "log_tells": told,
        "minutes": minutes,
        "keep_s": keep_s,
        "cpus": os.cpu_count(),
        "load": round(load, 1),
        "untouched": untouched,
        "at_start": at_start,
        "at_end": at_end,
        "rested": rested,
        "rested_again": rested_again,
        "samples": watch.samples,
        "left_after_the_end": left,
        "kinds": {kind: summary([diary for diary in diaries if diary.kind == kind]) for kind in LABELS},
        "answers_again": sum(len(diary.seconds) for diary in again),
        "wrong": [text for diary in (*diaries, *again) for text in diary.wrong],
    }


def summary(diaries: list[Diary]) -> dict[str, Any]:
    """Answers of one kind of visitor."""
    seconds = sorted(value for diary in diaries for value in diary.seconds)
    places = [value for diary in diaries for value in diary.places]
    if not seconds:
        return {"answers": 0}
    return {
        "answers": len(seconds),
        "fewest": min(len(diary.seconds) for diary in diaries),
        "median_s": round(statistics.median(seconds), 1),
        "p95_s": round(seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))], 1),
        "slowest_s": round(seconds[-1], 1),
        "told_a_place": len(places),
        "largest_place": max(places, default=0),
    }


def render(row: dict[str, Any]) -> str:
    """The figures as a page of text."""
    total = sum(row["visitors"].values())
    lines = [
        f"# {total} visitors at once",
        "",
        f"Written by `python benchmarks/visitors.py`: {row['minutes']:g} minutes on {row['cpus']} cores, over loopback, "
        "with the embedded classifier. The crowd shares the cores with the server. Each visitor brings a sound and "
        "sentences that no other has, asks, waits, checks the answer (name, sentences, and that the two parts add up to "
        f"the own sound, sample by sample) and asks again. Load average of the machine when they came: {row['load']}.",
        "",
        "| visitors | n | answers | fewest each | median | 95 % | slowest | told a place in line | largest place |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for kind, label in LABELS.items():
        found = row["kinds"][kind]
        if found["answers"]:
            lines.append(
                f"| {label} | {row['visitors'][kind]} | {found['answers']} | {found['fewest']} | {found['median_s']} s | "
                f"{found['p95_s']} s | {found['slowest_s']} s | {found['told_a_place']} | {found['largest_place']} |"
            )
    lines += [
        "",
        f"- **Errors and mixed-up answers**: {len(row['wrong'])}"
        + ("." if not row["wrong"] else ":" + "".join(f"\n  - {text}" for text in row["wrong"][:20])),
        f"- **Memory of the server**: {row['at_start'][1]:.0f} MB after {WARM_UP} visitors that warmed it up; "
        f"{', '.join(f'{value:.0f}' for value in by_minute(row))} MB at the end of each minute; "
        f"{row['rested'][1]:.0f} MB after a rest; {row['rested_again'][1]:.0f} MB after a second crowd like the first "
        f"({row['answers_again']} answers) and another rest. What it keeps is bounded: 0.5 GB of "
        "explanations, 8 recordings, 500 sessions.",
        f"- **Files of visitors**: {row['at_end'][2]} files, {row['at_end'][3]:.1f} MB at the end of the run; "
        f"{row['rested'][2]} files when their time was over ({row['keep_s']:g} s here, 30 "
        f"minutes otherwise), {row['rested_again'][2]} after the second crowd; before the first visitor there were "
        f"{row['untouched'][2]}, the page's own.",
        f"- **Left when the page was terminated**: {len(row['left_after_the_end'])} files.",
        f"- **Who comes after somebody who left** in the middle of work for minutes waits "
        f"{max(row['waits_for_the_one_who_left_s']):.1f} s at most for that (n = "
        f"{len(row['waits_for_the_one_who_left_s'])}).",
        f"- **The log**: {row['log_bytes'] / 1000:.1f} kB; names, sentences and nonsense in it: "
        f"{len(row['log_tells'])}.",
        "",
        "`visitors.png`, drawn by the command, shows a visitor in line.",
        "",
        "A program waits in Gradio's queue, and one of them at a time stands in line beside the pages: a crowd of "
        "programs does not slow the pages down; its place is the one in that queue.",
    ]
    return "\n".join(lines) + "\n"


def by_minute(row: dict[str, Any]) -> list[float]:
    """Memory in MB at the end of each minute that the crowd was there."""
    start = row["at_start"][0]
    ends = [start + 60 * (number + 1) for number in range(int(row["minutes"]))]
    return [
        max((sample for sample in row["samples"] if sample[0] <= end), key=lambda sample: sample[0])[1]
        for end in ends
    ]


def main() -> None:
    """Measure, write, and fail if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pages", type=int, default=14)
    parser.add_argument("--programs", type=int, default=4)
    parser.add_argument("--browsers", type=int, default=2)
    parser.add_argument(
        "--rude", type=int, default=5, help="that leave half-way, and as many that send nonsense"
    )
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--keep", type=float, default=KEEP_S, help="seconds that files of visitors stay")
    options = parser.parse_args()
    (HERE / "visitors.png").unlink(missing_ok=True)
    row = measure(
        options.pages, options.programs, options.browsers, options.rude, options.minutes, options.keep
    )
    (HERE / "visitors.json").write_text(json.dumps(row, indent=1) + "\n", "utf-8")
    text = render(row)
    (HERE / "visitors.md").write_text(text, "utf-8")
    print(text)
    left = row["left_after_the_end"] or row["rested_again"][2] > row["untouched"][2]
    parser.exit(1 if row["wrong"] or left or row["log_tells"] else 0)


if __name__ == "__main__":
    main()
