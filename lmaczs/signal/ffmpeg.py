"""Containers that libsndfile cannot read (m4a, mp4, webm, aac, …), by ffmpeg where it is installed."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

from lmaczs.errors import AudioError

TIMEOUT_S = 120
MAX_INPUT_BYTES = 1 << 30
MAX_OUTPUT_BYTES = 1 << 31
# Only plain containers: a playlist posing as a recording could name other files of the machine or addresses
# of the web.
DEMUXERS = "mov,matroska,aac,asf,amr,flv,avi,mp3,ac3"
HEADS = {
    b"\x1a\x45\xdf\xa3": "WebM or Matroska",
    b"\xff\xf1": "AAC",
    b"\xff\xf9": "AAC",
    b"\x30\x26\xb2\x75": "WMA",
    b"#!AMR": "AMR",
    b"FLV": "FLV",
}


def container_name(head: bytes) -> str | None:
    """Which foreign container a file is, by its first bytes; None if it is none of those that ffmpeg is asked
    for.

    Args:
        head: at least the first 12 bytes.
    """
    if head[4:8] == b"ftyp":
        return "MPEG-4 (m4a, mp4)"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI"
    return next((name for start, name in HEADS.items() if head.startswith(start)), None)


def decode_to_wav(source: Path, shown: str, container: str, target: Path, max_seconds: float) -> None:
    """Decode the first audio stream into a 32-bit float WAV, at its own rate and channel count.

    Args:
        source: the recording.
        shown: its name in messages.
        container: its format in messages.
        target: where the WAV goes.
        max_seconds: one second more than this is decoded at most, so that the caller notices a longer
        recording.

    Raises:
        AudioError: there is no ffmpeg, or it cannot decode the recording in time.
        OSError: the disk of the target is full.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(
            f"'{shown}' is a {container} recording, and reading those needs the program ffmpeg, which is not "
            "on this machine: install ffmpeg, or save the recording as wav, flac, ogg or mp3."
        )
    if source.stat().st_size > MAX_INPUT_BYTES:
        raise AudioError(f"'{shown}' is larger than 1 GB: save its sound alone as wav, flac, ogg or mp3.")
    command = [program, "-nostdin", "-v", "error", "-y"]
    command += ["-protocol_whitelist", "file", "-format_whitelist", DEMUXERS]
    # "file:" keeps a name that starts with a dash or looks like an address from being anything else than a name.
    command += ["-i", f"file:{source}", "-map", "0:a:0"]
    command += ["-t", str(max_seconds + 1), "-fs", str(MAX_OUTPUT_BYTES)]
    command += ["-c:a", "pcm_f32le", "-f", "wav", f"file:{target}"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise AudioError(
            f"Decoding '{shown}' took longer than {TIMEOUT_S} s: save it as wav, flac, ogg or mp3, or choose "
            "a shorter part."
        ) from None
    except OSError as error:
        raise AudioError(
            f"ffmpeg could not be started to read '{shown}': save it as wav, flac, ogg or mp3."
        ) from error
    if b"No space left on device" in done.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if done.returncode != 0 or not target.is_file():
        raise AudioError(
            f"'{shown}' looks like a {container} recording, but no sound could be decoded from it: check "
            "that it plays, or save it as wav, flac, ogg or mp3."
        )
    if target.stat().st_size >= MAX_OUTPUT_BYTES:
        raise AudioError(f"'{shown}' is larger than 2 GB when decoded: choose a shorter part of it.")
