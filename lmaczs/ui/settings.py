"""What the person who starts the page may choose, and what no one may: the privacy settings."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lmaczs.clap import EMBEDDED
from lmaczs.errors import LMACError
from lmaczs.ui.web_files import read

STYLES = (
    "page.css",
    "source.css",
    "model.css",
    "scores.css",
    "player.css",
    "transport.css",
    "plot.css",
    "lanes.css",
    "compare.css",
    "faithfulness.css",
    "phone.css",
)
MOST_KEEP_MINUTES = 45
PORT = 7860
# Of a public page: RISE (800 passes a window) for two minutes, or ten minutes of SmoothGrad.
MOST_PASSES = 20_000
# Of all visitors' files, and on a public page of what one address brings within half an hour.
MOST_MB, MOST_MB_PER_ADDRESS = 4000, 1000


@dataclass(frozen=True)
class Settings:
    """Choices of the person who starts the page.

    Attributes:
        backend: key in `lmaczs.clap.BACKENDS`.
        device: "cpu", "cuda", …; None takes a GPU if there is one.
        max_file_mb: largest upload, MB; ten minutes of 48 kHz stereo as 16-bit WAV are 115 MB.
        recordings_kept: recordings whose encoder passes stay in memory for further prompts.
        keep_minutes: how long files of visitors stay; at most `MOST_KEEP_MINUTES`, as the page says "within the hour".
        port: that the page is served at; None takes a free one.
        hosts: names that the page answers to; None: any.
        most_passes: encoder passes of windows that one explanation may cost; 0: any number. A Space has a limit.
        most_mb: of visitors' files together, MB; the oldest go first.
        most_mb_per_address: that one address may bring while its files are kept, MB; 0: any. A Space has a limit.
        study: folder that keeps the blind ratings of visitors who allow it; None: none are kept.
    """

    backend: str = EMBEDDED
    device: str | None = None
    max_file_mb: int = 120
    recordings_kept: int = 8
    keep_minutes: float = 30
    port: int | None = None
    hosts: tuple[str, ...] | None = None
    most_passes: int = 0
    most_mb: int = MOST_MB
    most_mb_per_address: int = 0
    study: Path | None = None

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read LMACZS_BACKEND, LMACZS_DEVICE, LMACZS_KEEP_MINUTES, LMACZS_MOST_PASSES, LMACZS_MOST_MB,
        LMACZS_MOST_MB_PER_ADDRESS, LMACZS_HOSTS, LMACZS_STUDY, GRADIO_SERVER_NAME and GRADIO_SERVER_PORT.

        Raises:
            LMACError: one of them cannot be used.
        """
        from lmaczs.ui.hosts import allowed_hosts

        shared, study = "SPACE_ID" in os.environ, os.environ.get("LMACZS_STUDY")
        return cls(
            backend=os.environ.get("LMACZS_BACKEND", cls.backend),
            device=os.environ.get("LMACZS_DEVICE") or None,
            keep_minutes=_minutes(os.environ.get("LMACZS_KEEP_MINUTES", str(cls.keep_minutes))),
            port=_port(os.environ.get("GRADIO_SERVER_PORT", str(PORT))),
            hosts=allowed_hosts(os.environ.get("GRADIO_SERVER_NAME", ""), os.environ.get("LMACZS_HOSTS", "")),
            most_passes=_whole("LMACZS_MOST_PASSES", MOST_PASSES if shared else 0, "encoder passes"),
            most_mb=_whole("LMACZS_MOST_MB", MOST_MB, "megabytes", least=500),
            most_mb_per_address=_whole(
                "LMACZS_MOST_MB_PER_ADDRESS", MOST_MB_PER_ADDRESS if shared else 0, "megabytes"
            ),
            study=Path(study) if study else None,
        )


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= MOST_KEEP_MINUTES:
        raise LMACError(
            f"LMACZS_KEEP_MINUTES is '{text}': give a number of minutes above 0 and at most {MOST_KEEP_MINUTES}."
        )
    return minutes


def _port(text: str) -> int:
    if not text.strip().isdecimal() or not 0 < int(text) <= 65_535:
        raise LMACError(f"GRADIO_SERVER_PORT is '{text}': give a number of a port, 1 to 65535.")
    return int(text)


def _whole(name: str, default: int, unit: str, least: int = 0) -> int:
    text = os.environ.get(name, str(default)).strip()
    if not text.isdecimal() or int(text) < least:
        accepted = f"at least {least}" if least else "or 0 for any"
        raise LMACError(f"{name} is '{text}': give a whole number of {unit}, {accepted}.")
    return int(text)


def launch_options(settings: Settings) -> dict[str, Any]:
    """Everything for `Blocks.launch`: looks, limits, and nothing that keeps or sends what visitors do."""
    from lmaczs.ui.examples import examples_folder, load_examples
    from lmaczs.ui.link_preview import ICON
    from lmaczs.ui.theme import page_theme
    from lmaczs.ui.thumbnails import thumbnails_css

    return {
        "theme": page_theme(),
        "css": "\n".join(
            [*(read(name) for name in STYLES), thumbnails_css(load_examples(examples_folder() or ""))]
        ),
        # Given, it is never moved from: whoever asks for it finds this page, or is told.
        "server_port": settings.port,
        "favicon_path": ICON,
        # A session holds about 0.1 MB, and nothing that is missed.
        "state_session_capacity": 500,
        # A visitor in line holds one.
        "max_threads": 80,
        "max_file_size": f"{settings.max_file_mb}mb",
        "app_kwargs": {"middleware": _middleware(settings)},
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
        "share": False,
        "ssr_mode": False,
        "pwa": False,
        "footer_links": [],
        # Comes with gradio[mcp]; see `lmaczs.ui.endpoints`.
        "mcp_server": find_spec("mcp") is not None,
    }


def _middleware(settings: Settings) -> list[Any]:
    """What every request and answer goes through, the outermost first."""
    from starlette.middleware import Middleware
    from starlette.middleware.gzip import GZipMiddleware

    from lmaczs.ui.call_check import CallCheck
    from lmaczs.ui.cards import Cards
    from lmaczs.ui.headers import SafeHeaders
    from lmaczs.ui.hosts import KnownHosts
    from lmaczs.ui.link_preview import LinkPreview
    from lmaczs.ui.quiet_errors import SafeErrors
    from lmaczs.ui.upload_budget import UploadBudget

    checked = [] if settings.hosts is None else [Middleware(KnownHosts, hosts=settings.hosts)]
    if settings.most_mb_per_address:
        checked.append(
            Middleware(
                UploadBudget,
                most_bytes=settings.most_mb_per_address * 10**6,
                window_s=60 * settings.keep_minutes,
                behind_proxy="SPACE_ID" in os.environ,
            )
        )
    return [
        Middleware(SafeHeaders),
        *checked,
        # The page is 0.4 MB of text, which a slow network takes seconds for.
        Middleware(GZipMiddleware, compresslevel=6),
        Middleware(Cards),
        Middleware(CallCheck, about_sounds=("classify", "explain")),
        Middleware(LinkPreview),
        Middleware(SafeErrors),
    ]
