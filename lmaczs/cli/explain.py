"""`explain`: split a recording into what counted for a prompt and the rest."""

import argparse
from pathlib import Path
from typing import Any

from lmaczs.cli.arguments import (
    add_method_arguments,
    add_model_arguments,
    add_prompt_arguments,
    as_text,
    method_options,
    read_lines,
    read_prompts,
    whole_number,
)
from lmaczs.cli.classify import ranked_table
from lmaczs.cli.console import progress_bar, quiet_decoders
from lmaczs.cli.files import folder_written_whole
from lmaczs.errors import PromptError


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "explain",
        help="split a recording into what counted for a prompt and the rest",
        description=f"{__doc__} Writes kept.wav, removed.wav, mask.npz, explanation.png and result.json; "
        "methods that take a recording apart, as l2i, also one file for each component, and the rest.",
    )
    parser.add_argument(
        "clip", metavar="CLIP", help="a recording: wav, flac, ogg, opus, mp3 (m4a, webm with ffmpeg)"
    )
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
    # The model libraries take seconds to import; bad prompts need none of them.
    from lmaczs.clap import load_backend
    from lmaczs.explainers import load_explainer
    from lmaczs.hearing import explain, explain_top, listen
    from lmaczs.results import component_files, write_explanation
    from lmaczs.signal.audio import load_clip

    with quiet_decoders():
        clip = load_clip(arguments.clip)
    written = []
    with folder_written_whole(Path(arguments.out)) as folder:
        backend = load_backend(arguments.backend, arguments.device, weights=arguments.weights)
        method = load_explainer(arguments.method, backend, arguments.domain, **options)
        task = (listen(clip, backend), prompts, backend, method)
        with progress_bar("explain") as progress:
            if arguments.top_k is None:
                results = iter([explain(*task, target=target, score=arguments.score, progress=progress)])
            else:
                results = explain_top(*task, arguments.top_k, score=arguments.score, progress=progress)
            for rank, result in enumerate(results, start=1):
                place = folder if arguments.top_k is None else folder / str(rank)
                place.mkdir(exist_ok=True)
                write_explanation(result, place, backend.name, method.label)
                written.append(result)
    print(ranked_table(as_text(arguments.clip), written[0].prediction))
    print()
    for result in written:
        print(f'explained with {method.label}: "{result.target}" (similarity {result.target_similarity:.3f})')
        if result.explanation.evidence == "absent":
            print(f"  Nothing in this sound speaks for '{result.target}'.")
        for name, part in zip(component_files(result), result.explanation.components, strict=False):
            print(f"  {name}: component {part.index}, relevance {part.relevance:.2f}")
    files = "kept.wav, removed.wav, mask.npz, explanation.png, result.json"
    if written[0].listening.components:
        files += ", one wav per component, rest.wav"
    where = arguments.out if arguments.top_k is None else f"{arguments.out}, folders 1 to {len(written)}"
    print(f"written to {where}: {files}")


def chosen_target(arguments: argparse.Namespace) -> str | None:
    """The sentence to explain; one of the bare labels of --labels-file gets their prefix."""
    if arguments.target is None:
        return None
    target = as_text(arguments.target.strip())
    if not target:
        raise PromptError(
            "The target is empty: give the sentence to explain, or leave --target out for the top prompt."
        )
    if arguments.labels_file and target in read_lines(arguments.labels_file):
        from lmaczs.clap.similarity import prompts_from_labels

        return prompts_from_labels([target])[0]
    return target
