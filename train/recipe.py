"""Recipes: YAML files that hold the settings of a run, read into the script's own dataclass."""

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from lmaczs.errors import LMACError

Config = TypeVar("Config")


def load_recipe(path: str | Path, kind: type[Config], **given: Any) -> Config:
    """Read a recipe.

    Numbers may be written as 1e-3, which YAML itself takes for text; lists become tuples; a field that is a dataclass
    is a mapping in the recipe.

    Args:
        path: YAML file that maps names of fields to values.
        kind: dataclass of the settings.
        given: values of fields that come before those of the recipe, e.g. from the command line.

    Returns:
        The settings; what neither the recipe nor `given` names has the dataclass's default.

    Raises:
        LMACError: the file cannot be read, a key is no field, a value has another type, or a field without a default is
            missing.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LMACError(f"The recipe '{path.name}' cannot be read: give a YAML file of settings.") from error
    values = {} if values is None else values
    return _built(kind, values, given, f"The recipe '{path.name}'")


def _built(kind: type[Config], values: Any, given: Mapping[str, Any], where: str) -> Config:
    if not isinstance(values, Mapping):
        raise LMACError(f"{where} holds {_shown(values)}: give settings as 'name: value'.")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    if unknown := [key for key in values if key not in fields]:
        raise LMACError(f"{where} sets '{unknown[0]}', which is no setting here: use {', '.join(fields)}.")
    read = {key: _fitted(hints[key], value, f"{where} at '{key}'") for key, value in values.items()}
    read |= given
    for name, field in fields.items():
        bare = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if bare and name not in read:
            raise LMACError(f"{where} does not set '{name}': add it, or give it on the command line.")
    return kind(**read)


def _fitted(hint: Any, value: Any, where: str) -> Any:
    """A value of YAML as the type that a field has."""
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _built(hint, value, {}, where)
    if origin is Literal and value in arguments:
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
        raise LMACError(f"{where} holds {_shown(value)}: give a value of the type {name}.")
    return fits


def _scalar(hint: Any, value: Any) -> Any:
    """The value as a plain type; None where it does not fit."""
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            return None
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint in (str, int, bool) and type(value) is hint:
        return value
    return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
