"""Batch normalisation over mel bands, the first layer of CNN14 and HTSAT, with a gradient that can be trusted."""

import torch
from torch import Tensor, nn


def normalise_bands(layer: nn.BatchNorm2d, log_mel: Tensor) -> Tensor:
    """Normalise every mel band by its own mean and variance.

    In evaluation mode it is written out: torch's CPU backward of batch normalisation returns a permuted gradient
    when the incoming one is a transposed view, as it is in these encoders. Tests hold this against finite differences.

    Args:
        layer: one channel for each band.
        log_mel: (batch, n_mels, frames), dB.

    Returns:
        (batch, n_mels, frames).
    """
    if layer.training:
        normed: Tensor = layer(log_mel.unsqueeze(-1))
        return normed.squeeze(-1)
    mean, variance = layer.running_mean, layer.running_var
    assert mean is not None and variance is not None  # always tracked here; tells the type checker so
    scale = layer.weight * torch.rsqrt(variance + layer.eps)
    shift = layer.bias - mean * scale
    return log_mel * scale[:, None] + shift[:, None]
