"""Processes that train together: devices and precision, and what they share in every step."""

import importlib
import os

import torch
from accelerate import Accelerator
from torch import nn

from lmaczs.errors import LMACError
from train.config import RunConfig


def make_accelerator(config: RunConfig) -> Accelerator:
    """Devices, precision and processes as `accelerate launch` chose them, and the logger asked for.

    Raises:
        LMACError: the precision or the logger does not exist, the logger is not installed, or several processes were
            started that do not know of each other.
    """
    if config.mixed_precision not in ("no", "bf16", "fp16"):
        raise LMACError(f"--mixed-precision is '{config.mixed_precision}': choose no, bf16 or fp16.")
    if config.log_with not in ("", "tensorboard", "trackio"):
        raise LMACError(f"--log-with is '{config.log_with}': choose tensorboard or trackio, or leave it out.")
    if torch.distributed.is_available():
        # The defaults of its functions keep the process group that they find when it is imported. Imported later, as
        # torch's optimisers do, it would keep the threads of a group that was given up, and these abort the process.
        importlib.import_module("torch.distributed.nn.functional")
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision, log_with=config.log_with or None, project_dir=config.run
    )
    started = int(os.environ.get("WORLD_SIZE", "1"))
    # Each would train alone, into the same folder.
    if started > 1 and accelerator.num_processes == 1:
        raise LMACError(
            f"{started} processes were started, but each found itself alone: without GPUs set ACCELERATE_USE_CPU=true "
            "before the launcher, or start one process."
        )
    # accelerate leaves out a logger that is not installed.
    if config.log_with and not accelerator.log_with:
        raise LMACError(
            f"--log-with {config.log_with} needs the package {config.log_with}: pip install {config.log_with}, or "
            "leave the flag out; metrics.jsonl is written either way."
        )
    return accelerator


def share_gradients(network: nn.Module, accelerator: Accelerator) -> None:
    """Average over processes, as one message; a parameter that no process used stays without a gradient."""
    if accelerator.num_processes == 1:
        return
    parameters = [p for p in network.parameters() if p.requires_grad]
    used = torch.tensor([float(p.grad is not None) for p in parameters], device=accelerator.device)
    flat = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten().float() for p in parameters]
    mean = accelerator.reduce(torch.cat([*flat, used]), "mean")
    gradients = torch.split(mean[: -len(parameters)], [p.numel() for p in parameters])
    shares = mean[-len(parameters) :].tolist()
    for parameter, gradient, share in zip(parameters, gradients, shares, strict=True):
        parameter.grad = gradient.view_as(parameter).to(parameter.dtype) if share > 0 else None


def share_buffers(network: nn.Module, accelerator: Accelerator) -> None:
    """Keep running statistics of batch normalisation equal; each process has seen its own clips only."""
    if accelerator.num_processes > 1:
        for buffer in network.buffers():
            if buffer.dtype.is_floating_point:
                buffer.copy_(accelerator.reduce(buffer, "mean"))
