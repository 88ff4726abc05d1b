"""Whatever libsndfile cannot read, or reads in part, by ffmpeg where it is installed."""

import errno
import os
import re
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from lmaczs.errors import AudioError, StorageError
from lmaczs.signal.decoding import BLOCK_VALUES, Decoded

TIMEOUT_S = 120
MAX_ALLOCATION = 1 << 28
# Only plain containers: a playlist posing as a recording could name other files of the machine or addresses
# of the web; formats without a mark of their own would make sound of anything.
DEMUXERS = (
    "aac,ac3,adx,aea,aiff,amr,ape,asf,au,avi,avr,caf,dsf,dts,dtshd,eac3,flac,flv,gxf,ircam,loas,matroska,mlp,mov,mp3,"
    "mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,paf,pvf,rm,sds,shn,sox,svx,iff,tak,truehd,tta,voc,w64,wav,wtv,wv,"
    "xwma"
)
HEADS = {
    b"\x1a\x45\xdf\xa3": "WebM or Matroska",
    b"\xff\xf1": "AAC",
    b"\xff\xf9": "AAC",
    b"\x30\x26\xb2\x75": "WMA",
    b"#!AMR": "AMR",
    b"FLV": "FLV",
    b"\x0b\x77": "AC-3",
    b"wvpk": "WavPack",
    b"TTA1": "True Audio",
    b"MAC ": "Monkey's Audio",
    b"\x47\x40": "MPEG-TS",
    b"\x00\x00\x01\xba": "MPEG",
    b"DSD ": "DSD",
    b"OggS": "Ogg",
    b"ID3": "MPEG",
}

CUT = re.compile(rb"truncated|partial file|ended prematurely|unexpected end", re.I)
# Faults of the machine, not of a recording.
MACHINE = re.compile(rb"(No space left on device|Too many open files)", re.I)
MACHINE_ERRORS = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN)
DAMAGED = re.compile(rb"Error while decoding|Error submitting|Packet corrupt", re.I)


class Undecodable(AudioError):
    """Ffmpeg is not here, or finds no sound.

    Attributes:
        final: the sentence says all that there is to say.
    """

    def __init__(self, sentence: str, final: bool = False) -> None:
        """Keep the sentence."""
        super().__init__(sentence)
        self.final = final


def container_name(head: bytes) -> str | None:
    """Which foreign container a file is, by its first bytes; None if it is none of the usual ones.

    Args:
        head: at least the first 12 bytes.
    """
    if head[4:8] == b"ftyp":
        return "MPEG-4 (m4a, mp4)"
    if head[:4] == b"RIFF":
        return "AVI" if head[8:12] == b"AVI " else "compressed WAV"
    return next((name for start, name in HEADS.items() if head.startswith(start)), None)


def program() -> str | None:
    """Where ffmpeg is, if it is installed."""
    return shutil.which("ffmpeg")


@contextmanager
def by_ffmpeg(path: bytes, shown: str, max_seconds: float) -> Iterator[Decoded]:
    """Decode the first audio stream at its own rate and channel count, through a pipe.

    Args:
        path: of the file, absolute.
        shown: its name in messages.
        max_seconds: one second more than this is decoded at most, so that the caller notices a longer recording.

    Raises:
        Undecodable: it is not here, cannot be started, takes too long or finds no sound.
        StorageError: the machine lacks something.
    """
    found = program()
    if found is None:
        raise Undecodable(f"ffmpeg, which '{shown}' needs, is not on this machine: install it.")
    command: list[str | bytes] = [found, "-nostdin", "-v", "error", "-threads", "1"]
    command += ["-max_alloc", str(MAX_ALLOCATION)]
    command += ["-protocol_whitelist", "file", "-format_whitelist", DEMUXERS]
    try:
        with open(path, "rb") as file:
            # Without its name, which would be taken for a pattern of names, an address or a hint of the format.
            source = f"/dev/fd/{file.fileno()}".encode() if os.path.exists("/dev/fd") else path
            command += ["-i", b"file:" + source, "-map", "0:a:0", "-t", str(max_seconds + 1)]
            # AU: a header of 24 bytes that states no length.
            command += ["-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=() if source == path else (file.fileno(),),
            )
    except OSError as error:
        if error.errno in MACHINE_ERRORS:
            raise _machine(os.strerror(error.errno)) from error
        raise Undecodable(
            f"ffmpeg could not be started to read '{shown}': save it as wav, flac, ogg or mp3.", final=True
        ) from error
    watch = _Watch(process)
    try:
        yield _opened(process, watch, shown)
    finally:
        watch.end()


class _Watch:
    """Ends ffmpeg after its time, and listens to what it says, so that neither of the two waits for ever."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process, self.cut, self.damaged, self.late = process, False, False, False
        self.machine = ""
        self._timer = threading.Timer(TIMEOUT_S, self._stop)
        self._timer.daemon = True
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._timer.start()
        self._reader.start()

    def _stop(self) -> None:
        self.late = True
        self.process.kill()

    def _listen(self) -> None:
        stderr: Any = self.process.stderr
        for line in iter(lambda: stderr.readline(4096), b""):
            self.cut |= bool(CUT.search(line))
            self.damaged |= bool(DAMAGED.search(line))
            if found := MACHINE.search(line):
                self.machine = found[1].decode()

    def finished(self) -> None:
        """Wait for what is said at the end."""
        self.process.wait()
        self._reader.join()

    def end(self) -> None:
        """Stop ffmpeg, whatever it is doing."""
        self._timer.cancel()
        self.process.kill()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is self.process.stderr:
                self._reader.join()
            if pipe is not None:
                pipe.close()
        self.process.wait()


def _opened(process: "subprocess.Popen[bytes]", watch: _Watch, shown: str) -> Decoded:
    stdout: Any = process.stdout
    head = stdout.read(24)
    if len(head) < 24 or head[:4] != b".snd":
        watch.finished()
        _refuse_faults(watch, shown)
        raise Undecodable(f"No sound could be decoded from '{shown}': check that it plays.")
    offset, _, _, rate, channels = struct.unpack(">5I", head[4:])
    stdout.read(offset - 24)
    sound = Decoded(rate, channels, iter(()))
    sound.blocks = _blocks(stdout, sound, watch, shown)
    return sound


def _blocks(stdout: IO[bytes], sound: Decoded, watch: _Watch, shown: str) -> Iterator[np.ndarray]:
    frame = 4 * sound.channels
    while data := stdout.read(max(BLOCK_VALUES // sound.channels, 1) * frame):
        whole = len(data) // frame * frame
        yield np.frombuffer(data[:whole], ">f4").reshape(-1, sound.channels).astype(np.float32)
    watch.finished()
    _refuse_faults(watch, shown)
    sound.cut = watch.cut
    sound.damage = "it is damaged" if watch.damaged else ""


def _machine(fault: str) -> StorageError:
    return StorageError(f"ffmpeg cannot work here ({fault.lower()}): make room, or close other programs.")


def _refuse_faults(watch: _Watch, shown: str) -> None:
    if watch.machine:
        raise _machine(watch.machine)
    if watch.late:
        raise Undecodable(
            f"Decoding '{shown}' took longer than {TIMEOUT_S} s: save it as wav, flac, ogg or mp3, or choose a shorter "
            "part.",
            final=True,
        )
