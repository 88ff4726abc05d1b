"""`report`: pages with sounds and pictures that open without a server."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaczs.cli.arguments import (
    add_model_arguments,
    add_prompt_arguments,
    as_text,
    read_prompts,
    whole_number,
)
from lmaczs.cli.console import progress_bar, quiet_decoders
from lmaczs.cli.files import folder_written_whole
from lmaczs.errors import LMACError

if TYPE_CHECKING:
    from lmaczs.data.clips import Clip

METHODS = "default,grad-cam++"


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "report",
        help="explain recordings on pages that open without a server",
        description=f"{__doc__} A page for each recording: the original, what counted and what was ignored by each "
        "method, with pictures, numbers and a verdict; an index by class shows what speaks for each class.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a recording, a folder (its subfolders are the classes), or a table with path and label",
    )
    add_prompt_arguments(parser)
    parser.add_argument(
        "--methods",
        default=METHODS,
        metavar="NAMES",
        help=f"with commas; the first stands in the index ({METHODS})",
    )
    parser.add_argument(
        "--domain", default="stft", choices=("stft", "mel"), help="where the masks apply (stft)"
    )
    parser.add_argument(
        "--limit", type=whole_number, metavar="N", help="report about N recordings, evenly from all classes"
    )
    parser.add_argument("--title", default="", help="of the report (the name of SOURCE)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the report; made if missing")
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Explain and write everything together.

    Returns:
        1 if a recording could not be used, else 0.

    Raises:
        LMACError: the source, the prompts, a method or the folder cannot be used.
    """
    prompts = read_prompts(arguments)
    clips = _chosen(arguments)
    out = Path(arguments.out)
    _check_place(out)
    from lmaczs.clap import load_backend
    from lmaczs.explainers import default_method, load_explainer
    from lmaczs.report.writing import Wanted, write_report

    backend = load_backend(arguments.backend, arguments.device, weights=arguments.weights)
    backend.check_prompts(prompts)
    own = default_method(arguments.backend, arguments.domain, arguments.weights is not None)
    names = dict.fromkeys(own if name == "default" else name for name in _names(arguments.methods))
    methods = tuple(load_explainer(name, backend, arguments.domain) for name in names)
    title = as_text(arguments.title) or as_text(Path(arguments.source).name) or "Report"
    wanted = Wanted(title, tuple(prompts), backend, methods)
    with folder_written_whole(out) as folder, progress_bar("report") as progress, quiet_decoders():
        failed = write_report(wanted, clips, folder, progress, _say)
        if out.is_dir():
            # The new one takes its place: files of the old one would stand beside it.
            shutil.rmtree(out)
    print(f"{len(clips) - failed} of {len(clips)} recordings: {as_text(str(out / 'index.html'))}")
    return 1 if failed else 0


def _say(line: str) -> None:
    """Say something while a bar is shown."""
    from tqdm import tqdm

    tqdm.write(as_text(line), file=sys.stderr)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise LMACError("--methods names none: give some with commas, such as lmac-any,grad-cam++.")
    return names


def _chosen(arguments: argparse.Namespace) -> "tuple[Clip, ...]":
    """Recordings of the source."""
    from lmaczs.data.clip_table import limit_by_label
    from lmaczs.data.clips import Clip
    from lmaczs.data.sources import list_source

    source = Path(arguments.source)
    if source.is_file() and source.suffix.lower() not in (".csv", ".tsv", ".tar"):
        return (Clip(source.name, str(source)),)
    listing = list_source(arguments.source)
    clips = tuple(
        clip
        if clip.labels
        else Clip(clip.path, clip.url, (Path(clip.path).parent.name,), offset=clip.offset, size=clip.size)
        for clip in listing.clips
    )
    if not clips:
        raise LMACError(
            f"'{as_text(source.name)}' holds no recording: give a recording, a folder or a table of some."
        )
    return limit_by_label(clips, arguments.limit) if arguments.limit is not None else clips


def _check_place(out: Path) -> None:
    """Refuse a folder with other things in it before any work."""
    if out.is_dir() and any(out.iterdir()) and not (out / "index.html").is_file():
        raise LMACError(f"'{as_text(out.name)}' holds other files and no report: choose another folder.")
