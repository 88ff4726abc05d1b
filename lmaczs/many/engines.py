"""Who does the units: this process, or workers of a Ray cluster. Same units, same rows."""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from lmaczs.errors import LMACError
from lmaczs.many.destination import Destination
from lmaczs.many.rows import missing_extra
from lmaczs.many.units import Unit
from lmaczs.many.worker import ExplainRequest, Worker

Done = Callable[[int, int], None]  # clips that were done just now, and how many of them failed
STORE_BYTES = 128 << 20  # of Ray's shared memory on this machine; only names and counts pass through it


def run_here(units: Sequence[Unit], worker: Worker, done: Done) -> None:
    """Do the units one after the other in this process.

    Args:
        units: to do.
        worker: with the model.
        done: called after each clip.

    Raises:
        LMACError: the results cannot be written.
    """
    for unit in units:
        worker.do(unit, lambda row: done(1, int("error" in row)))


def run_on_ray(
    units: Sequence[Unit],
    request: ExplainRequest,
    destination: Destination,
    device: str | None,
    done: Done,
    workers: int,
) -> None:
    """Do the units with workers of Ray Data, between `start_ray` and `stop_ray`.

    A worker that dies is started again, and does again what it had not finished.

    Args:
        units: to do; each goes to one worker.
        request: what is explained of every clip.
        destination: prepared, and reachable from every worker.
        device: as in `load_backend`; where there are GPUs and it names none, the workers share them.
        done: called after each unit.
        workers: how many.

    Raises:
        LMACError: the model cannot be used, the results cannot be written, or Ray gave up.
    """
    import ray
    import ray.data

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = resources.get("GPU", 0) if device is None or device.startswith("cuda") else 0
    data = ray.data.from_items([{"unit": unit.to_json()} for unit in units], override_num_blocks=len(units))
    reports = data.flat_map(
        RayWorker,
        fn_constructor_args=(request.to_json(), destination.url, device),
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
        num_cpus=1,
        num_gpus=min(1.0, gpus / workers),
    )
    try:
        for report in reports.iter_rows():
            if report["refused"]:
                raise LMACError(report["refused"])
            done(report["clips"], report["failed"])
    except (ray.exceptions.RayError, RuntimeError) as error:
        raise LMACError(
            f"Ray gave up ({type(error).__name__}: {str(error).strip().splitlines()[-1][:200]}): nothing that was "
            "done is lost; start the same command again."
        ) from error


class RayWorker:
    """A `Worker` as Ray Data calls it; text goes in, counts come out."""

    def __init__(self, request: str, destination: str, device: str | None) -> None:
        """Take the request; the model is loaded at the first unit, so that what is wrong with it can be said."""
        self._made = (ExplainRequest.from_json(request), Destination(destination), device)
        self._worker: Worker | None = None

    def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """Do one unit."""
        try:
            self._worker = self._worker or self._load()
            clips, failed = self._worker.do(Unit.from_json(row["unit"]))
            return [{"clips": clips, "failed": failed, "refused": ""}]
        except LMACError as error:
            return [{"clips": 0, "failed": 0, "refused": str(error)}]

    def _load(self) -> Worker:
        worker = Worker(*self._made)
        settings = worker.destination.settings()
        if other := [name for name, sha256 in worker.made_by.items() if settings.get(name) != sha256]:
            raise LMACError(
                f"A worker has other weights than the run that started it ({', '.join(other)}): give all machines the "
                "same releases, also in LMACZS_RELEASES."
            )
        return worker


def start_ray(workers: int) -> None:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine: no dashboard, no reports to Ray's makers.

    Its C++ part writes to stderr while it starts, whatever it is told.

    Args:
        workers: CPUs that a cluster on this machine pretends to have.

    Raises:
        LMACError: Ray is not installed, or the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError:
        raise missing_extra("ray[data]") from None
    address = os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = {
        "num_cpus": workers,
        "object_store_memory": STORE_BYTES,
        "include_dashboard": False,
    }
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else own),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise LMACError(
            f"Ray cannot start ({type(error).__name__}): check RAY_ADDRESS and the cluster."
        ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what goes wrong is said in one sentence


def stop_ray() -> None:
    """Leave the cluster; one that `start_ray` started ends."""
    import ray

    ray.shutdown()
