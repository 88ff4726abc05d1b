"""Release folders damaged by chance: each is refused in a sentence, or read with weights that are finite."""

import hashlib
import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from lmaczs.clap import load_backend
from lmaczs.errors import LMACError
from lmaczs.explainers.l2i.explainer import L2I
from lmaczs.explainers.lmac_any.explainer import LMACAny
from lmaczs.explainers.lmac_zs.explainer import LMACZS
from tests.fuzz.runner import Fault
from tests.fuzz.values import any_value

ASSETS = Path(__file__).parents[2] / "assets" / "releases"
CONFIG, WEIGHTS = "config.json", "model.safetensors"


def prepare() -> None:
    """See `tests.fuzz.runner`."""
    _backend()


def try_release(seed: int, number: int, folder: Path) -> None:
    """One folder: see `tests.fuzz.runner`."""
    chance = random.Random(f"{seed}/{number}")
    name = chance.choice(sorted(READERS))
    release = folder / chance.choice(["mine", "two words", "名前", "-o", "a.b"])
    shutil.copytree(ASSETS / name, release)
    if chance.random() < 0.9:
        chance.choice([_odd_value, _odd_text, _odd_file, _odd_header, _odd_bytes])(chance, release)
        if chance.random() < 0.7:
            _sign(release)
    try:
        network = READERS[name](release)
    except LMACError as error:
        sentence = str(error)
        if not sentence.isprintable() or str(folder) in sentence or len(sentence) > 1000:
            raise Fault("bad sentence", ascii(sentence)[:500]) from error
        raise
    if not all(bool(value.isfinite().all()) for value in network.state_dict().values()):
        raise Fault("not finite", name)


def _odd_value(chance: random.Random, release: Path) -> None:
    """A value of config.json, at any depth, is another one or missing."""
    config = json.loads((release / CONFIG).read_text("utf-8"))
    place: Any = config
    while True:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or not place[key] or chance.random() < 0.4:
            break
        place = place[key]
    if chance.random() < 0.2:
        del place[key]
    elif isinstance(place[key], int | float) and chance.random() < 0.5:
        place[key] = chance.choice([place[key] * 2, -place[key], place[key] + 1, 10**9, 1e-30])
    else:
        place[key] = any_value(chance)
    # As Python writes it: NaN and lone surrogates included.
    (release / CONFIG).write_bytes(json.dumps(config).encode())


def _odd_text(chance: random.Random, release: Path) -> None:
    """config.json is no JSON, or one that few expect."""
    text = (release / CONFIG).read_text("utf-8")
    odd = [
        "", "null", "[]", "7", "[" * 100_000, "\ufeff" + text, text[: len(text) // 2], text + text,
        text.replace('"', "'"), '{"format": 1, ' * 2000, text.replace(":", ": 1e999999,", 1),
        '{"kind": ' + "9" * 5000 + "}",
    ]  # fmt: skip
    encoding = chance.choice(["utf-8", "utf-8", "utf-16", "utf-32"])
    (release / CONFIG).write_bytes(chance.choice(odd).encode(encoding))


def _odd_file(chance: random.Random, release: Path) -> None:
    """A file is missing, or no file."""
    path = release / chance.choice([CONFIG, WEIGHTS, WEIGHTS, "golden.safetensors", "training.json"])
    path.unlink(missing_ok=True)
    way = chance.choice(["missing", "folder", "zero", "loop", "nowhere", "fifo", "huge", "empty", "pointer"])
    if way == "folder":
        path.mkdir()
    elif way == "zero":
        path.symlink_to("/dev/zero")
    elif way == "loop":
        path.symlink_to(path.name)
    elif way == "nowhere":
        path.symlink_to("nowhere")
    elif way == "fifo":
        os.mkfifo(path)
    elif way == "huge":
        with path.open("wb") as file:
            file.truncate(1 << 42)
    elif way == "empty":
        path.touch()
    elif way == "pointer":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def _odd_header(chance: random.Random, release: Path) -> None:
    """What the file of weights says of them is not so."""
    data = (release / WEIGHTS).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    name = chance.choice([key for key in header if key != "__metadata__"])
    entry = header[name]
    way = chance.randrange(8)
    if way == 0:
        del header[name]
    elif way == 1:
        header[chance.choice(["", "x" * 5000, "__metadata__", name + " "])] = header.pop(name)
    elif way == 2:
        entry["dtype"] = chance.choice(["F32", "F64", "I64", "BOOL", "BF16", "F8_E4M3", "", None])
    elif way == 3:
        entry["shape"] = chance.choice(
            [[], [0], entry["shape"][::-1], [1, *entry["shape"]], [2**40], [-1], None]
        )
    elif way == 4:
        first, last = entry["data_offsets"]
        entry["data_offsets"] = chance.choice(
            [[last, first], [0, 2**62], [first, last - 1], [-1, last], None]
        )
    elif way == 5:
        header[name] = any_value(chance)
    elif way == 6:
        header["more"] = {"dtype": "F32", "shape": [1], "data_offsets": [len(body), len(body) + 4]}
        body += struct.pack("<f", chance.choice([0.0, float("nan"), float("inf")]))
    text = json.dumps(header).encode()
    said = chance.choice([0, 2**63, len(text) * 100]) if way == 7 else len(text)
    (release / WEIGHTS).write_bytes(struct.pack("<Q", said) + text + body)


def _odd_bytes(chance: random.Random, release: Path) -> None:
    """The weights themselves are cut off, longer or others: infinite and huge ones, too."""
    path = release / WEIGHTS
    data = bytearray(path.read_bytes())
    way = chance.randrange(4)
    if way == 0:
        data = data[: chance.randrange(len(data))]
    elif way == 1:
        data += bytes(chance.randrange(1, 5000))
    else:
        (length,) = struct.unpack("<Q", data[:8])
        for _ in range(chance.choice([1, 20])):
            at = 8 + length + 2 * chance.randrange((len(data) - 8 - length) // 2)
            data[at : at + 2] = chance.choice([b"\x00\x7c", b"\xff\x7f", b"\xff\x7b", chance.randbytes(2)])
    path.write_bytes(data)


def _sign(release: Path) -> None:
    """State the hash that the weights have now: damage that nobody means is not the only one."""
    stated, path = release / CONFIG, release / WEIGHTS
    if not all(file.is_file() and file.stat().st_size < 1 << 26 for file in (stated, path)):
        return
    try:
        config = json.loads(stated.read_text("utf-8"))
        config["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        stated.write_bytes(json.dumps(config).encode())
    except (ValueError, TypeError, RecursionError):
        return


@lru_cache(1)
def _backend():
    return load_backend("compact-2", "cpu")


def _interpreter(release: Path) -> nn.Module:
    return L2I.load(_backend(), "stft", release).interpreter


def _lmac_zs(release: Path) -> nn.Module:
    return LMACZS.load(_backend(), "stft", release).decoder[0]


READERS: dict[str, Callable[[Path], nn.Module]] = {
    "compact-clap-2": lambda release: load_backend("compact-2", "cpu", weights=release),
    "l2i-open-compact-2": _interpreter,
    "lmac-any": lambda release: LMACAny.load(_backend(), release=str(release)).decoder[0],
    "lmac-zs-compact-2": _lmac_zs,
}
