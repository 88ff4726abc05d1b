"""A tiny compact CLAP with seeded, untrained weights: the real class and the real code paths, no files."""

import hashlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.compact import CompactCLAP, CompactConfig
from lmaczs.clap.minilm import TEXT_WIDTH
from lmaczs.signal.spectral import SpectralConfig

DEBUG_CONFIG = CompactConfig(
    spectral=SpectralConfig(
        sample_rate=16000, n_fft=512, hop_length=320, n_mels=32, f_min=50.0, f_max=8000.0
    ),
    clip_seconds=2.0,
    widths=(4, 6, 8, 12, 16),
    embed_dim=16,
)


class HashedSentences(nn.Module):
    """Sentence -> a fixed random direction, drawn from the sentence's hash."""

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Sentences -> (prompts, 384), unit norm."""
        rows = []
        for prompt in prompts:
            seed = int.from_bytes(hashlib.sha256(prompt.encode("utf-8", "replace")).digest()[:7], "big")
            rows.append(torch.randn(TEXT_WIDTH, generator=torch.Generator().manual_seed(seed)))
        return F.normalize(torch.stack(rows), dim=-1)


class DebugCLAP(CompactCLAP):
    """`CompactCLAP` under its own registry key, so that decoders made for it are told apart."""

    name = "debug"
    max_tokens = 2000  # its sentences are code points


def build_debug(seed: int = 0) -> DebugCLAP:
    """Build it; the caller's random state is left as it was.

    Args:
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DebugCLAP(DEBUG_CONFIG, HashedSentences())
    return model.eval()
