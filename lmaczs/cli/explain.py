"""`explain`: split a recording into what counted for a prompt and the rest."""

import argparse
from pathlib import Path
from typing import Any

from lmaczs.cli.arguments import add_model_arguments, add_prompt_arguments, as_text, read_lines, read_prompts
from lmaczs.cli.classify import ranked_table
from lmaczs.cli.console import progress_bar, quiet_decoders
from lmaczs.cli.files import folder_written_whole
from lmaczs.errors import PromptError
from lmaczs.explainers import EXPLAINERS


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "explain",
        help="split a recording into what counted for a prompt and the rest",
        description=f"{__doc__} Writes kept.wav, removed.wav, mask.npz, explanation.png and result.json.",
    )
    parser.add_argument(
        "clip", metavar="CLIP", help="a recording: wav, flac, ogg, opus, mp3 (m4a, webm with ffmpeg)"
    )
    add_prompt_arguments(parser)
    parser.add_argument(
        "--target",
        metavar="PROMPT",
        help="what to explain, also a text that is not in the file (the top prompt)",
    )
    parser.add_argument(
        "--method", default="lmac-zs", metavar="NAME", help=f"{', '.join(EXPLAINERS)} (lmac-zs)"
    )
    parser.add_argument(
        "--domain", default="stft", choices=("stft", "mel"), help="where the mask applies (stft)"
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
    target = _target(arguments)
    from lmaczs.clap import (
        load_backend,
    )  # the model libraries take seconds to import; bad prompts need none of them
    from lmaczs.explainers import load_explainer
    from lmaczs.pipeline import explain_clip
    from lmaczs.results import write_explanation
    from lmaczs.signal.audio import load_clip

    with quiet_decoders():
        clip = load_clip(arguments.clip)
    with folder_written_whole(Path(arguments.out)) as folder:
        backend = load_backend(arguments.backend, arguments.device)
        explainer = load_explainer(arguments.method, backend, arguments.domain)
        with progress_bar("explain") as progress:
            result = explain_clip(clip, prompts, backend, explainer, target=target, progress=progress)
        write_explanation(result, folder, backend.name, explainer.label)
    print(ranked_table(as_text(arguments.clip), result.prediction))
    print(
        f'\nexplained with {explainer.label}: "{result.target}" (similarity {result.target_similarity:.3f})'
    )
    print(f"written to {arguments.out}: kept.wav, removed.wav, mask.npz, explanation.png, result.json")


def _target(arguments: argparse.Namespace) -> str | None:
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
