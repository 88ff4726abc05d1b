"""What the person who starts the page may choose, and what no one may: the privacy settings."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
STYLES = ("page.css", "scores.css", "player.css", "compare.css", "faithfulness.css")


@dataclass(frozen=True)
class Settings:
    """Choices of the person who starts the page.

    Attributes:
        backend: key in `lmaczs.clap.BACKENDS`.
        device: "cpu", "cuda", …; None takes a GPU if there is one.
        max_file_mb: largest upload, MB; ten minutes of 48 kHz stereo as 16-bit WAV are 115 MB.
        recordings_kept: recordings whose encoder passes stay in memory for further prompts.
    """

    backend: str = "compact"
    device: str | None = None
    max_file_mb: int = 120
    recordings_kept: int = 8

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read LMACZS_BACKEND and LMACZS_DEVICE; host and port are Gradio's own variables."""
        return cls(
            backend=os.environ.get("LMACZS_BACKEND", cls.backend),
            device=os.environ.get("LMACZS_DEVICE") or None,
        )


def read(name: str) -> str:
    """A style sheet, script or template that lies beside this file."""
    return (HERE / name).read_text("utf-8")


def launch_options(settings: Settings) -> dict[str, Any]:
    """Everything for `Blocks.launch`: looks, limits, and nothing that keeps or sends what visitors do."""
    from lmaczs.ui.theme import page_theme

    return {
        "theme": page_theme(),
        "css": "\n".join(read(name) for name in STYLES),
        "head": f"<script>{read('microphone.js')}</script>",
        "max_file_size": f"{settings.max_file_mb}mb",
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
        "share": False,
        "ssr_mode": False,
        "pwa": False,
        "footer_links": [],
    }
