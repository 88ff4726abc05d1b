"""Settings of a run of `train_compact.py`, read from a YAML file."""

from dataclasses import dataclass
from pathlib import Path

from train.recipe import load_recipe


@dataclass(frozen=True)
class Recipe:
    """Settings of a run, one for each line of the YAML file; what they mean is said there."""

    phrases: str
    wordings: str
    learned_dim: int
    level_db: float
    silence_db: float
    phrase_temperature: float
    mixed_share: float
    least_noise_db: float
    most_noise_db: float
    views: int
    head_steps: int
    head_batch: int
    head_rate: float
    shift_rate: float
    shift_decay: float
    frozen_blocks: int
    tune_steps: int
    tune_batch: int
    tune_rate: float
    save_every: int
    phrase_weight: float
    start_weight: float
    text_noise: float
    start_share: float
    learned_weight: float


def read_recipe(path: Path) -> Recipe:
    """Settings of a YAML file.

    Raises:
        LMACError: it cannot be read, or its settings are not those of `Recipe`.
    """
    return load_recipe(path, Recipe)
