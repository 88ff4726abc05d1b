"""`explain-many`: explain every recording of a folder, a table or WebDataset shards into Parquet rows.

    python -m lmaczs explain-many recordings --prompts-file prompts.txt --method lmac-zs --out results
    python -m lmaczs explain-many "s3://bucket/set-{000..099}.tar" --labels-file labels.txt --out s3://bucket/results \\
        --engine ray --workers 16

The same command goes on with a run that was cut short, and does only what is missing and what is another sound now. Exit
code 1: some clips could not be explained; their rows say why.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaczs import __version__
from lmaczs.cli.arguments import (
    add_method_arguments,
    add_model_arguments,
    add_prompt_arguments,
    as_text,
    chosen_method,
    method_options,
    read_prompts,
    whole_number,
)
from lmaczs.cli.console import count_bar, quiet_decoders
from lmaczs.cli.explain import chosen_target
from lmaczs.errors import LMACError

if TYPE_CHECKING:
    from lmaczs.many.plan import Plan
    from lmaczs.many.worker import ExplainRequest, Worker

SAVED = ("sounds", "mask")
SHOWN = 3  # names of changed or damaged things
SOURCE_HELP = "folder, table with the column path, .tar shards (set-{000..099}.tar) or a recording; a path or fsspec URL"


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "explain-many",
        help="explain a folder, a table or shards of recordings into Parquet rows",
        description=__doc__.split("\n")[0],
    )
    parser.add_argument("source", metavar="SOURCE", help=SOURCE_HELP)
    add_prompt_arguments(parser)
    parser.add_argument(
        "--target", metavar="PROMPT", help="explain this one for every clip (each clip's top)"
    )
    add_method_arguments(parser)
    parser.add_argument("--out", required=True, metavar="DEST", help="results folder; path or fsspec URL")
    parser.add_argument(
        "--save", default="", metavar="WHAT", help="also sounds, mask or sounds,mask (nothing)"
    )
    parser.add_argument("--no-metrics", action="store_true", help="no faithfulness: about half of the time")
    parser.add_argument("--retry-failed", action="store_true", help="do clips again that failed earlier")
    _add_engine_arguments(parser)
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def _add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --engine, --workers and --unit."""
    parser.add_argument(
        "--engine",
        default="here",
        choices=("here", "ray"),
        help="this process, or workers on Ray Data (here)",
    )
    parser.add_argument(
        "--workers", type=whole_number, default=2, metavar="N", help="on Ray; RAY_ADDRESS names a cluster (2)"
    )
    parser.add_argument(
        "--unit",
        type=whole_number,
        default=100,
        metavar="N",
        help="files that one Parquet file tells of (100)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Explain what is missing, and print what there is now.

    Returns:
        1 if the results hold clips that could not be explained, 130 if the run was interrupted, else 0.

    Raises:
        LMACError: the source, the prompts, the method or the destination cannot be used.
    """
    from lmaczs.data.sources import list_source
    from lmaczs.many.destination import Destination
    from lmaczs.many.plan import plan_units
    from lmaczs.many.worker import Worker

    request = _request(arguments)
    destination = Destination(arguments.out)
    listing = list_source(arguments.source)
    if text := listing.passed_over_text():
        print(f"Passed over: {text}.")
    here = arguments.engine == "here"
    # Workers of a cluster have models of their own: this one only says which weights they must have.
    worker = Worker(request, destination, arguments.device if here else "cpu")
    with destination.alone():
        source = as_text(arguments.source)
        settings = {"source": source, **_plain(request), **worker.made_by, "lmaczs": __version__}
        destination.prepare(settings)
        plan = plan_units(destination, listing, arguments.unit, arguments.retry_failed)
        for names, fault in ((plan.changed, "changed"), (plan.damaged, "was damaged")):
            if names:
                more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
                print(f"Done again, as it {fault}: {', '.join(names[:SHOWN])}{more}.")
        try:
            _do(arguments, worker, plan)
        except KeyboardInterrupt:
            print("Interrupted: what is done is kept, and the same command goes on from there.")
            return 130
        total, failed, first = destination.count()
    print(f"{total} clips in {arguments.out}: rows/*.parquet")
    if failed:
        print(f"{failed} of them could not be explained; the first: {first}")
    return 1 if failed else 0


def _request(arguments: argparse.Namespace) -> "ExplainRequest":
    prompts = read_prompts(arguments)
    options = method_options(arguments)
    save = tuple(sorted({name.strip() for name in arguments.save.split(",") if name.strip()}))
    if not set(save) <= set(SAVED):
        raise LMACError(f"--save got '{as_text(arguments.save)}': give sounds, mask, or sounds,mask.")
    # Not above: the model libraries take seconds to import.
    from lmaczs.many.worker import ExplainRequest

    return ExplainRequest(
        prompts=tuple(prompts),
        method=chosen_method(arguments, options),
        domain=arguments.domain,
        options=options,
        target=chosen_target(arguments),
        score=arguments.score,
        backend=arguments.backend,
        weights=None if arguments.weights is None else str(Path(arguments.weights).absolute()),
        measure=not arguments.no_metrics,
        save=save,
    )


def _plain(request: "ExplainRequest") -> dict[str, Any]:
    """The request for settings.json, which names no folder of this machine."""
    from dataclasses import asdict

    weights = request.weights and Path(request.weights).name
    return {**asdict(request), "weights": weights}


def _do(arguments: argparse.Namespace, worker: "Worker", plan: "Plan") -> None:
    from lmaczs.many.engines import run_here, run_on_ray, start_ray, stop_ray

    if not plan.units:
        return
    if arguments.engine == "here":
        with count_bar("explain-many", plan.clips) as done:
            run_here(plan.units, worker, done)
        return
    workers = min(arguments.workers, len(plan.units))
    with quiet_decoders():
        start_ray(workers)
    try:
        with count_bar("explain-many", plan.clips) as done:
            run_on_ray(plan.units, worker.request, worker.destination, arguments.device, done, workers)
    finally:
        stop_ray()
