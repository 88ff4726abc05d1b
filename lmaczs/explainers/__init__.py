"""(audio, prompt) -> mask, one file or folder per method; `EXPLAINERS` lists them by key."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lmaczs.errors import LMACError
from lmaczs.types import MaskDomain

if TYPE_CHECKING:
    from lmaczs.clap.base import CLAPBackend
    from lmaczs.explainers.base import Explainer


def _lmac_zs(backend: "CLAPBackend", domain: MaskDomain) -> "Explainer":
    from lmaczs.explainers.lmac_zs.explainer import LMACZS

    return LMACZS.from_release(backend, domain)


def _gradcam(backend: "CLAPBackend", domain: MaskDomain) -> "Explainer":
    from lmaczs.explainers.gradcam import GradCAMPlusPlus

    return GradCAMPlusPlus(backend, domain)


EXPLAINERS: dict[str, Callable[["CLAPBackend", MaskDomain], "Explainer"]] = {
    "lmac-zs": _lmac_zs,
    "grad-cam++": _gradcam,
}


def load_explainer(name: str, backend: "CLAPBackend", domain: MaskDomain = "stft") -> "Explainer":
    """Build an explainer for a backend; a method with weights reads them from its release.

    Args:
        name: key in `EXPLAINERS`.
        backend: the CLAP whose decisions it explains.
        domain: where its masks apply, "stft" (what is heard is what is scored) or "mel".

    Raises:
        LMACError: no such explainer or domain.
        BackendUnavailableError: its weights for this backend and domain are not at hand.
        CheckpointError: its weights are damaged or made for another backend.
    """
    if name not in EXPLAINERS:
        known = ", ".join(f"'{key}'" for key in EXPLAINERS)
        raise LMACError(f"There is no explainer '{name}': choose one of {known}.")
    if domain not in ("stft", "mel"):
        raise LMACError(f"There is no mask domain '{domain}': choose 'stft' or 'mel'.")
    return EXPLAINERS[name](backend, domain)
