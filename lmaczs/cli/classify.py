"""`classify`: rank prompts for recordings."""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaczs.cli.arguments import add_model_arguments, add_prompt_arguments, as_text, read_prompts
from lmaczs.cli.clips import CLIP_HELP, check_clips, clip_file, say_notes
from lmaczs.cli.console import progress_bar, quiet_decoders
from lmaczs.cli.files import write_text_whole

if TYPE_CHECKING:
    from lmaczs.types import Prediction, Progress


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("classify", help="rank prompts for recordings", description=__doc__)
    parser.add_argument(
        "clips",
        nargs="+",
        metavar="CLIP",
        help=CLIP_HELP,
    )
    add_prompt_arguments(parser)
    parser.add_argument("--json", metavar="OUT", help="also write the numbers to this file")
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Classify all recordings, then print; after bad input nothing is printed or written.

    Raises:
        LMACError: a recording or the prompts cannot be used.
    """
    prompts = read_prompts(arguments)
    check_clips(arguments.clips)
    # The model libraries take seconds to import; bad prompts need none of them.
    from lmaczs.clap import load_backend
    from lmaczs.hearing import classify, listen
    from lmaczs.signal.audio import load_clip

    backend = load_backend(arguments.backend, arguments.device, weights=arguments.weights)
    backend.check_prompts(prompts)
    predictions = []
    notes: list[tuple[str, tuple[str, ...]]] = []
    with progress_bar("classify") as progress:
        for number, path in enumerate(arguments.clips):
            with quiet_decoders(), clip_file(path) as file:
                clip = load_clip(file, sample_rate=backend.spectral.sample_rate)
            notes.append((clip.name, clip.notes))
            step = partial(_show_step, progress, number, len(arguments.clips), clip.name)
            predictions.append(classify(listen(clip, backend, step), prompts, backend))
    pairs = list(zip(map(as_text, arguments.clips), predictions, strict=True))
    if arguments.json:
        from lmaczs.results import prediction_row

        rows = [{"path": path, **prediction_row(prediction)} for path, prediction in pairs]
        write_text_whole(Path(arguments.json), json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    for name, said in notes:
        say_notes(name, said)
    print("\n\n".join(ranked_table(path, prediction) for path, prediction in pairs))


def _show_step(progress: "Progress", number: int, count: int, name: str, share: float, _: str) -> None:
    """Show how far all recordings are, given how far recording `number` is."""
    progress((number + share) / count, name)


def ranked_table(path: str, prediction: "Prediction") -> str:
    """Prompts from the most to the least probable; probabilities are relative to these prompts.

    The column "match" says whether a prompt fits by itself; a model without calibrated limits has no such column.
    """
    order: Sequence[int] = prediction.probabilities.argsort(descending=True, stable=True).tolist()
    match = [f"  {word:<6}" for word in ("match", *prediction.match)] if prediction.match else []
    lines = [path, f"  probability  {prediction.unit:>10}{match[0] if match else ''}  prompt"]
    lines += [
        f"  {100 * float(prediction.probabilities[i]):9.1f} %  {float(prediction.similarities[i]):10.3f}"
        f"{match[i + 1] if match else ''}  {prediction.prompts[i]}"
        for i in order
    ]
    if prediction.match and not any(word != "none" for word in prediction.match):
        lines.append("  None of these prompts fits the recording.")
    return "\n".join(lines)
