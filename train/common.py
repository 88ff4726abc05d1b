"""What every training script shares, in one place to import from."""

from train.config import RunConfig, parse_config, start
from train.loop import TrainingRun
from train.processes import make_accelerator

__all__ = ["RunConfig", "TrainingRun", "make_accelerator", "parse_config", "start"]
