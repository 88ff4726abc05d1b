"""`pin`: write down the sha256 of a model's files, so that LMACZS_PINS holds every later download against them."""

import argparse
from pathlib import Path
from typing import Any

from lmaczs.cli.files import write_json_whole


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "pin",
        help="write down the sha256 of models from the hub",
        description=f"{__doc__} Models that are not here are fetched. A file that is there keeps its other entries.",
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a backend that is fetched ('laion', 'hf:owner/name@COMMIT'), or a release 'owner/name@COMMIT'",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file for LMACZS_PINS")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Load every model once and write the hashes of what it was loaded from.

    Raises:
        LMACError: a model cannot be loaded, comes from no hub, or a file differs from its older entry.
    """
    from lmaczs.clap import load_backend
    from lmaczs.errors import LMACError
    from lmaczs.pins import Pins, joined, read_pins, recording
    from lmaczs.release_names import HUB_NAME, find_release

    out = Path(arguments.out)
    pins: Pins = read_pins(out) if out.exists() else {}
    added = 0
    for model in arguments.models:
        with recording() as found:
            if HUB_NAME.fullmatch(model.partition("@")[0]):
                find_release(model)
            else:
                load_backend(model, "cpu")
        if not found:
            raise LMACError(
                f"'{model}' takes no file from the hub, so there is nothing to pin: name a model that is fetched "
                "('python -m lmaczs list' shows them)."
            )
        pins = joined(pins, found)
        added += sum(len(files) for files in found.values())
    write_json_whole(out, pins)
    print(f"{added} files pinned in '{out.name}': set LMACZS_PINS to its path where the models are used.")
