"""Recipes: YAML files that hold the settings of a run, read into the script's own dataclass."""

from pathlib import Path
from typing import Any, TypeVar

import yaml

from lmaczs.errors import LMACError
from lmaczs.settings import build_settings

Config = TypeVar("Config")


def load_recipe(path: str | Path, kind: type[Config], **given: Any) -> Config:
    """Read a recipe.

    Args:
        path: YAML file that maps names of fields to values; see `lmaczs.settings.build_settings`.
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
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise LMACError(f"The recipe '{path.name}' cannot be read: give a YAML file of settings.") from error
    return build_settings(kind, {} if values is None else values, f"The recipe '{path.name}'", **given)
