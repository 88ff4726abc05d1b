"""Runs of `explain-many` on a few small recordings, for all tests of this folder."""

import io
import tarfile

import numpy as np
import pandas
import soundfile

from lmaczs.cli import main
from lmaczs.many.worker import ExplainRequest

PROMPTS = ("a beep", "rain on a roof")
REQUEST = ExplainRequest(PROMPTS, "grad-cam++", backend="debug")


def sound_bytes(seed, seconds=0.5):
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(16000 * seconds)) / 16000
    wave = 0.3 * np.sin(2 * np.pi * 200 * (seed + 1) * time_s) + 0.02 * rng.standard_normal(len(time_s))
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, 16000, format="WAV")
    return buffer.getvalue()


def write_shard(path, members):
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))


ALL = ["a.wav", "b.wav", "bad.wav", "inner/c.wav", "inner/ü d.wav"]


def explain_many(source="clips", out="out", *more):
    model = ("--backend", "debug", "--device", "cpu", "--method", "grad-cam++")
    return main(["explain-many", source, "--prompts-file", "prompts.txt", *model, "--out", out, *more])


def rows_of(out="out"):
    return pandas.read_parquet(f"{out}/rows").sort_values("path").reset_index(drop=True)
