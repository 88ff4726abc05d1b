"""Arguments of the commands that score many labelled recordings: the clip table, names with commas, releases."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lmaczs.errors import LMACError


def add_table_arguments(parser: argparse.ArgumentParser, needed: bool = True) -> None:
    """Add --clips, which may be `needed`, --where and --out."""
    parser.add_argument(
        "--clips",
        required=needed,
        metavar="CSV",
        help="table with the columns path (relative to it) and label",
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="only lines with this value; repeatable",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")


def key_value_pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """Split "key=value" texts.

    Raises:
        LMACError: a text has no "=" or nothing before it.
    """
    for text in texts:
        if not text.partition("=")[0] or "=" not in text:
            raise LMACError(f"{option} got '{text}': write it as NAME=VALUE.")
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def method_names(text: str, least: int = 0) -> list[str]:
    """Split --methods.

    Raises:
        LMACError: there are fewer than `least`, a method is named twice, or a control is named.
    """
    from lmaczs.evaluation.masks import CONTROLS

    names = split_names(text)
    if len(names) < least or len(set(names)) != len(names) or set(names) & set(CONTROLS):
        raise LMACError(f"--methods got '{text}': name each method once; controls are always there.")
    return names


def split_names(text: str) -> list[str]:
    """Names of a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def title_of(table: str, where: dict[str, str], used: int, available: int) -> str:
    """What was evaluated, for headings; names the table's file and not its folder."""
    chosen = ", ".join(f"{column} {value}" for column, value in where.items()) or Path(table).stem
    return chosen if used == available else f"{chosen} ({used} of {available} clips)"


def chosen_names(text: str, option: str, known: Sequence[str]) -> tuple[str, ...]:
    """Split a list with commas, each of known names at most once, at least one."""
    names = tuple(split_names(text))
    if not names or len(set(names)) != len(names) or not set(names) <= set(known):
        raise LMACError(
            f"{option} got '{text}': give one or more of {', '.join(known)}, with commas, each once."
        )
    return names


def named_releases(texts: Sequence[str], methods: Sequence[str]) -> dict[str, list[str]]:
    """Method -> its releases; one for each mask domain where it has several."""
    releases: dict[str, list[str]] = {}
    for text in texts:
        for name, release in key_value_pairs([text], "--releases").items():
            releases.setdefault(name, []).append(release)
    if unused := sorted(releases.keys() - set(methods)):
        raise LMACError(
            f"--releases names '{unused[0]}', which is not among the methods {', '.join(methods)}."
        )
    return releases
