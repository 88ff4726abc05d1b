"""The page's templates, styles and scripts, which lie in `web`."""

from pathlib import Path

HERE = Path(__file__).parent
WEB = HERE / "web"


def read(name: str) -> str:
    """A style sheet or template of the page."""
    return (WEB / name).read_text("utf-8")
