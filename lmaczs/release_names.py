"""Where a release lies: embedded in the project, in a folder, named by LMACZS_RELEASES, or on the hub; loads no torch."""

import os
import re
from pathlib import Path

from lmaczs.errors import BackendUnavailableError, CheckpointError
from lmaczs.pins import check_pinned
from lmaczs.release_config import CONFIG, read_config

EMBEDDED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
VARIABLE = "LMACZS_RELEASES"  # NAME=PLACE, with spaces between: releases that are read from another place


def asset_folders() -> tuple[Path, ...]:
    """Folders that hold embedded files: inside an installed package, or beside it in the repository."""
    package = Path(__file__).resolve().parent
    return tuple(path for path in (package / "assets", package.parent / "assets") if path.is_dir())


def named_releases() -> dict[str, str]:
    """Releases that LMACZS_RELEASES names, and where they lie: a folder, or "owner/name@COMMIT" on the hub.

    A decoder that somebody has published becomes that of its CLAP in this way, on the page and everywhere else:
    LMACZS_RELEASES="lmac-zs-msclap-2023-stft=owner/name@COMMIT".

    Raises:
        BackendUnavailableError: the variable is not written like that.
    """
    pairs = [entry.partition("=") for entry in os.environ.get(VARIABLE, "").split()]
    for name, _, place in pairs:
        if not EMBEDDED_NAME.fullmatch(name) or not place:
            raise BackendUnavailableError(
                f"{VARIABLE} holds '{name}': write NAME=PLACE with spaces between, e.g. "
                "lmac-zs-msclap-2023-stft=owner/name@COMMIT."
            )
    return {name: place for name, _, place in pairs}


def embedded_releases() -> dict[str, str]:
    """Names of the releases that are found by name, with their kind.

    "damaged" is one that cannot be read, "elsewhere" one that LMACZS_RELEASES names.
    """
    found: dict[str, str] = {}
    for root in asset_folders():
        for path in sorted(root.glob(f"releases/*/{CONFIG}")):
            try:
                kind = read_config(path.parent)["kind"]
            except CheckpointError:
                kind = "damaged"
            found.setdefault(path.parent.name, kind)
    return found | dict.fromkeys(named_releases(), "elsewhere")


def decoder_release(backend: str, domain: str) -> str:
    """Name of the LMAC-ZS decoder of a classifier: of this mask domain, or of both where there is only that one.

    Args:
        backend: key of the classifier.
        domain: of the masks.
    """
    own, both = f"lmac-zs-{backend}-{domain}", f"lmac-zs-{backend}"
    known = embedded_releases()
    return both if both in known and own not in known else own


def find_release(name: str | Path, *, revision: str | None = None) -> Path:
    """Folder of a release; a hub repository is fetched, or taken from the hub's cache.

    Raises:
        BackendUnavailableError: there is no such release, it cannot be fetched, or a file of it has no pin where
            `lmaczs.pins` asks for one.
        CheckpointError: a file of a hub repository is not the pinned one.
    """
    text = named_releases().get(str(name), str(name))
    if EMBEDDED_NAME.fullmatch(text):
        for root in asset_folders():
            if (root / "releases" / text / CONFIG).is_file():
                return root / "releases" / text
    if Path(text).is_dir():
        return Path(text)
    repository, pinned, commit = text.partition("@")
    revision = commit if pinned else revision
    if HUB_NAME.fullmatch(repository) and revision is not None:
        folder = _fetch(repository, revision)
        inside = sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors"))
        check_pinned(repository, revision, {path.relative_to(folder).as_posix(): path for path in inside})
        return folder
    known = ", ".join(embedded_releases()) or "none"
    raise BackendUnavailableError(
        f"There is no release '{Path(text).name}'. This installation carries: {known}. Name one of them, a "
        "release folder, or a hub repository at a commit, 'owner/name@COMMIT' with the full commit hash."
    )


def _fetch(repository: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if not COMMIT.fullmatch(revision):
        raise BackendUnavailableError(
            f"'{revision}' is no pinned revision of '{repository}': give the full commit hash (40 "
            "hexadecimal digits)."
        )
    try:
        return Path(
            snapshot_download(repository, revision=revision, allow_patterns=["*.json", "*.safetensors"])
        )
    except RepositoryNotFoundError as error:
        raise BackendUnavailableError(
            f"The hub has no public repository '{repository}': check its name, or log in if it is private."
        ) from error
    except RevisionNotFoundError as error:
        raise BackendUnavailableError(
            f"The hub's '{repository}' has no commit '{revision}': copy the full hash from its list of commits."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise BackendUnavailableError(
            f"The release '{repository}' is not on this machine and could not be fetched: connect to the "
            "internet once, or use an embedded release ('python -m lmaczs list' shows them)."
        ) from error
