"""The command line: `python -m lmaczs COMMAND`, or `lmaczs COMMAND` where the package is installed.

    python -m lmaczs classify street.wav --prompts-file prompts.txt
    python -m lmaczs explain street.wav --prompts-file prompts.txt --out explanation

A command is a module with `add_parser(subparsers)` and `run(arguments)`, which may return an exit code; it is
imported only when it is called. Exit codes: 0 done, 2 bad input (one sentence on stderr, nothing half-written),
130 interrupted, 141 the reader of the output has gone (`| head`).
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from lmaczs import __version__
from lmaczs.cli.console import Parser
from lmaczs.errors import LMACError

COMMANDS = {
    "classify": "lmaczs.cli.classify",
    "explain": "lmaczs.cli.explain",
    "evaluate": "lmaczs.cli.evaluate",
    "evaluate-clap": "lmaczs.cli.evaluate_clap",
    "sanity": "lmaczs.cli.sanity",
    "explain-many": "lmaczs.cli.explain_many",
    "datasets": "lmaczs.cli.datasets",
    "list": "lmaczs.cli.list_models",
}
SUMMARIES = {
    "classify": "rank prompts for recordings",
    "explain": "split a recording into what counted for a prompt and the rest",
    "evaluate": "score explainers on a set of recordings",
    "evaluate-clap": "score the zero-shot classifier on a labelled set",
    "sanity": "check that explanations depend on the model and on the prompt",
    "explain-many": "explain a folder, a table or shards of recordings into Parquet rows",
    "datasets": "list the known datasets, or check what is in a folder",
    "list": "show backends, explainers and embedded releases",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a letter shows a question mark
            stream.reconfigure(errors="replace")
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()  # a reader that has gone is met here, and not after the end
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # what is left is flushed once more when Python ends
        return 141  # as of a program that the signal SIGPIPE has ended


def _run(arguments: list[str]) -> int:
    try:
        options = _parser(arguments).parse_args(arguments)
        return options.run(options) or 0
    except LMACError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted: nothing was left half-written.", file=sys.stderr)
        return 130


def _parser(arguments: Sequence[str]) -> Parser:
    """The parser with the one command that is asked for; the others are listed with their summaries only."""
    parser = Parser(prog="lmaczs", description="Hear why an audio classifier decided what it did.")
    parser.add_argument("--version", action="version", version=f"lmaczs {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    asked = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, module in COMMANDS.items():
        if name == asked:
            import_module(module).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=SUMMARIES[name])
    return parser
