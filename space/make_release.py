"""Make a release: `python space/make_release.py 0.2.0`, or `make release VERSION=0.2.0`.

The version is written wherever it stands, the unreleased part of the changelog becomes that of the version, and the wheel
is built. dist/SHA256SUMS has the hashes of the wheel and of all weights in it. Committing, tagging and uploading are left
to people.
"""

import argparse
import datetime
import hashlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
UNRELEASED = "## [Unreleased]\n"
SUMS = "SHA256SUMS"


class ReleaseError(Exception):
    """Why no release can be made, in one sentence."""


def set_version(root: Path, version: str, day: str) -> str:
    """Write a version into the package, the citation and the changelog; all of them or none.

    Args:
        root: of the repository.
        version: "1.2.3", above the one that is there.
        day: "2026-11-27".

    Returns:
        What the changelog says of the version.

    Raises:
        ReleaseError: the version is none or not above the last one, or nothing has changed since.
    """
    package, citation, log = (root / name for name in ("lmaczs/__init__.py", "CITATION.cff", "CHANGELOG.md"))
    texts = {path: path.read_text("utf-8") for path in (package, citation, log)}
    last = re.search(r'^__version__ = "(.+)"$', texts[package], re.M)
    if last is None:
        raise ReleaseError(f'{package.name} names no version: give it a line __version__ = "0.1.0".')
    if not VERSION.fullmatch(version) or _numbers(version) <= _numbers(last[1]):
        raise ReleaseError(f"'{version}' is no version above {last[1]}: give three numbers, as in 0.2.0.")
    head, found, tail = texts[log].partition(UNRELEASED)
    news, mark, older = tail.partition("\n## [")
    if not found or not news.strip():
        raise ReleaseError(f"{log.name} has nothing under '{UNRELEASED.strip()}': write what has changed.")
    texts[package] = texts[package].replace(last[0], f'__version__ = "{version}"')
    texts[citation] = re.sub(r"^date-released: .*\n", "", texts[citation], flags=re.M)
    texts[citation] = re.sub(
        r"^version: .*$", f"version: {version}\ndate-released: {day}", texts[citation], count=1, flags=re.M
    )
    texts[log] = f"{head}{UNRELEASED}\n## [{version}] - {day}\n{news}{mark}{older}"
    for path, text in texts.items():
        path.write_text(text, "utf-8")
    return news.strip()


def write_hashes(root: Path, dist: Path) -> Path:
    """Write SHA256SUMS into `dist`, as sha256sum reads it: of what lies there, and of all weights of the repository.

    Args:
        root: of the repository.
        dist: where the wheel is.
    """
    built = sorted(path for path in dist.iterdir() if path.is_file() and path.name != SUMS)
    weights = sorted((root / "assets" / "releases").rglob("*.safetensors"))
    lines = [f"{_sha256(path)}  {path.name}" for path in built]
    lines += [f"{_sha256(path)}  {path.relative_to(root).as_posix()}" for path in weights]
    sums = dist / SUMS
    sums.write_text("\n".join(lines) + "\n", "utf-8")
    return sums


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> int:
    """Make the release, and say what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("version", help="three numbers, above the last version")
    parser.add_argument("--day", default=datetime.date.today().isoformat(), help="of the release (today)")
    arguments = parser.parse_args()
    try:
        changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True)
        if changed.returncode != 0 or changed.stdout.strip():
            raise ReleaseError("There are changes that no commit holds: commit them, or put them aside.")
        news = set_version(ROOT, arguments.version, arguments.day)
        subprocess.run(["make", "wheel"], cwd=ROOT, check=True)
        sums = write_hashes(ROOT, ROOT / "dist")
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(
            f"'{' '.join(error.cmd)}' failed: see above, then 'git checkout .' and try again.",
            file=sys.stderr,
        )
        return 1
    print(f"{news}\n\n{sums.read_text('utf-8')}")
    name = f"v{arguments.version}"
    print(
        f"Next: make check; git commit -am 'Release {arguments.version}'; git tag {name}; push both; upload dist/."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
