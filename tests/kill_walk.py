"""Kill a command at every place where it touches its files, and see that a second call puts everything right.

python kill_walk.py FOLDER MOST COMMAND... with "OUT" for the place of the results in the command, which is one of
`lmaczs`, or begins with the name of a script in train/. A process of its own, which has no other threads, makes a child
for each call: what is imported once need not be imported again. Prints as JSON {"moments": how many places there are,
"killed": at which of them a child was killed, "different": results that are not those of an undisturbed run}.
"""

import hashlib
import json
import os
import random
import re
import runpy
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lmaczs.cli import main  # noqa: E402

# What a program does to files, as Python tells it to audit hooks.
TOUCHES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod", "os.truncate")
# Numbers that are the machine's, not the result's: seconds by name, milliseconds in tables.
TIMES = re.compile(r'("[a-z_]*(seconds|minutes|_s|_ms|explain|score)": )[-\d.e]+|(?<=\| )\d+(?= \|)')
# Tells the hashes of the tables, which have times in them, and how clips were shared out among them.
HASHES = "finished"


def call(command: list[str]) -> int:
    """Run a command in this process; returns its exit code."""
    if not command[0].endswith(".py"):
        return main(command)
    from accelerate.state import AcceleratorState

    sys.argv = list(command)
    runpy.run_path(str(ROOT / "train" / command[0]), run_name="__main__")
    # One process holds one state, and a child gets what its parent has.
    AcceleratorState._reset_state(reset_partial_state=True)
    return 0


def touches(event: str, arguments: tuple) -> bool:
    """Whether something is written, made or taken away."""
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        return bool(mode and set(str(mode)) & set("wax+")) or bool(
            flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
    return event in TOUCHES


def child(command: list[str], folder: Path, die_at: int) -> tuple[int, int]:
    """Run a command; kill it before its `die_at`-th touch of a file in the folder.

    Returns:
        Exit code, -9 if it was killed; and how many touches there were.
    """
    read, write = os.pipe()
    number = os.fork()
    if number:
        os.close(write)
        told = os.fdopen(read).read()
        _, status = os.waitpid(number, 0)
        return os.waitstatus_to_exitcode(status), int(told or 0)
    count = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal count
        if touches(event, arguments) and os.fspath(str(arguments[0])).startswith(str(folder)):
            count += 1
            if count == die_at:
                os.kill(os.getpid(), 9)

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.addaudithook(watch)
    try:
        code = call(command)
    except SystemExit as end:
        code = end.code
    os.write(write, str(count).encode())
    os._exit(code or 0)


def contents(out: Path) -> dict[str, str]:
    """What a run left: name -> text or bytes of each file, and rows of tables in any order, without times."""
    found: dict[str, str] = {}
    rows: list[str] = []
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = str(path.relative_to(out))
        if path.suffix == ".parquet":
            import pyarrow.parquet

            # How rows are spread over files is nobody's business.
            key = "rows of " + str(path.parent.relative_to(out))
            for row in pyarrow.parquet.read_table(path, use_threads=False).to_pylist():
                if str(row.get("metric", "")).endswith("_s"):
                    row["value"] = None
                # Windows of another batch are rounded differently.
                row = {
                    name: round(value, 5) if isinstance(value, float) else value
                    for name, value in row.items()
                }
                rows.append(key + TIMES.sub("", json.dumps(row, sort_keys=True, default=str)))
        elif path.parent.name == HASHES:
            continue
        elif path.suffix in (".json", ".jsonl", ".md", ".csv", ".txt", ".html"):
            found[name] = TIMES.sub("", path.read_text("utf-8").replace(str(out), "OUT"))
        elif path.suffix == ".pt":
            import torch

            # The same values need not be packed into the same bytes.
            found[name] = plain(torch.load(path, weights_only=True))
        elif path.suffix not in (".svg", ".png"):
            found[name] = path.read_bytes().hex()
    return found | {"rows": "\n".join(sorted(rows))}


def plain(value: object) -> str:
    """A checkpoint's values as text."""
    if isinstance(value, dict):
        # Nothing in training draws from Python's own generator, which no seed is set for.
        kept = {key: item for key, item in value.items() if key != "python"}
        return "{" + ", ".join(f"{key}: {plain(item)}" for key, item in kept.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(plain, value)) + "]"
    if hasattr(value, "numpy"):
        return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    return repr(value)


def walk(folder: Path, most: int, command: list[str]) -> dict:
    """Kill the command at up to `most` of its places."""

    def again(out: Path, die_at: int = 0) -> tuple[int, int]:
        return child([str(out) if word == "OUT" else word for word in command], out.parent, die_at)

    # Whatever the command imports is imported before the first child.
    with open(os.devnull, "w") as quiet, redirect_stdout(quiet), redirect_stderr(quiet):
        call([str(folder / "warm" / "out") if word == "OUT" else word for word in command])
    whole = folder / "whole" / "out"
    whole.parent.mkdir(parents=True)
    code, moments = again(whole)
    assert code == 0 and moments > 0, (code, moments)
    expected = contents(whole)
    places = sorted(random.Random(0).sample(range(1, moments + 1), min(most, moments)))
    killed, different = [], []
    for place in places:
        out = folder / str(place) / "out"
        out.parent.mkdir()
        code, _ = again(out, place)
        if code == -9:
            killed.append(place)
        code, _ = again(out)
        found = contents(out)
        if code or found != expected:
            names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
            different.append([place, code, names])
        shutil.rmtree(out.parent)
    return {"moments": moments, "killed": killed, "different": different}


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    print(json.dumps(walk(Path(sys.argv[1]).resolve(), int(sys.argv[2]), sys.argv[3:])))
