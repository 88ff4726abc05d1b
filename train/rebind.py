"""Write into releases whose weights stay as they are whom they explain, and fresh golden tensors.

python -m train.rebind assets/releases/l2i-open-compact-2
python -m train.rebind runs/head-l2i-release --head runs/classifier-esc50/release

For releases of an older version, which named their classifier only, and after a change of what a method makes of a
sound. It takes your word that the weights were trained for the classifier that is loaded: a release that names other
weights already is refused.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

if not __package__:  # started as a file: put the repository in the place of this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from safetensors.torch import save_file
from torch import nn

from lmaczs import load_backend
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.decisions import KIND as HEAD
from lmaczs.clap.decisions import load_head
from lmaczs.errors import CheckpointError
from lmaczs.hub import refuse_other_backend, trained_for
from lmaczs.release_config import CONFIG, GOLDEN, read_config
from lmaczs.release_files import swap_in, write_json
from train.golden import golden_sound, load_method, make_golden
from train.model_card import render
from train.plain_errors import plain_errors

METHODS = ("lmac-zs", "l2i")


def rebind(folder: Path, backend: CLAPBackend, head: nn.Module | None = None) -> None:
    """Write the hashes of the classifier, and the golden tensors of a method, into a release.

    Args:
        folder: of the release; replaced in one move.
        backend: that its weights were trained for.
        head: that it explains, where that is not the backend's own decision.

    Raises:
        CheckpointError: it is no release of a decoder, interpreter, imitation or head, or names other weights already.
    """
    config = read_config(folder)
    if config["kind"] not in (*METHODS, "surrogate", HEAD):
        raise CheckpointError(
            f"'{folder.name}' holds '{config['kind']}' weights, which explain no classifier: name a release of a "
            "decoder, an interpreter or a head."
        )
    bound = {
        **config,
        **{key: value for key, value in trained_for(backend, head).items() if key not in config},
    }
    refuse_other_backend(bound, backend, "release", "export.py", head)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
        fresh = Path(place) / folder.name
        shutil.copytree(folder, fresh)
        write_json(fresh / CONFIG, _in_order(bound))
        if config["kind"] in METHODS:
            golden = make_golden(load_method(fresh, bound, backend), golden_sound(backend))
            save_file(golden, fresh / GOLDEN)
            (fresh / GOLDEN).chmod(0o644)
        if (fresh / "training.json").is_file():
            (fresh / "README.md").write_text(render(fresh), "utf-8")
        swap_in(fresh, folder)


def _in_order(config: dict[str, Any]) -> dict[str, Any]:
    """The hashes beside the name that they belong to."""
    first = ("format", "kind", "weights_sha256", "backend", "backend_sha256", "head_sha256")
    return {key: config[key] for key in (*first, *config) if key in config}


def main() -> None:
    """Read the flags and rebind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("releases", nargs="+", type=Path, help="release folders, changed in place")
    parser.add_argument("--weights", default="", help="of the CLAP, in the place of the published ones")
    parser.add_argument("--head", default="", help="release folder of the head that is explained")
    arguments = parser.parse_args()
    for folder in arguments.releases:
        name = read_config(folder).get("backend", "")
        backend = load_backend(name, "cpu", weights=arguments.weights or None)
        rebind(folder, backend, load_head(arguments.head, backend).head if arguments.head else None)
        print(f"{folder.name}: bound to the loaded weights of '{name}'")


if __name__ == "__main__":
    with plain_errors():
        main()
