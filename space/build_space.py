"""Write the folder that a Space on Hugging Face is made of: `python space/build_space.py [DEST]`, or `make space`.

Everything comes from the repository; nothing in the folder is edited by hand. docs/hosting.md says how it is pushed.
"""

import argparse
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
HEADER = "# Written by `make space`: requirements.txt of the project, with the releases that a Space runs."
FILES = ("app.py", "packages.txt", "LICENSE", "CITATION.cff", "docs/page.png")
FOLDERS = {"lmaczs": ("*.py", "*.js", "*.css", "*.html", "*.json", "py.typed"), "assets": ("*",)}
SCRIPTS = ("assets/*.py",)  # they make the assets, and the Space has them
# On ZeroGPU's list and the newest that the Space's builder accepts beside its own packages; the release that this project
# is tested with.
TORCH = "2.13.0"
# transformers imports torchaudio wherever it finds it, and nothing here needs it.
LEFT_OUT = ("torchaudio",)
# The hub refuses binary files that are not stored as LFS.
BINARY = ("safetensors", "wav", "flac", "png", "npz")


def build(folder: Path) -> None:
    """Write the Space.

    Args:
        folder: made; an earlier Space in it is replaced.

    Raises:
        FileExistsError: something else lies there.
    """
    if folder.exists() and any(folder.iterdir()) and not _is_space(folder):
        raise FileExistsError(f"{folder} holds something that is no Space: name another folder.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in FILES:
        _copy(ROOT / name, folder)
    for name, patterns in FOLDERS.items():
        for path in sorted({path for pattern in patterns for path in (ROOT / name).rglob(pattern)}):
            if path.is_file() and "__pycache__" not in path.parts and not _is_script(path):
                _copy(path, folder)
    readme = (ROOT / "README.md").read_text("utf-8")
    (folder / "README.md").write_text(without_dead_links(readme, folder), "utf-8")
    wanted = (ROOT / "requirements.txt").read_text("utf-8")
    (folder / "requirements.txt").write_text(requirements(wanted, front_matter(readme)), "utf-8")
    rules = [f"*.{ending} filter=lfs diff=lfs merge=lfs -text" for ending in BINARY]
    (folder / ".gitattributes").write_text("\n".join([*rules, "* text=auto eol=lf"]) + "\n", "utf-8")


def front_matter(readme: str) -> dict[str, Any]:
    """The settings of the Space at the top of its README."""
    return yaml.safe_load(readme.split("---\n")[1])


def requirements(text: str, settings: dict[str, Any]) -> str:
    """requirements.txt with torch and Gradio at the releases that the Space runs.

    Args:
        text: of the project.
        settings: front matter; the builder installs Gradio at its sdk_version.
    """
    lines = [HEADER]
    for line in text.splitlines():
        name = re.split(r"[<>=!~\[; ]", line, maxsplit=1)[0]
        if not line.startswith("#") and name not in LEFT_OUT:
            lines.append(
                {"torch": f"torch=={TORCH}", "gradio": f"gradio=={settings['sdk_version']}"}.get(name, line)
            )
    return "\n".join(lines) + "\n"


def without_dead_links(markdown: str, folder: Path) -> str:
    """Links to files that the Space does not have become plain text.

    Args:
        markdown: of the repository.
        folder: the Space, all other files written.
    """

    def kept(match: re.Match) -> str:
        target = match[2].partition("#")[0]
        there = not target or "://" in target or (folder / target).exists()
        return match[0] if there else match[1]

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", kept, markdown)


def _is_space(folder: Path) -> bool:
    found = folder / "requirements.txt"
    return found.is_file() and found.read_text("utf-8").startswith(HEADER)


def _is_script(path: Path) -> bool:
    return any(path.relative_to(ROOT).match(pattern) for pattern in SCRIPTS)


def _copy(path: Path, folder: Path) -> None:
    target = folder / path.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def main() -> None:
    """Build from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "space")
    folder = parser.parse_args().folder
    try:
        build(folder)
    except FileExistsError as error:
        parser.exit(2, f"{error}\n")
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"Wrote {len(files)} files, {size / 1e6:.1f} MB. See docs/hosting.md for how to push them.")


if __name__ == "__main__":
    main()
