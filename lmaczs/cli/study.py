"""`study`: do people hear in an explanation what it should show? Make a study, serve it, analyse it.

    python -m lmaczs study make clips.csv --where fold=4 --methods lmac-any,grad-cam++,l2i --items 10 --out study
    python -m lmaczs study serve study --port 7870
    python -m lmaczs study analyse study

Listeners rate mixtures on a page that works on a phone; every rating is kept at once, and whoever closes the page goes on
later. Nothing that says who they are is asked or kept.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaczs.cli.arguments import add_model_arguments
from lmaczs.cli.clip_arguments import (
    add_table_arguments,
    key_value_pairs,
    method_names,
    named_releases,
)
from lmaczs.cli.files import write_json_whole, write_text_whole
from lmaczs.errors import LMACError

if TYPE_CHECKING:
    from lmaczs.study.making import Wanted

PORT = 7870


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "study", help="let people rate explanations", description=__doc__.split("\n")[0]
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    make = actions.add_parser("make", help="write sounds and design from labelled recordings")
    make.add_argument("table", nargs="?", metavar="CLIPS", help="the same as --clips")
    add_table_arguments(make, needed=False)
    make.add_argument(
        "--methods", default="lmac-any,grad-cam++,l2i", metavar="NAMES",
        help="with commas (lmac-any,grad-cam++,l2i)",
    )  # fmt: skip
    make.add_argument(
        "--releases", action="append", default=[], metavar="NAME=FOLDER",
        help="take the weights of method NAME from another release; repeatable",
    )  # fmt: skip
    make.add_argument("--items", type=int, default=10, metavar="N", help="mixtures to rate (10)")
    make.add_argument("--title", default="What do you hear?", help="for listeners")
    make.add_argument("--seed", type=int, default=0, help="of mixtures, anchors and orders (0)")
    add_model_arguments(make)
    make.set_defaults(run=run_make)
    serve = actions.add_parser("serve", help="start the page for listeners")
    serve.add_argument("study", metavar="DIR", help="folder of the study")
    serve.add_argument("--port", type=int, default=PORT, help=f"({PORT})")
    serve.add_argument(
        "--host", default="127.0.0.1", help="0.0.0.0 also lets other machines of the network in (127.0.0.1)"
    )
    serve.set_defaults(run=run_serve)
    analyse = actions.add_parser("analyse", help="means, tests and a picture of the answers so far")
    analyse.add_argument("study", metavar="DIR", help="folder of the study")
    analyse.set_defaults(run=run_analyse)


def run_make(arguments: argparse.Namespace) -> int:
    """Write a study.

    Raises:
        LMACError: the table, a method, a recording or an option cannot be used.
    """
    from lmaczs.data.clip_table import select_clips
    from lmaczs.study.making import make_study

    table = arguments.table or arguments.clips
    if table is None:
        raise LMACError(
            "A study needs recordings: name a table with the columns path and label, as in 'study make clips.csv'."
        )
    selection = select_clips(table, key_value_pairs(arguments.where, "--where"))
    out = Path(arguments.out)
    study = make_study(_wanted(arguments, selection.labels), selection.clips, out)
    print(f"{len(study.items)} items with {len(study.conditions)} sounds each: lmaczs study serve {out}")
    return 0


def _wanted(arguments: argparse.Namespace, labels: tuple[str, ...]) -> "Wanted":
    from lmaczs.clap import load_backend
    from lmaczs.evaluation.contenders import Contender, load_methods
    from lmaczs.evaluation.evaluator import MaskEvaluator
    from lmaczs.study.making import Wanted

    names = method_names(arguments.methods, least=1)
    releases = named_releases(arguments.releases, names)
    backend = load_backend(arguments.backend, arguments.device, weights=arguments.weights)
    methods = tuple(
        Contender(name, method)
        for name in names
        for method in load_methods(name, releases.get(name, ()), backend, ("stft",))
    )
    return Wanted(MaskEvaluator(backend, labels), methods, arguments.items, arguments.title, arguments.seed)


def run_serve(arguments: argparse.Namespace) -> int:
    """Serve a study until it is stopped.

    Raises:
        LMACError: there is no study, or the port is taken.
    """
    import socket

    import uvicorn

    from lmaczs.study.design import read_study
    from lmaczs.study.server import study_app

    folder = Path(arguments.study)
    app = study_app(read_study(folder), folder)
    with socket.socket() as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((arguments.host, arguments.port))
            # Whoever comes from now on waits a moment and is not refused.
            place.listen()
        except (OSError, OverflowError) as error:
            raise LMACError(
                f"The study cannot be served at {arguments.host}, port {arguments.port}: choose another with --port."
            ) from error
        name = "127.0.0.1" if arguments.host == "0.0.0.0" else arguments.host
        print(f"Listeners go to http://{name}:{place.getsockname()[1]}/ (Ctrl-C ends it)", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False)).run(sockets=[place])
    return 0


def run_analyse(arguments: argparse.Namespace) -> int:
    """Write analysis.json, analysis.md and analysis.png beside the answers, and print the tables.

    Raises:
        LMACError: there is neither a study nor comparisons of the page, or nobody has finished an item.
    """
    from lmaczs.errors import plain_write_errors
    from lmaczs.study.analysis import analyse, as_json, as_markdown, draw
    from lmaczs.study.answers import Answers
    from lmaczs.study.comparisons import as_study, holds_comparisons
    from lmaczs.study.design import read_study

    folder = Path(arguments.study)
    ratings = Answers(folder).ratings() if holds_comparisons(folder) else None
    study = as_study(ratings) if ratings is not None else read_study(folder)
    found = analyse(study, Answers(folder).ratings() if ratings is None else ratings)
    if not found.listeners:
        raise LMACError(f"Nobody has finished an item of '{folder.name}' yet: serve it, and let people rate.")
    write_json_whole(folder / "analysis.json", as_json(found))
    text = as_markdown(study, found)
    write_text_whole(folder / "analysis.md", text)
    with plain_write_errors(folder):
        draw(found, folder / "analysis.png")
    print(text)
    return 0
