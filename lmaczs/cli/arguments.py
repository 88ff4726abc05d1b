"""Arguments that several commands take: prompts from a file, the model, the method and its options."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmaczs.clap import default_backend, labels_for
from lmaczs.clap.prompts import clean_prompts, lines_of
from lmaczs.errors import LMACError, PromptError
from lmaczs.explainers import METHODS, default_method

MAX_PROMPT_FILE_BYTES = 1 << 20


def add_prompt_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --prompts-file, --labels-file and --labels, one of which is needed."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--prompts-file", metavar="FILE", help="text file, one full sentence per line")
    group.add_argument(
        "--labels-file",
        metavar="FILE",
        help="text file, one bare label per line; becomes 'this is the sound of LABEL'",
    )
    group.add_argument(
        "--labels",
        choices=("all",),
        help="all: the labels that the classifier was trained for, if it has some (a backend 'hf:...' or 'py:...')",
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --backend, --weights and --device."""
    parser.add_argument(
        "--backend",
        default=default_backend(),
        metavar="NAME",
        help="the classifier; 'lmaczs list' shows them (LMACZS_BACKEND, or compact-2); or one of transformers' audio "
        "classifiers, hf:FOLDER or hf:owner/name@COMMIT; or py:FILE.py, a file of yours that makes one",
    )
    parser.add_argument(
        "--weights",
        metavar="PATH",
        help="file or folder in its publisher's layout, in the place of the published weights",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="cpu or cuda; without it a GPU is used where there is one"
    )


def add_method_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --method, --domain, --score and --option."""
    parser.add_argument(
        "--method",
        metavar="NAME",
        help=f"{', '.join(METHODS)} (lmac-zs where a decoder was trained for the classifier, else lmac-any)",
    )
    parser.add_argument(
        "--domain", default="stft", choices=("stft", "mel"), help="where the mask applies (stft)"
    )
    parser.add_argument(
        "--score",
        default="logit",
        choices=("cosine", "logit", "probability", "contrastive"),
        help="what the method explains; probability and contrastive compare with the other prompts (logit)",
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="setting of the method, e.g. layer=block3 of grad-cam++, n=50 and sigma=0.1 of smoothgrad; repeatable",
    )


def chosen_method(arguments: argparse.Namespace, options: Mapping[str, Any]) -> str:
    """The method by name: --method, or the default one of the classifier.

    Args:
        arguments: with --method, --domain, --backend and --weights.
        options: of --option; a release without a method is one of LMAC-ZS.
    """
    if arguments.method is not None:
        return str(arguments.method)
    if "release" in options:
        return "lmac-zs"
    return default_method(arguments.backend, arguments.domain, arguments.weights is not None)


def method_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Options of the method, as `load_explainer` takes them.

    Args:
        arguments: with --option.

    Raises:
        LMACError: an option is not NAME=VALUE, or says what is explained, which is --score.
    """
    options: dict[str, Any] = {}
    for text in arguments.option:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise LMACError(f"--option got '{as_text(text)}': write NAME=VALUE, e.g. n=50.")
        if name.strip() in ("score", "rivals"):
            raise LMACError(
                f"The methods have no option '{name.strip()}': choose what is explained by --score; the rivals are the "
                "other prompts."
            )
        options[name.strip()] = _number_or_text(as_text(value.strip()))
    return options


def _number_or_text(text: str) -> int | float | str:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def whole_number(text: str) -> int:
    """A count of 1 or more, for argparse.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{as_text(text)}' is no whole number of 1 or more")
    return int(text)


def read_lines(path: str) -> list[str]:
    """Prompts or labels of a text file: one per line, empty lines passed over.

    Raises:
        PromptError: not a readable UTF-8 text, no line, one twice, or see `lmaczs.clap.prompts.clean_prompts`.
    """
    shown = Path(path).name
    try:
        if Path(path).stat().st_size > MAX_PROMPT_FILE_BYTES:
            raise PromptError(f"'{shown}' is larger than 1 MB: give a text file with one prompt per line.")
        text = Path(path).read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise PromptError(f"'{shown}' is no UTF-8 text: give a text file with one prompt per line.") from None
    except (OSError, ValueError):
        raise PromptError(
            f"The prompts file '{shown}' cannot be read: check its name and folder, and that you may read it."
        ) from None
    lines = [(number, line) for number, line in enumerate(lines_of(text), start=1) if line.strip()]
    if not lines:
        raise PromptError(f"'{shown}' holds no prompt: write one per line.")
    names = [f"Line {number} of '{shown}'" for number, _ in lines]
    prompts = clean_prompts([line for _, line in lines], names=names)
    first_seen: dict[str, int] = {}
    for number, line in zip((number for number, _ in lines), prompts, strict=True):
        if line in first_seen:
            raise PromptError(
                f"Lines {first_seen[line]} and {number} of '{shown}' are the same prompt: remove one."
            )
        first_seen[line] = number
    return list(first_seen)


def read_prompts(arguments: argparse.Namespace) -> list[str]:
    """Full sentences from --prompts-file, or from --labels-file with the paper's prefix; or the classifier's own labels.

    Raises:
        PromptError: see `read_lines`; or the classifier has no labels of its own.
    """
    if arguments.labels == "all":
        own = labels_for(arguments.backend)
        if own is None:
            raise PromptError(
                f"The classifier '{as_text(arguments.backend)}' takes any prompt and has no labels of its own: give "
                "--prompts-file or --labels-file."
            )
        return list(own)
    if arguments.prompts_file:
        return read_lines(arguments.prompts_file)
    labels = read_lines(arguments.labels_file)
    from lmaczs.clap.similarity import prompts_from_labels

    return prompts_from_labels(labels)


def as_text(argument: str) -> str:
    """An argument that can be shown and stored: bytes that are no UTF-8 become question marks."""
    return argument.encode("utf-8", "replace").decode("utf-8")
