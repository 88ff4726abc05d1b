"""File names of recordings: every suffix that `lmaczs.signal.audio.load_clip` reads, in one list."""

# For messages: what everyone can make.
FORMATS = "wav, flac, ogg, opus or mp3"
LIBSNDFILE_SUFFIXES = (
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".wavex", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif",
    ".aiff", ".aifc", ".au", ".snd", ".caf", ".voc", ".sph", ".nist", ".sf", ".svx", ".iff", ".avr", ".htk", ".paf",
    ".fap", ".pvf", ".sd2", ".sds", ".wve", ".xi",
)  # fmt: skip
# Where ffmpeg is installed; `lmaczs.signal.ffmpeg` knows their first bytes.
FFMPEG_SUFFIXES = (
    ".m4a", ".m4b", ".mp4", ".m4v", ".f4v", ".mov", ".3gp", ".3g2", ".webm", ".weba", ".mka", ".mkv", ".aac", ".adts",
    ".wma", ".wmv", ".asf", ".amr", ".flv", ".avi",
)  # fmt: skip
SOUND_SUFFIXES = frozenset(LIBSNDFILE_SUFFIXES + FFMPEG_SUFFIXES)


def is_sound(path: str) -> bool:
    """Whether a file name is that of a recording, and not hidden.

    Args:
        path: with "/" between folders, or a name alone.
    """
    name = path.rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return bool(stem) and not name.startswith(".") and f"{dot}{suffix.lower()}" in SOUND_SUFFIXES
