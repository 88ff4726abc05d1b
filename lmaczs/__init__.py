"""Hear why an audio classifier decided what it did."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lmaczs.clap import load_backend
    from lmaczs.clap.labels.front_ends import MelPower, StftPower, Waveform
    from lmaczs.clap.labels.own import wrap_classifier
    from lmaczs.explainers import load_explainer
    from lmaczs.hearing import explain_clip
    from lmaczs.report.notebook import show
    from lmaczs.signal.audio import load_clip
    from lmaczs.types import AudioClip, ExplainResult


class _BrokenTorchaudio:
    """Marks torchaudio as absent where its import fails, right before transformers is imported.

    torchaudio's Linux wheel is linked against CUDA: beside a CPU-only torch its import raises OSError, and
    transformers, which imports torchaudio wherever it finds it, falls with it. The trial takes seconds, because it
    imports torch; so it waits until transformers is asked for.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find nothing; called with the name of each module that is imported for the first time."""
        if name == "transformers":
            self.hide()
            if self in sys.meta_path:
                sys.meta_path.remove(self)
        return None

    @staticmethod
    def hide() -> None:
        """Try the import; where it fails, transformers has to ask anew if it has asked before."""
        try:
            import torchaudio  # noqa: F401
        except ImportError:
            pass
        except OSError:
            sys.modules["torchaudio"] = None  # type: ignore[assignment]
            asked = sys.modules.get("transformers.utils.import_utils")
            forget = getattr(getattr(asked, "is_torchaudio_available", None), "cache_clear", None)
            if forget is not None:
                forget()


if "transformers" in sys.modules:
    _BrokenTorchaudio.hide()
else:
    sys.meta_path.insert(0, _BrokenTorchaudio())

__all__ = [
    "AudioClip",
    "ExplainResult",
    "MelPower",
    "StftPower",
    "Waveform",
    "explain_clip",
    "load_backend",
    "load_clip",
    "load_explainer",
    "show",
    "wrap_classifier",
]

# Found at the first use: `import lmaczs` alone imports neither torch nor transformers.
_HOMES = {
    "AudioClip": "lmaczs.types",
    "ExplainResult": "lmaczs.types",
    "MelPower": "lmaczs.clap.labels.front_ends",
    "StftPower": "lmaczs.clap.labels.front_ends",
    "Waveform": "lmaczs.clap.labels.front_ends",
    "explain_clip": "lmaczs.hearing",
    "show": "lmaczs.report.notebook",
    "load_backend": "lmaczs.clap",
    "load_clip": "lmaczs.signal.audio",
    "load_explainer": "lmaczs.explainers",
    "wrap_classifier": "lmaczs.clap.labels.own",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lmaczs' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names also before their first use."""
    return sorted({*globals(), *__all__})
