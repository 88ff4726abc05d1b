"""File names of recordings: every suffix that `lmaczs.signal.audio.load_clip` reads, in one list.

The gate itself looks at what a file holds and not at its name; folders, shards and the page choose by these.
"""

# For messages: what everyone can make.
FORMATS = "wav, flac, ogg, opus or mp3"
LIBSNDFILE_SUFFIXES = (
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".wavex", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2",
    ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".voc", ".sph", ".nist", ".sf", ".ircam", ".svx",
    ".iff", ".avr", ".htk", ".paf", ".fap", ".pvf", ".sd2", ".sds", ".wve", ".xi",
)  # fmt: skip
# Where ffmpeg is installed.
FFMPEG_SUFFIXES = (
    ".m4a", ".m4b", ".m4r", ".mp4", ".m4v", ".f4v", ".f4a", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".webm", ".weba",
    ".mka", ".mkv", ".aac", ".adts", ".adt", ".loas", ".latm", ".wma", ".wmv", ".asf", ".amr", ".awb", ".flv", ".avi",
    ".ac3", ".eac3", ".ec3", ".dts", ".dtshd", ".thd", ".mlp", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".m2p",
    ".wv", ".spx", ".ogv", ".ogx", ".tta", ".ape", ".mpc", ".tak", ".dsf", ".shn", ".oma", ".aa3", ".adx", ".sox",
    ".mxf", ".nut", ".rm", ".ra", ".xwma", ".wtv", ".mp1", ".mpga", ".8svx",
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
