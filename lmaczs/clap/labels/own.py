"""A torch module of one's own as a classifier that everything here can explain."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lmaczs.clap.labels.base import LabelClassifier
from lmaczs.clap.labels.front_ends import FrontEnd
from lmaczs.clap.labels.layers import find_layers
from lmaczs.errors import LMACError


def wrap_classifier(
    module: nn.Module,
    labels: Sequence[str],
    front_end: FrontEnd,
    *,
    multi_label: bool = False,
    layers: Mapping[str, nn.Module] | None = None,
    name: str = "own",
) -> LabelClassifier:
    """Make a classifier of a torch module; its labels are the prompts.

    The module is run on noise a few times: to see that its logits fit the labels, that gradients flow through it, and
    which of its layers have maps over time (for GradCAM and the universal decoder).

        classifier = wrap_classifier(module, ["cough", "breath"], Waveform.at(16000))
        method = load_explainer("lmac-any", classifier)
        result = explain_clip(load_clip("cough.wav"), classifier.labels, classifier, method)

    Args:
        module: gives (batch, labels) logits, or an object with `logits`; put into evaluation mode and frozen.
        labels: in the order of the logits.
        front_end: what the module takes: `lmaczs.MelPower`, `StftPower` or `Waveform`.
        multi_label: each label is decided on by itself (sigmoid), instead of one among all (softmax).
        layers: layers whose output is a map, shallow to deep, by name; None: they are looked for.
        name: in result files; not the name of a backend.

    Returns:
        The classifier, on the device of the module.

    Raises:
        LMACError: the labels, the logits or the gradients cannot be used.
    """
    module = module.eval().requires_grad_(False)
    classifier = LabelClassifier(module, labels, front_end, multi_label, name)
    weights = next(iter([*module.parameters(), *module.buffers()]), torch.empty(0))
    classifier = classifier.to(weights.device).eval()
    first, second = probes(classifier)
    _check_logits(classifier, first)
    classifier.layers = find_layers(module, first, second, layers)
    missing = [key for key in layers or {} if key not in classifier.layers]
    if missing:
        raise LMACError(
            f"The layer '{missing[0]}' puts out no map over time that the logits depend on: name other layers, or leave "
            "layers= out."
        )
    return classifier


def probes(classifier: LabelClassifier) -> tuple[Tensor, Tensor]:
    """Two inputs of the module, noise, alike in their first half: (1, ...) each."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(2, classifier.clip_samples, generator=generator)
    noise[1, : classifier.clip_samples // 2] = noise[0, : classifier.clip_samples // 2]
    with torch.no_grad():
        heard = classifier.front_end.original(classifier.spectra(noise.to(classifier.mel_filters.device)))
    return heard[:1], heard[1:]


def _check_logits(classifier: LabelClassifier, heard: Tensor) -> None:
    """Refuse a module whose output does not fit its labels, or that cannot be explained."""
    count = classifier.embed_dim
    # Callers may be in no_grad or inference_mode.
    with torch.inference_mode(False), torch.enable_grad():
        leaf = heard.detach().clone().requires_grad_(True)
        try:
            found = classifier.module(leaf)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise LMACError(
                f"The module cannot read its input of shape {tuple(leaf.shape)} ({error}): check front_end, and its "
                "transform."
            ) from error
        logits = getattr(found, "logits", found)
        if not isinstance(logits, Tensor) or logits.shape != (1, count):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise LMACError(
                f"The module gives {shape} for one window, and (1, {count}) fits its {count} labels: check labels, or "
                "wrap it in a module that gives the logits alone."
            )
        if not bool(torch.isfinite(logits).all()):
            raise LMACError("The module's logits for noise are not finite: check its input and its weights.")
        # Not of size 0: a module may be indifferent to noise.
        if not logits.requires_grad or torch.autograd.grad(logits.sum(), leaf, allow_unused=True)[0] is None:
            raise LMACError(
                "No gradient flows from the module's logits to its input: take no_grad, detach or rounding out of it."
            )
