"""Plain values, as JSON and YAML know them, into the dataclass that they are settings of; or one sentence why not."""

import dataclasses
import math
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lmaczs.errors import LMACError

Settings = TypeVar("Settings")


def build_settings(
    kind: type[Settings], values: Any, where: str, error: type[LMACError] = LMACError, **given: Any
) -> Settings:
    """Check types and names, and build the dataclass.

    Lists become tuples, numbers may be texts like 1e-3 (which YAML takes for a text), and a field that is a dataclass is
    a mapping.

    Args:
        kind: dataclass; a ValueError of its `__post_init__` says what is out of range.
        values: by name of the field, from a file.
        where: beginning of the error's sentence, e.g. "The recipe 'a.yaml'".
        error: class of the error.
        given: values that come before those of the file, of the right types.

    Returns:
        The settings; what neither `values` nor `given` names has the dataclass's default.

    Raises:
        LMACError: of the class `error`; a name is no field, a value has another type or is out of range, or a field
            without a default is missing.
    """
    try:
        return _built(kind, values, where, given)
    except ValueError as problem:
        raise error(str(problem)) from problem


def fit_value(hint: Any, value: Any, where: str, error: type[LMACError] = LMACError) -> Any:
    """Check one plain value.

    Args:
        hint: type that it has to have: a dataclass, a plain type, a tuple of them, a Literal, or one of these or None.
        value: from a file.
        where: beginning of the error's sentence.
        error: class of the error.

    Raises:
        LMACError: of the class `error`; the value has another type or is out of range.
    """
    try:
        return _fitted(hint, value, where)
    except ValueError as problem:
        raise error(str(problem)) from problem


def _built(kind: type[Settings], values: Any, where: str, given: Mapping[str, Any]) -> Settings:
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} holds {_shown(values)}: give settings by name.")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    if unknown := [key for key in values if key not in fields]:
        raise ValueError(
            f"{where} sets {_shown(unknown[0])}, which is no setting here: use {', '.join(fields)}."
        )
    read = {key: _fitted(hints[key], value, f"{where} at '{key}'") for key, value in values.items()}
    read |= given
    for name, field in fields.items():
        bare = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if bare and name not in read:
            raise ValueError(f"{where} does not set '{name}': it has to be given.")
    try:
        return kind(**read)
    except ValueError as problem:
        raise ValueError(f"{where} cannot be used: {problem}") from problem


def _fitted(hint: Any, value: Any, where: str) -> Any:
    """A plain value as the type that a field has."""
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _built(hint, value, where, {})
    if origin is Literal and any(value == choice and type(value) is type(choice) for choice in arguments):
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _fitted(next(part for part in arguments if part is not type(None)), value, where)
    if origin is tuple and isinstance(value, list):
        many = len(arguments) == 2 and arguments[1] is Ellipsis
        parts = (arguments[0],) * len(value) if many else arguments
        if len(parts) == len(value):
            return tuple(_fitted(part, item, where) for part, item in zip(parts, value, strict=True))
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _fitted(arguments[1], item, where) for key, item in value.items()}
    fits = _scalar(hint, value)
    if fits is None:
        name = (
            hint.__name__ if isinstance(hint, type) and origin is None else str(hint).replace("typing.", "")
        )
        raise ValueError(f"{where} holds {_shown(value)}: give a value of the type {name}.")
    return fits


def _scalar(hint: Any, value: Any) -> Any:
    """The value as a plain type; None where it does not fit."""
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint in (str, int, bool) and type(value) is hint:
        return value
    return None


def _shown(value: Any) -> str:
    """A value in a sentence; a deeply nested one cannot be printed."""
    try:
        text = repr(value)
    except RecursionError:
        return "deeply nested values"
    return text if len(text) <= 60 else f"{text[:57]}..."
