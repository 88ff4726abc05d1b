"""Average the weights of two runs, the second of which went on from the first: often better than either.

python train/average.py runs/lmac-zs-4 runs/lmac-zs-5 --share 0.6 --out runs/lmac-zs-mean
python train/export.py lmac-zs --run runs/lmac-zs-mean --out assets/releases/lmac-zs-compact-stft

Wortsman et al. 2022, "Model soups". Runs that did not begin with the same weights have no useful mean.
"""

import argparse
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from checkpoints import check_run, write_whole
from lmaczs.errors import CheckpointError, LMACError
from plain_errors import plain_errors


def average(first: dict[str, Tensor], second: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Mean of two sets of weights.

    Args:
        first: tensors by name.
        second: the same names and shapes.
        share: of the second in the mean, 0 to 1.

    Returns:
        tensors of the same names, shapes and types; what is no floating-point number is the second's.

    Raises:
        LMACError: the share is out of range.
        CheckpointError: names or shapes differ.
    """
    if not 0.0 <= share <= 1.0:
        raise LMACError(f"--share is {share}: give a number from 0 to 1.")
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in (first, second)]
    if shapes[0] != shapes[1]:
        raise CheckpointError("The two runs hold different networks: average runs of the same settings.")
    return {
        name: ((1 - share) * first[name] + share * tensor).contiguous()
        if tensor.is_floating_point()
        else tensor
        for name, tensor in second.items()
    }


def main(arguments: argparse.Namespace) -> None:
    """Write a run folder that can be exported: the mean's weights, the second run's settings and metrics.

    Raises:
        CheckpointError: a folder holds no run, or the runs hold different networks.
        LMACError: the share is out of range.
    """
    for run in (arguments.first, arguments.second):
        check_run(run)
    states = [load_file(run / "model.safetensors") for run in (arguments.first, arguments.second)]
    mean = average(*states, arguments.share)
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = json.loads((arguments.second / "config.json").read_text("utf-8"))
    settings["averaged_with_its_start"] = arguments.share
    (arguments.out / "config.json").write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    shutil.copyfile(arguments.second / "metrics.jsonl", arguments.out / "metrics.jsonl")
    write_whole(arguments.out / "model.safetensors", lambda path: save_file(mean, path))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path, help="run folder")
    parser.add_argument("second", type=Path, help="run folder that went on from it")
    parser.add_argument("--share", type=float, default=0.5, help="of the second in the mean, 0 to 1")
    parser.add_argument("--out", type=Path, required=True, help="run folder to write")
    with plain_errors():
        main(parser.parse_args())
