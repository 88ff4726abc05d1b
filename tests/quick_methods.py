"""Every method with few steps: routes are compared with each other, and their numbers do not depend on how many."""

from dataclasses import dataclass

from lmaczs.explainers import METHODS
from lmaczs.explainers.integrated_gradients import IntegratedGradients
from lmaczs.explainers.occlusion import Occlusion
from lmaczs.explainers.optimized_mask import OptimizedMask
from lmaczs.explainers.rise import RISE
from lmaczs.explainers.slime import SLIME
from lmaczs.explainers.smoothgrad import SmoothGrad


@dataclass(frozen=True, eq=False)
class QuickSmoothGrad(SmoothGrad):
    n: int = 2


@dataclass(frozen=True, eq=False)
class QuickIntegratedGradients(IntegratedGradients):
    steps: int = 3


@dataclass(frozen=True, eq=False)
class QuickOcclusion(Occlusion):
    bands: int = 16
    seconds: float = 1.0
    overlap: int = 1


@dataclass(frozen=True, eq=False)
class QuickRISE(RISE):
    n: int = 8


@dataclass(frozen=True, eq=False)
class QuickSLIME(SLIME):
    n: int = 16


@dataclass(frozen=True, eq=False)
class QuickOptimizedMask(OptimizedMask):
    steps: int = 2


QUICK = {
    "smoothgrad": "QuickSmoothGrad",
    "integrated-gradients": "QuickIntegratedGradients",
    "occlusion": "QuickOcclusion",
    "rise": "QuickRISE",
    "slime": "QuickSLIME",
    "optimized-mask": "QuickOptimizedMask",
}


def quick(name: str) -> str:
    """Where the registry finds the quick form of a method."""
    return f"tests.quick_methods:{QUICK[name]}" if name in QUICK else METHODS[name]
