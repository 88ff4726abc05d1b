"""`list`: show backends, explainers and embedded releases."""

import argparse
from typing import Any

from lmaczs.clap import BACKENDS, WITHOUT_WEIGHTS
from lmaczs.explainers import METHODS


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "list", help="show backends, explainers and embedded releases", description=__doc__
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the keys that other commands accept."""
    from lmaczs.release_names import embedded_releases

    print("backends:  ", ", ".join(BACKENDS))
    for name, entry in BACKENDS.items():
        origin = (
            f"fetched at the first use, about {entry.download_mb} MB" if entry.download_mb else "embedded"
        )
        if name in WITHOUT_WEIGHTS:
            origin = "without weights: give --weights"
        print(f"             {name}: {entry.label} ({origin}, licence {entry.licence})")
    print(
        "             hf:FOLDER or hf:owner/name@COMMIT: transformers' audio classifiers, CLAPs, Perception Encoder Audio"
    )
    print("             py:FILE.py: what classifier() in a Python file of yours returns")
    print("explainers:", ", ".join(METHODS))
    releases = [f"{name} ({kind})" for name, kind in embedded_releases().items()]
    print("releases:  ", ", ".join(releases) or "none")
