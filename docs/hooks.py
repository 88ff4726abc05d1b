"""For mkdocs: files of the repository that pages link to come with the site, so that no link ends nowhere."""

import re
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CARRIED = "repository"
# A link out of docs/: its way, and a place in the file.
OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)(#[^)\s]*)?\)")
_linked: set[str] = set()


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links out of docs/ to the copies."""

    def lead(match: re.Match[str]) -> str:
        if not (ROOT / match[1]).is_file():
            return match[0]
        _linked.add(match[1])
        return f"]({CARRIED}/{match[1]})"

    return OUTSIDE.sub(lead, markdown)


def on_post_build(config: Any) -> None:
    """Copy what was linked."""
    for name in sorted(_linked):
        target = Path(config["site_dir"], CARRIED, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
