"""Publish a release: export, golden check, model card, upload. Nothing leaves this machine without --push.

python -m train.publish --release assets/releases/lmac-zs-compact-2 --to owner/name
    --evaluation benchmarks/lmac-any/compact-2-test
python -m train.publish --run runs/lmac-zs --kind lmac-zs --to owner/name --push      # needs `hf auth login`
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

if not __package__:  # started as a file: put the repository in the place of this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lmaczs.errors import LMACError
from lmaczs.release_config import CONFIG, GOLDEN, WEIGHTS
from lmaczs.release_names import HUB_NAME
from train.export import EXPORTS
from train.golden import golden_error
from train.hub_card import hub_card

FILES = (CONFIG, WEIGHTS, "training.json", "metrics.json", GOLDEN, "README.md")


def prepare(flags: argparse.Namespace, folder: Path) -> float:
    """Put everything that is to be published into a folder.

    Args:
        flags: see `main`.
        folder: to be made.

    Returns:
        Error of the golden check.

    Raises:
        LMACError: the release is not fit to be published.
    """
    if flags.release:
        folder.mkdir(parents=True)
        for name in FILES:
            if (flags.release / name).is_file():
                shutil.copy(flags.release / name, folder / name)
    else:
        EXPORTS[flags.kind](flags.run, folder)
    if not (folder / CONFIG).is_file():
        raise LMACError(f"'{flags.release.name}' is no release: it has no {CONFIG}.")
    error = golden_error(folder, flags.backend_weights)
    (folder / "README.md").write_text(hub_card(folder, flags.to, flags.evaluation, flags.method), "utf-8")
    return error


def push(folder: Path, repository: str, private: bool) -> str:
    """Upload a folder as one commit; returns the commit's hash.

    Raises:
        LMACError: the hub cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    api = HfApi()
    try:
        api.create_repo(repository, private=private or None, exist_ok=True)
        info = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message="Publish a release of lmaczs"
        )
    except (HfHubHTTPError, HTTPError, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        known = {401: "you are not logged in", 403: "you may not write there"}
        reason = known.get(int(status or 0), type(error).__name__)
        raise LMACError(
            f"'{repository}' could not be published ({reason}): check the connection, and log in with 'hf auth login'."
        ) from error
    return str(info.oid)


def main() -> int:
    """Read the flags, prepare, and push where that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--release", type=Path, help="folder of a release")
    source.add_argument("--run", type=Path, help="folder of a training run, exported with --kind")
    parser.add_argument("--kind", choices=list(EXPORTS), help="of --run")
    parser.add_argument("--to", required=True, metavar="OWNER/NAME", help="repository on the hub")
    parser.add_argument(
        "--evaluation", type=Path, action="append", default=[], metavar="DIR",
        help="folder that 'lmaczs evaluate' wrote; its scores go into the card; repeatable",
    )  # fmt: skip
    parser.add_argument("--method", help="name of this release in the evaluations (its kind)")
    parser.add_argument("--backend-weights", metavar="PATH", help="of the CLAP that a decoder was made for")
    parser.add_argument("--out", type=Path, help="keep the folder here; must not exist")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--push", action="store_true", help="upload; without it nothing leaves this machine")
    flags = parser.parse_args()
    if not HUB_NAME.fullmatch(flags.to):
        parser.error(f"--to got '{flags.to}': write OWNER/NAME")
    if bool(flags.run) != bool(flags.kind):
        parser.error("--run and --kind belong together")
    if flags.out and flags.out.exists():
        parser.error(f"'{flags.out.name}' exists: choose a new folder for --out")
    try:
        with tempfile.TemporaryDirectory(prefix="lmaczs-") as temporary:
            folder = Path(temporary) / flags.to.partition("/")[2]
            error = prepare(flags, folder)
            size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
            print(f"{flags.to}: {size:.1f} MB, golden check passed (largest difference {error:.2g})")
            print("\n".join(f"  {path.name}" for path in sorted(folder.iterdir())))
            if flags.out:
                shutil.copytree(folder, flags.out)
            if flags.push:
                commit = push(folder, flags.to, flags.private)
                print(f"published; load it as {flags.to}@{commit}")
            else:
                print(
                    "nothing was uploaded: add --push to publish it"
                    + (", or look at --out first" if not flags.out else "")
                )
    except LMACError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
