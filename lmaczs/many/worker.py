"""Doing units: the same in the one process, and in every worker of a cluster."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from torch.nn import Module

from lmaczs.clap import EMBEDDED, load_backend
from lmaczs.errors import LMACError, StorageError
from lmaczs.explainers import load_explainer
from lmaczs.explainers.base import Method
from lmaczs.hearing import explain, listen
from lmaczs.hub import weights_sha256, with_tuples
from lmaczs.many.destination import Destination, clip_digest
from lmaczs.many.prefetch import prefetch
from lmaczs.many.rows import Row, explained_row, failed_row
from lmaczs.many.units import SHARD, Reading, Unit
from lmaczs.results import write_mask, write_sounds
from lmaczs.signal.scratch import scratch_folder
from lmaczs.types import AudioClip, ExplainResult

PREFETCHED = 2  # recordings in memory beside the one that is explained
MOST_TIMES = 3  # a clip whose worker has died as often is not tried again
WRITERS: dict[str, Callable[[ExplainResult, Path], None]] = {"sounds": write_sounds, "mask": write_mask}


@dataclass(frozen=True)
class ExplainRequest:
    """What is explained of every clip, and how; decides the numbers, with the weights.

    Attributes:
        prompts: that probabilities are relative to.
        method: key in `lmaczs.explainers.METHODS`.
        domain: of the masks.
        options: of the method.
        target: sentence to explain; None explains each clip's own top prompt.
        score: what of the target is explained, as in `lmaczs.hearing.explain`.
        backend: key in `BACKENDS`.
        weights: as in `load_backend`.
        measure: also measure faithfulness.
        save: files to write for each clip, of `WRITERS`.
    """

    prompts: tuple[str, ...]
    method: str
    domain: str = "stft"
    options: dict[str, Any] = field(default_factory=dict)
    target: str | None = None
    score: str = "logit"
    backend: str = EMBEDDED
    weights: str | None = None
    measure: bool = True
    save: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Text that `from_json` reads on another machine."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ExplainRequest":
        """The request that `to_json` wrote."""
        values = json.loads(text)
        return cls(**with_tuples(values | {"options": with_tuples(values["options"])}))


class Worker:
    """Holds the model, and does one unit after the other.

    Attributes:
        made_by: hashes of the weights that make the numbers, for settings.json.
    """

    def __init__(self, request: ExplainRequest, destination: Destination, device: str | None = None) -> None:
        """Load the model.

        Raises:
            LMACError: the backend, the method or an option cannot be used.
        """
        self.request, self.destination = request, destination
        self.backend = load_backend(request.backend, device, weights=request.weights)
        self.method = load_explainer(
            request.method,
            self.backend,
            request.domain,  # type: ignore[arg-type]
            **request.options,
        )
        self.backend.encode_text(request.prompts)  # a prompt that cannot be used is better found now
        self.made_by = {
            "backend_sha256": weights_sha256(self.backend),
            "method_sha256": method_sha256(self.method),
        }

    def do(self, unit: Unit, done: Callable[[Row], None] = lambda row: None) -> tuple[int, int]:
        """Explain what is missing of a unit, and write its Parquet file.

        Args:
            unit: to do; nothing happens where it is finished.
            done: called with each new row.

        Returns:
            Clips that were done now, and how many of them failed.

        Raises:
            LMACError: the results, or temporary files, cannot be written.
        """
        if self.destination.is_finished(unit.name):
            self.destination.forget(unit.name)  # of a worker that ended between the two steps of `finish`
            return 0, 0
        work = _UnitWork(unit, self.destination, done)
        digest = hashlib.sha256()
        rate = self.backend.spectral.sample_rate
        # After a death, one at a time: prefetched, the clip that was being explained would be blamed with the others.
        for reading in prefetch(unit.read(work.begin, digest, rate), 0 if work.lost else PREFETCHED):
            work.keep(self._row(reading))
        shard = unit.kind == SHARD
        self.destination.finish(
            unit.name, digest.hexdigest() if shard else "", only=work.met if shard else None
        )
        return work.clips, work.failed

    def _row(self, reading: Reading) -> Row:
        """Explain one clip; whatever goes wrong with it is its own row and stops nobody else's."""
        path, sha256, outcome = reading
        if not isinstance(outcome, AudioClip):
            return failed_row(path, sha256, str(outcome))
        start, request = time.perf_counter(), self.request
        try:
            result = explain(
                listen(outcome, self.backend),
                request.prompts,
                self.backend,
                self.method,
                target=request.target,
                score=request.score,
                measure=request.measure,
            )
        except StorageError:
            raise
        except LMACError as error:
            return failed_row(path, sha256, str(error))
        except Exception as error:
            fault = f"'{Path(path).name}' could not be explained ({type(error).__name__}: {error})."
            return failed_row(path, sha256, fault)
        seconds = time.perf_counter() - start
        return explained_row(path, sha256, result, self.backend.name, seconds, self._save(path, result))

    def _save(self, path: str, result: ExplainResult) -> str:
        if not self.request.save:
            return ""
        with scratch_folder() as folder:
            for name in self.request.save:
                WRITERS[name](result, folder)
            return self.destination.put_files(folder, path)


class _UnitWork:
    """Which clips of a unit are done, were begun and never came back, or are met now."""

    def __init__(self, unit: Unit, destination: Destination, done: Callable[[Row], None]) -> None:
        self._unit, self._destination, self._done = unit, destination, done
        self.lost = {clip_digest(path): times for path, times in unit.begun.items()}
        self.met: set[str] = set()
        self._finished: dict[str, str | None] = {}
        self.clips = self.failed = 0
        for digest, entry in destination.entries(unit.name):
            if "row" in entry:
                self._finished[digest] = entry["row"].get("sha256")
            else:
                self.lost[digest] = entry["begun"]

    def begin(self, path: str, sha256: str | None) -> bool:
        """Whether a clip is to be done; it is noted before, for the case that nobody comes back from it."""
        digest = clip_digest(path)
        again = digest in self.met  # a shard may hold a name twice
        self.met.add(digest)
        if again or (digest in self._finished and self._finished[digest] == sha256):
            return False
        times = self.lost.get(digest, 0)
        if times >= MOST_TIMES:
            fault = f"'{Path(path).name}' ended the program {times} times: look at it alone."
            self.keep(failed_row(path, sha256, fault))
            return False
        self._destination.begin(self._unit, path, times + 1)
        return True

    def keep(self, row: Row) -> None:
        """Commit a row and count it."""
        self._destination.commit(self._unit, row)
        self.met.add(clip_digest(row["path"]))
        self.clips += 1
        self.failed += "error" in row
        self._done(row)


def method_sha256(method: Method) -> str:
    """Hash of what a method's release and options decide: its weights and plain settings, not its classifier."""
    digest = hashlib.sha256()
    for name in sorted(entry.name for entry in fields(method) if entry.name != "backend" and entry.init):
        value = getattr(method, name)
        text = weights_sha256(value) if isinstance(value, Module) else repr(value)
        digest.update(f"{name} {text}\n".encode())
    return digest.hexdigest()
