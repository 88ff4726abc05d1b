"""Package of training scripts; not part of the wheel."""
