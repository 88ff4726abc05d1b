"""A classifier that a Python file of one's own makes: "py:FILE.py", so that every command and the page can load it.

The file is run as it is, with all that it may do: name only files that you have written or read.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.labels.folders import PYTHON, shown_name
from lmaczs.errors import BackendUnavailableError, LMACError

FUNCTION = "classifier"


def load_python_file(name: str) -> CLAPBackend:
    """Run a file and take what its function `classifier()` gives.

    Args:
        name: "py:" and the path of the file.

    Raises:
        BackendUnavailableError: there is no such file, or it makes no classifier.
        LMACError: what it says itself, e.g. `wrap_classifier` of a module that cannot be explained.
    """
    path = Path(name.removeprefix(PYTHON))
    shown = path.name or name
    if not path.is_file() or path.suffix != ".py":
        raise BackendUnavailableError(
            f"'{shown}' is no Python file: give 'py:' and a file with a function {FUNCTION}() that returns what "
            "lmaczs.wrap_classifier gives."
        )
    make = getattr(_run(path, shown), FUNCTION, None)
    if not callable(make):
        raise BackendUnavailableError(
            f"'{shown}' has no function {FUNCTION}(): write one that returns what lmaczs.wrap_classifier gives."
        )
    made = _called(make, shown)
    if not isinstance(made, CLAPBackend):
        raise BackendUnavailableError(
            f"{FUNCTION}() of '{shown}' gives {type(made).__name__}: let it return what lmaczs.wrap_classifier gives."
        )
    made.name, made.source = shown_name(name), name
    return made


def _run(path: Path, shown: str) -> Any:
    # Under a name of its own: a file called torch.py must not stand for torch.
    spec = importlib.util.spec_from_file_location(f"lmaczs_own_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # As for a program, what lies beside the file can be imported.
    sys.path.insert(0, str(path.resolve().parent))
    try:
        sys.modules[spec.name] = module
        _called(lambda: spec.loader.exec_module(module), shown)
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _called(work: Any, shown: str) -> Any:
    try:
        return work()
    except LMACError:
        raise
    except Exception as error:
        raise BackendUnavailableError(
            f"'{shown}' stops with {type(error).__name__}: {error}. Run it with python to see where."
        ) from error
