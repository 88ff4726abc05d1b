"""What a mask keeps and removes of a file as it is: at its own rate, with all of its channels."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.errors import LMACError
from lmaczs.explainers.base import Method
from lmaczs.hearing.explaining import audible
from lmaczs.signal.audio import Sound, wav_header
from lmaczs.signal.reading import gather
from lmaczs.types import ExplainResult, Progress, no_progress

# A WAV states its size in 32 bits.
MOST_BYTES = (1 << 32) - 4096
BLOCK = 1 << 20


def write_at_input_rate(
    sound: Sound,
    result: ExplainResult,
    method: Method,
    backend: CLAPBackend,
    folder: Path,
    progress: Progress = no_progress,
) -> None:
    """Write kept.wav and removed.wav at the rate and with the channels of the file; kept + removed = file.

    Each channel goes through the mask at the model's rate, and what is left of it back to the file's rate: what the
    model cannot hear, above half of its rate, is in removed.wav. removed.wav is the file less kept.wav, sample by sample.

    Args:
        sound: the file that was explained.
        result: its explanation.
        method: that gave it, and plays its masks.
        backend: the classifier.
        folder: exists; files of these names are replaced.
        progress: called after each channel.

    Raises:
        LMACError: the sounds would be too large for WAV files.
    """
    size = 4 * sound.frames * sound.channels
    if size > MOST_BYTES:
        raise LMACError(
            f"kept.wav would have {size / 1e9:.1f} GB at {sound.rate} Hz with {sound.channels} channels, and a WAV holds "
            "4.3 GB: leave '--rate input' out."
        )
    gain = audible(result.explanation.mask, result.explanation.domain, backend)
    header = wav_header(sound.frames, sound.rate, sound.channels)
    kept, removed = folder / "kept.wav", folder / "removed.wav"
    with kept.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)
    shape = (sound.frames, sound.channels)
    samples = np.memmap(kept, np.dtype("<f4"), "r+", len(header), shape)
    rate = backend.spectral.sample_rate
    for channel in range(sound.channels):
        heard = gather(sound.decoder, sound.clip.name, rate, channel)
        first = 0
        for block in _blocks(method.play(torch.from_numpy(heard.mono), gain), rate, sound.rate):
            last = min(first + len(block), sound.frames)
            samples[first:last, channel] = block[: last - first]
            first = last
        progress((channel + 1) / sound.channels, "input rate")
    with removed.open("wb") as file:
        file.write(header)
        first = 0
        for block in sound.blocks():
            file.write((block - samples[first : first + len(block)]).astype("<f4").tobytes())
            first += len(block)
    samples.flush()


def _blocks(waveform: Tensor, rate: int, wanted: int) -> Iterator[np.ndarray]:
    """A waveform at another rate, block by block."""
    values = waveform.cpu().numpy()
    if rate == wanted:
        yield values
        return
    resampler = soxr.ResampleStream(rate, wanted, 1, dtype="float32")
    for first in range(0, len(values), BLOCK):
        yield resampler.resample_chunk(values[first : first + BLOCK])
    yield resampler.resample_chunk(values[:0], last=True)
