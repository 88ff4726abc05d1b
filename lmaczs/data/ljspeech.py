"""LJ Speech (Ito and Johnson 2017): 13,100 read sentences of one speaker, which contaminate clips in the paper."""

from lmaczs.data.base import Dataset, Rows


def read(rows: Rows) -> None:
    """`metadata.csv`, three columns between bars without a header or quotation marks, and `wavs/`.

    A transcript says what is spoken, not what is heard, so it is no caption.
    """
    header = ("id", "transcription", "normalised")
    for row in rows.table("metadata.csv", ("id",), delimiter="|", header=header, quoted=False):
        rows.add(
            row.place,
            f"wavs/{row['id']}.wav",
            labels=["speech"],
            original=f"ljspeech {row['id'].split('-')[0]}",
        )


LJSPEECH = Dataset(
    key="ljspeech",
    title="LJ Speech",
    page="https://keithito.com/LJ-Speech-Dataset/",
    licence="public domain",
    role="contamination",
    folder="LJSpeech-1.1",
    table="metadata.csv",
    splits=(),
    read=read,
    beside="wavs",
)
