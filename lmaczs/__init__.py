"""Hear why an audio classifier decided what it did."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

# torchaudio's Linux wheel is linked against CUDA: beside a CPU-only torch its import raises OSError, and
# transformers, which imports torchaudio wherever it finds it, falls with it. Marking the module as absent
# keeps transformers whole.
try:
    import torchaudio  # noqa: F401
except ImportError:
    pass
except OSError:
    sys.modules["torchaudio"] = None  # type: ignore[assignment]

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lmaczs.clap import load_backend
    from lmaczs.explainers import load_explainer
    from lmaczs.hearing import explain_clip
    from lmaczs.signal.audio import load_clip
    from lmaczs.types import AudioClip, ExplainResult

__all__ = ["AudioClip", "ExplainResult", "explain_clip", "load_backend", "load_clip", "load_explainer"]

# Found at the first use: `import lmaczs` alone stays quick, and reads no weights.
_HOMES = {
    "AudioClip": "lmaczs.types",
    "ExplainResult": "lmaczs.types",
    "explain_clip": "lmaczs.hearing",
    "load_backend": "lmaczs.clap",
    "load_clip": "lmaczs.signal.audio",
    "load_explainer": "lmaczs.explainers",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lmaczs' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names also before their first use."""
    return sorted({*globals(), *__all__})
