"""The command line: `python -m lmaczs COMMAND`, or `lmaczs COMMAND` where the package is installed.

    python -m lmaczs classify street.wav --prompts-file prompts.txt
    python -m lmaczs explain street.wav --prompts-file prompts.txt --out explanation

A command is a module with `add_parser(subparsers)` and `run(arguments)`, which may return an exit code; it is
imported only when it is called. Exit codes: 0 done, 2 bad input (one sentence on stderr, nothing half-written),
130 interrupted, 143 ended by SIGTERM, 141 the reader of the output has gone (`| head`).
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from lmaczs import __version__
from lmaczs.cli.console import Parser
from lmaczs.cli.files import temporary_files_removed_on_sigterm
from lmaczs.errors import DISK_FAULTS, INTERRUPTED, INTERRUPTION, LMACError

COMMANDS = {
    "classify": "lmaczs.cli.classify",
    "explain": "lmaczs.cli.explain",
    "evaluate": "lmaczs.cli.evaluate",
    "evaluate-clap": "lmaczs.cli.evaluate_clap",
    "sanity": "lmaczs.cli.sanity",
    "explain-many": "lmaczs.cli.explain_many",
    "report": "lmaczs.cli.report",
    "study": "lmaczs.cli.study",
    "datasets": "lmaczs.cli.datasets",
    "list": "lmaczs.cli.list_models",
    "pin": "lmaczs.cli.pin",
}
SUMMARIES = {
    "classify": "rank prompts for recordings",
    "explain": "split a recording into what counted for a prompt and the rest",
    "evaluate": "score explainers on a set of recordings",
    "evaluate-clap": "score the zero-shot classifier on a labelled set",
    "sanity": "check that explanations depend on the model and on the prompt",
    "explain-many": "explain a folder, a table or shards of recordings into Parquet rows",
    "report": "explain recordings on pages that open without a server",
    "study": "let people rate explanations in a listening study",
    "datasets": "list the known datasets, or check what is in a folder",
    "list": "show backends, explainers and embedded releases",
    "pin": "write down the sha256 of models from the hub",
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
        with temporary_files_removed_on_sigterm():
            try:
                return _run(arguments)
            finally:
                # A reader that has gone, or a full disk behind the output, is met here and not after the end.
                if sys.stdout is not None:
                    sys.stdout.flush()
    except KeyboardInterrupt:
        _say(INTERRUPTION)
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return 141  # as of a program that the signal SIGPIPE has ended
    except OSError as error:
        if error.errno not in DISK_FAULTS:
            raise
        _drop_output()
        _say(
            f"Output cannot be written ({os.strerror(error.errno).lower()}): make room, or choose another place."
        )
        return 2


def _run(arguments: list[str]) -> int:
    try:
        options = _parser(arguments).parse_args(arguments)
        return options.run(options) or 0
    except LMACError as error:
        _say(str(error))
        return 2


def _say(sentence: str) -> None:
    """Write to stderr, if that can be written to."""
    with suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)


def _drop_output() -> None:
    """Send what is left in the buffer of stdout nowhere: Python flushes it once more at the end."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


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
