"""The same work by public packages, for parity tests and for speed ratios: captum and grad-cam on our own model."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import Tensor

from lmaczs import load_explainer
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.target import make_target
from lmaczs.explainers.gradients import grid_levels, score_levels, silence_db
from lmaczs.types import AudioState, MaskDomain

SMOOTHGRAD_COPIES, INTEGRATION_STEPS = 25, 50


@contextmanager
def grad_cam_package() -> Iterator[ModuleType]:
    """The package grad-cam; what it imports of torchvision is an image helper that nothing here uses.

    torchvision's wheel does not load beside a CPU-only torch, so a stand-in takes its place for the time of the block.

    Raises:
        ImportError: the package is not installed.
    """
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    absent = [name for name in names if name not in sys.modules]
    for name in absent:
        module = ModuleType(name)
        for attribute in ("Compose", "Normalize", "ToTensor", "resize"):
            setattr(module, attribute, object)
        sys.modules[name] = module
    try:
        import pytorch_grad_cam

        yield pytorch_grad_cam
    finally:
        for name in absent:
            del sys.modules[name]


class Classifier(torch.nn.Module):
    """Mel power (batch, 1, n_mels, frames) -> logits of prompts: what grad-cam takes for a classifier."""

    def __init__(self, backend: CLAPBackend, prompts: Sequence[str]) -> None:
        super().__init__()
        self.backend = backend
        self.text = backend.encode_text(prompts).embedding

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.backend.logit_scale * self.backend.encode(images[:, 0])[0] @ self.text.T


def level_logits(
    backend: CLAPBackend, window: AudioState, prompt: str, domain: MaskDomain
) -> Callable[[Tensor], Tensor]:
    """Levels of a mask's grid in dB -> logits of a prompt: the function that our gradient methods explain."""
    target = make_target(backend, prompt)
    return lambda levels: score_levels(backend, target, levels, window, domain)


Pair = tuple[str, Callable[[], object], Callable[[], object]]


def captum_pairs(backend: CLAPBackend, window: AudioState, prompt: str, domain: MaskDomain) -> list[Pair]:
    """Name, ours and captum's on one window, with as many steps and copies; captum in its default settings.

    Raises:
        ImportError: the package is not installed.
    """
    from captum.attr import IntegratedGradients, NoiseTunnel, Saliency

    forward, target = level_logits(backend, window, prompt, domain), make_target(backend, prompt)
    levels = grid_levels(backend, window, domain)
    silence = torch.full_like(levels, silence_db(backend, domain))
    tunnel, integrated = NoiseTunnel(Saliency(forward)), IntegratedGradients(forward)
    ours_smooth = load_explainer("smoothgrad", backend, domain, n=SMOOTHGRAD_COPIES)
    ours_integrated = load_explainer("integrated-gradients", backend, domain, steps=INTEGRATION_STEPS)
    return [
        (
            f"SmoothGrad, {SMOOTHGRAD_COPIES} copies, {domain}, captum",
            lambda: ours_smooth.map_windows(window, target),
            lambda: tunnel.attribute(
                levels.clone().requires_grad_(), nt_samples=SMOOTHGRAD_COPIES, stdevs=12.0, abs=True
            ),
        ),
        (
            f"Integrated gradients, {INTEGRATION_STEPS} steps, {domain}, captum",
            lambda: ours_integrated.map_windows(window, target),
            lambda: integrated.attribute(
                levels, silence, n_steps=INTEGRATION_STEPS, return_convergence_delta=True
            ),
        ),
    ]


def grad_cam_pairs(backend: CLAPBackend, window: AudioState, prompt: str) -> list[Pair]:
    """Name, ours and grad-cam's on one window, at the same layer and target; both end at the mel grid.

    Raises:
        ImportError: the package is not installed.
    """
    target = make_target(backend, prompt)
    # The weights are frozen.
    images = window.mel_power.detach().clone().unsqueeze(1).requires_grad_()
    layer = list(backend.cam_layers.values())[-1]
    pairs: list[Pair] = []
    with grad_cam_package() as package:
        targets = [package.utils.model_targets.ClassifierOutputTarget(0)]
        for name, theirs in (("grad-cam", package.GradCAM), ("grad-cam++", package.GradCAMPlusPlus)):
            explainer = load_explainer(name, backend, "mel")

            def run_package(method: Callable = theirs) -> object:
                with method(Classifier(backend, [prompt]), [layer]) as cam:  # takes its hooks away again
                    return cam(images, targets)

            pairs.append(
                (
                    f"{explainer.label}, grad-cam",
                    lambda explainer=explainer: explainer.map_windows(window, target),
                    run_package,
                )
            )
    return pairs
