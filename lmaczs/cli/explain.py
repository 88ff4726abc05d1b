"""`explain`: split a recording into what counted for a prompt and the rest."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaczs.clap.prompts import clean_prompts
from lmaczs.cli.arguments import (
    add_method_arguments,
    add_model_arguments,
    add_prompt_arguments,
    as_text,
    chosen_method,
    method_options,
    read_lines,
    read_prompts,
    whole_number,
)
from lmaczs.cli.classify import ranked_table
from lmaczs.cli.clips import CLIP_HELP, clip_file, say_notes
from lmaczs.cli.console import progress_bar, quiet_decoders
from lmaczs.cli.files import folder_written_whole
from lmaczs.errors import PromptError

if TYPE_CHECKING:
    from lmaczs.signal.audio import Sound
    from lmaczs.types import ExplainResult


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "explain",
        help="split a recording into what counted for a prompt and the rest",
        description=f"{__doc__} Writes kept.wav, removed.wav, mask.npz, explanation.png and result.json; "
        "methods that take a recording apart, as l2i, also one file for each component, and the rest.",
    )
    parser.add_argument("clip", metavar="CLIP", help=CLIP_HELP)
    add_prompt_arguments(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--target",
        metavar="PROMPT",
        help="what to explain, also a text that is not in the file (the top prompt)",
    )
    what.add_argument(
        "--top-k",
        type=whole_number,
        metavar="K",
        help="explain the K most probable prompts, one after the other, into the folders 1 to K of DIR",
    )
    add_method_arguments(parser)
    parser.add_argument(
        "--rate",
        default="model",
        choices=("model", "input"),
        help="of kept.wav and removed.wav: the model's rate, mono; or rate and channels of the input (model)",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results; made if missing")
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Explain one decision and write its files together.

    Raises:
        LMACError: the recording, the prompts, the method or the folder cannot be used.
    """
    prompts = read_prompts(arguments)
    target = chosen_target(arguments)
    options = method_options(arguments)
    with clip_file(arguments.clip) as file:
        sound, written, label = _explained(arguments, file, prompts, target, options)
    from lmaczs.hearing.verdict import verdict_of
    from lmaczs.results import component_files

    say_notes(sound.clip.name, sound.clip.notes)
    print(ranked_table(as_text(arguments.clip), written[0].prediction))
    print()
    for result in written:
        print(
            f'explained with {label}: "{result.target}" ({result.prediction.unit} {result.target_similarity:.3f})'
        )
        if verdict := verdict_of(result):
            print(f"  {verdict.words}")
        for name, part in zip(component_files(result), result.explanation.components, strict=False):
            print(f"  {name}: component {part.index}, relevance {part.relevance:.2f}")
    if arguments.rate == "input":
        channels = "1 channel" if sound.channels == 1 else f"{sound.channels} channels"
        print(f"kept.wav and removed.wav at {sound.rate} Hz with {channels}, as the input")
    files = "kept.wav, removed.wav, mask.npz, explanation.png, result.json"
    if written[0].listening.components:
        files += ", one wav per component, rest.wav"
    where = arguments.out if arguments.top_k is None else f"{arguments.out}, folders 1 to {len(written)}"
    print(f"written to {where}: {files}")


def _explained(
    arguments: argparse.Namespace, file: Path, prompts: list[str], target: str | None, options: dict[str, Any]
) -> "tuple[Sound, list[ExplainResult], str]":
    """Explain a file and write the results; returns what was read, the results, and the method's name for people."""
    # The model libraries take seconds to import; bad prompts need none of them.
    from lmaczs.clap import load_backend
    from lmaczs.explainers import load_explainer
    from lmaczs.hearing import explain, explain_top, listen
    from lmaczs.hearing.input_rate import write_at_input_rate
    from lmaczs.results import write_explanation
    from lmaczs.signal.audio import open_sound

    written = []
    with folder_written_whole(Path(arguments.out)) as folder:
        backend = load_backend(arguments.backend, arguments.device, weights=arguments.weights)
        backend.check_prompts([*prompts, *([] if target is None else [target])])
        method = load_explainer(chosen_method(arguments, options), backend, arguments.domain, **options)
        with quiet_decoders():
            sound = open_sound(file, sample_rate=backend.spectral.sample_rate)
        task = (listen(sound.clip, backend), prompts, backend, method)
        with progress_bar("explain") as progress:
            if arguments.top_k is None:
                results = iter([explain(*task, target=target, score=arguments.score, progress=progress)])
            else:
                results = explain_top(*task, arguments.top_k, score=arguments.score, progress=progress)
            for rank, result in enumerate(results, start=1):
                place = folder if arguments.top_k is None else folder / str(rank)
                place.mkdir(exist_ok=True)
                write_explanation(result, place, backend.name, method.label)
                if arguments.rate == "input":
                    write_at_input_rate(sound, result, method, backend, place, progress)
                written.append(result)
    return sound, written, method.label


def chosen_target(arguments: argparse.Namespace) -> str | None:
    """The sentence to explain; one of the bare labels of --labels-file gets their prefix."""
    if arguments.target is None:
        return None
    if not arguments.target.strip():
        raise PromptError(
            "The target is empty: give the sentence to explain, or leave --target out for the top prompt."
        )
    (target,) = clean_prompts([arguments.target])
    if arguments.labels_file and target in read_lines(arguments.labels_file):
        from lmaczs.clap.similarity import prompts_from_labels

        return prompts_from_labels([target])[0]
    return target
