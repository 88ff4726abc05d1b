"""(recording, target) -> explanation, one file or folder for each method; `METHODS` lists them by key."""

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lmaczs.errors import LMACError
from lmaczs.types import MaskDomain

if TYPE_CHECKING:
    from lmaczs.clap.base import CLAPBackend
    from lmaczs.explainers.base import Method, MethodEntry

# Key -> class; imported at the first use. Fast ones first. A new method is one file and one line here.
METHODS: dict[str, str] = {
    "lmac-zs": "lmaczs.explainers.lmac_zs.explainer:LMACZS",
    "lmac-any": "lmaczs.explainers.lmac_any.explainer:LMACAny",
    "l2i": "lmaczs.explainers.l2i.explainer:L2I",
    "l2i-esc50": "lmaczs.explainers.l2i.explainer:L2IESC50",
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
DOMAINS: tuple[MaskDomain, ...] = ("stft", "mel")


def load_explainer(
    name: str, backend: "CLAPBackend", domain: MaskDomain = "stft", **options: Any
) -> "Method":
    """Build a method for a classifier; a method with weights reads them from its release, the others are made at once.

    Args:
        name: key in `METHODS`.
        backend: the classifier whose decisions it explains.
        domain: where its masks apply, "stft" (what is heard is what is scored) or "mel".
        **options: the method's own, see its class; `options_of(name)` lists them.

    Raises:
        LMACError: no such method, domain or option, or an option's value cannot be used.
        BackendUnavailableError: its weights for this backend and domain are not at hand.
        CheckpointError: its weights are damaged or made for another classifier.
    """
    method = _class_of(name)
    if domain not in DOMAINS:
        raise LMACError(f"There is no mask domain '{domain}': choose 'stft' or 'mel'.")
    method.entry.check_domain(domain)
    accepted = options_of(name)
    for option in options:
        if option not in accepted:
            known = ", ".join(accepted) or "none"
            raise LMACError(f"The explainer '{name}' has no option '{option}': it takes {known}.")
    return method.load(backend, domain, **options)


def default_method(backend: str, domain: MaskDomain = "stft", own_weights: bool = False) -> str:
    """The method for whoever names none: LMAC-ZS where a decoder was trained for the classifier, else the universal one.

    Args:
        backend: key of the classifier.
        domain: of the masks.
        own_weights: whether the classifier has other weights than the published ones, which no decoder was trained for.
    """
    from lmaczs.release_names import decoder_release, embedded_releases

    trained = decoder_release(backend, domain) in embedded_releases()
    return "lmac-zs" if trained and not own_weights else "lmac-any"


def entry_of(name: str) -> "MethodEntry":
    """What is said of a method: label, paper, sentence, domains.

    Raises:
        LMACError: no such method.
    """
    return _class_of(name).entry


def options_of(name: str) -> tuple[str, ...]:
    """Options that a method takes besides backend and domain.

    Raises:
        LMACError: no such method.
    """
    method: Any = _class_of(name)
    made_by = method.load if method.entry.trained else method
    return tuple(part for part in inspect.signature(made_by).parameters if part not in ("backend", "domain"))


def _class_of(name: str) -> "type[Method]":
    """The class of a method."""
    if name not in METHODS:
        known = ", ".join(f"'{key}'" for key in METHODS)
        raise LMACError(f"There is no explainer '{name}': choose one of {known}.")
    module, _, attribute = METHODS[name].partition(":")
    found: type[Method] = getattr(import_module(module), attribute)
    return found
