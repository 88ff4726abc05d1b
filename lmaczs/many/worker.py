"""Doing units: the same in the one process, and in every worker of a cluster."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lmaczs.clap import load_backend
from lmaczs.errors import LMACError
from lmaczs.explainers import load_explainer
from lmaczs.hub import with_tuples
from lmaczs.many.ahead import read_ahead
from lmaczs.many.destination import Destination, clip_digest
from lmaczs.many.rows import Row, explained_row, failed_row
from lmaczs.many.units import Outcome, Unit
from lmaczs.pipeline import explain, open_recording
from lmaczs.results import write_mask, write_sounds
from lmaczs.types import AudioClip, ExplainResult

READ_AHEAD = 2  # recordings in memory beside the one that is explained
MOST_TIMES = 3  # a clip whose worker has died as often is not tried again
WRITERS: dict[str, Callable[[ExplainResult, Path], None]] = {"sounds": write_sounds, "mask": write_mask}


@dataclass(frozen=True)
class Question:
    """What every clip is asked; decides the numbers.

    Attributes:
        prompts: that probabilities are relative to.
        method: key in `EXPLAINERS`.
        domain: of the masks.
        options: of the method.
        target: sentence to explain; None explains each clip's own top prompt.
        backend: key in `BACKENDS`.
        weights: as in `load_backend`.
        score: also measure faithfulness.
        save: files to write for each clip, of `WRITERS`.
    """

    prompts: tuple[str, ...]
    method: str
    domain: str = "stft"
    options: dict[str, Any] = field(default_factory=dict)
    target: str | None = None
    backend: str = "compact"
    weights: str | None = None
    score: bool = True
    save: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Text that `from_json` reads on another machine."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Question":
        """The question that `to_json` wrote."""
        values = json.loads(text)
        return cls(**with_tuples(values | {"options": with_tuples(values["options"])}))


class Worker:
    """Holds the model, and does one unit after the other."""

    def __init__(self, question: Question, destination: Destination, device: str | None = None) -> None:
        """Load the model.

        Raises:
            LMACError: the backend, the method or an option cannot be used.
        """
        self.question, self.destination = question, destination
        self.backend = load_backend(question.backend, device, weights=question.weights)
        self.explainer = load_explainer(
            question.method,
            self.backend,
            question.domain,  # type: ignore[arg-type]
            **question.options,
        )
        self.backend.encode_text(question.prompts)  # a prompt that cannot be used is better found now

    def do(self, unit: Unit, done: Callable[[Row], None] = lambda row: None) -> tuple[int, int]:
        """Explain what is missing of a unit, and write its Parquet file.

        Args:
            unit: to do; nothing happens where it is finished.
            done: called with each new row.

        Returns:
            Clips that were done now, and how many of them failed.

        Raises:
            LMACError: the results cannot be written.
        """
        counts = [0, 0]
        if self.destination.is_finished(unit.name):
            self.destination.forget(unit.name)  # of a worker that ended between the two steps of `finish`
            return 0, 0
        begun = {clip_digest(path): times for path, times in unit.begun.items()}
        begun |= self.destination.begun(unit)
        finished = {digest for digest, times in begun.items() if times == 0}
        lost = {digest: times for digest, times in begun.items() if times > 0}

        def keep(row: Row) -> None:
            self.destination.commit(unit, row)
            finished.add(clip_digest(row["path"]))
            counts[0] += 1
            counts[1] += "error" in row
            done(row)

        def begin(path: str) -> bool:
            digest = clip_digest(path)
            if digest in finished:
                return False
            times = lost.get(digest, 0)
            if times >= MOST_TIMES:
                keep(
                    failed_row(
                        path, f"'{Path(path).name}' ended the program {times} times: look at it alone."
                    )
                )
                return False
            self.destination.begin(unit, path, times + 1)
            return True

        # After a death, one at a time: read ahead, the clip that was being explained would be blamed with the others.
        for path, outcome in read_ahead(unit.clips(begin), 0 if lost else READ_AHEAD):
            keep(self._row(path, outcome))
        self.destination.finish(unit.name)
        return counts[0], counts[1]

    def _row(self, path: str, outcome: Outcome) -> Row:
        """Explain one clip; whatever goes wrong with it is its own row and stops nobody else's."""
        if not isinstance(outcome, AudioClip):
            return failed_row(path, str(outcome))
        start = time.perf_counter()
        try:
            recording = open_recording(outcome, self.backend)
            result = explain(
                recording,
                self.question.prompts,
                self.backend,
                self.explainer,
                target=self.question.target,
                score=self.question.score,
            )
        except LMACError as error:
            return failed_row(path, str(error))
        except Exception as error:
            return failed_row(
                path, f"'{Path(path).name}' could not be explained ({type(error).__name__}: {error})."
            )
        seconds = time.perf_counter() - start
        return explained_row(path, result, self.backend.name, seconds, self._save(path, result))

    def _save(self, path: str, result: ExplainResult) -> str:
        if not self.question.save:
            return ""
        with tempfile.TemporaryDirectory(prefix="lmaczs-") as folder:
            for name in self.question.save:
                WRITERS[name](result, Path(folder))
            return self.destination.put_files(Path(folder), path)
