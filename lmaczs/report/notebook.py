"""An explanation in a notebook's cell: picture, players, verdict and numbers, in one piece of HTML."""

import io
from base64 import b64encode
from dataclasses import dataclass
from html import escape

import soundfile

from lmaczs.hearing.verdict import verdict_of
from lmaczs.metrics.registry import METRICS
from lmaczs.metrics.table import format_value
from lmaczs.report import markup
from lmaczs.report.picture import mask_picture, where_the_mask_lies
from lmaczs.types import AudioClip, ExplainResult

# Numbers that are shown, where they were measured.
SHOWN = ("ff", "ai", "ad", "fid_in", "mm")


@dataclass(frozen=True)
class Shown:
    """What a notebook draws at the end of a cell.

    Attributes:
        result: that is shown.
    """

    result: ExplainResult

    def _repr_html_(self) -> str:
        """HTML that needs no file and no network; whatever a person wrote is escaped."""
        result, sounds = self.result, self.result.listening
        verdict = verdict_of(result)
        numbers = {
            METRICS[key].heading: format_value(key, value)
            for key, value in result.metrics.items()
            if key in SHOWN
        }
        picture = "data:image/webp;base64," + b64encode(mask_picture(result)).decode()
        players = {"Original": result.clip, "What counted": sounds.kept, "What was ignored": sounds.removed}
        return (
            f"<p>What speaks for <strong>{escape(result.target)}</strong></p>"
            + ("" if verdict is None else f"<p>{escape(verdict.words)}</p>")
            + markup.picture(picture, where_the_mask_lies(result))
            + "".join(markup.player(name, _address(clip)) for name, clip in players.items())
            + markup.table("Faithfulness", numbers)
        )

    def __repr__(self) -> str:
        """For consoles."""
        verdict = verdict_of(self.result)
        return f"{self.result.target}: {'' if verdict is None else verdict.words}"


def show(result: ExplainResult) -> Shown:
    """Show an explanation in Jupyter or Colab: give what this returns as the last line of a cell.

    Args:
        result: of `lmaczs.explain_clip`.
    """
    return Shown(result)


def _address(clip: AudioClip) -> str:
    """A sound as an address of its own: 16-bit FLAC."""
    file = io.BytesIO()
    soundfile.write(file, clip.waveform.clamp(-1, 1).numpy(), clip.sample_rate, format="FLAC")
    return "data:audio/flac;base64," + b64encode(file.getvalue()).decode()
