"""(audio, prompt) -> mask, one file or folder per method; `EXPLAINERS` lists them by key."""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lmaczs.errors import LMACError
from lmaczs.types import MaskDomain

if TYPE_CHECKING:
    from lmaczs.clap.base import CLAPBackend
    from lmaczs.explainers.base import Explainer

# Key -> what builds it from (backend, domain, options); imported at the first use. Fast ones first.
EXPLAINERS: dict[str, str] = {
    "lmac-zs": "lmaczs.explainers.lmac_zs.explainer:LMACZS.from_release",
    "l2i": "lmaczs.explainers.l2i.explainer:L2I.from_release",
    "l2i-esc50": "lmaczs.explainers.l2i.explainer:L2IESC50.from_release",
    "grad-cam": "lmaczs.explainers.gradcam:GradCAM",
    "grad-cam++": "lmaczs.explainers.gradcam:GradCAMPlusPlus",
    "saliency": "lmaczs.explainers.saliency:Saliency",
    "smoothgrad": "lmaczs.explainers.smoothgrad:SmoothGrad",
    "integrated-gradients": "lmaczs.explainers.integrated_gradients:IntegratedGradients",
    "occlusion": "lmaczs.explainers.occlusion:Occlusion",
    "rise": "lmaczs.explainers.rise:RISE",
    "slime": "lmaczs.explainers.slime:SLIME",
    "optimized-mask": "lmaczs.explainers.optimized_mask:OptimizedMask",
}
TRAINED = ("lmac-zs", "l2i", "l2i-esc50")  # their weights belong to one CLAP


def load_explainer(
    name: str, backend: "CLAPBackend", domain: MaskDomain = "stft", **options: Any
) -> "Explainer":
    """Build an explainer for a backend; a method with weights reads them from its release, the others are made at once.

    Args:
        name: key in `EXPLAINERS`.
        backend: the CLAP whose decisions it explains.
        domain: where its masks apply, "stft" (what is heard is what is scored) or "mel".
        **options: the method's own, see its class; `options_of(name)` lists them. All methods but those in `TRAINED` and
            "optimized-mask" take `score` (what is explained, see `lmaczs.explainers.scores`); all but those in `TRAINED`
            take `rivals` (sentences that the prompt competes with, for the scores that compare).

    Raises:
        LMACError: no such explainer, domain or option, or an option's value cannot be used.
        BackendUnavailableError: its weights for this backend and domain are not at hand.
        CheckpointError: its weights are damaged or made for another backend.
    """
    build = _builder(name)
    if domain not in ("stft", "mel"):
        raise LMACError(f"There is no mask domain '{domain}': choose 'stft' or 'mel'.")
    accepted = options_of(name)
    for option in options:
        if option not in accepted:
            raise LMACError(
                f"The explainer '{name}' has no option '{option}': it takes {', '.join(accepted)}."
            )
    return build(backend, domain, **options)


def options_of(name: str) -> tuple[str, ...]:
    """Options that a method takes besides backend and domain.

    Raises:
        LMACError: no such explainer.
    """
    parameters = tuple(inspect.signature(_builder(name)).parameters)
    return tuple(parameter for parameter in parameters if parameter not in ("backend", "domain"))


def domains_of(name: str) -> tuple[MaskDomain, ...]:
    """Domains that a method can have masks in, with weights or without.

    Raises:
        LMACError: no such explainer.
    """
    build: Any = _builder(name)  # a class, or a class's own way to build itself
    return getattr(build, "__self__", build).domains


def _builder(name: str) -> Callable[..., "Explainer"]:
    """What builds an explainer."""
    if name not in EXPLAINERS:
        known = ", ".join(f"'{key}'" for key in EXPLAINERS)
        raise LMACError(f"There is no explainer '{name}': choose one of {known}.")
    module, _, attribute = EXPLAINERS[name].partition(":")
    found: Any = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found
