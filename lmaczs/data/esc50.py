"""ESC-50 (Piczak 2015): 2,000 clips of 5 s in 50 classes and five folds, cut from Freesound."""

from lmaczs.data.base import Dataset, Rows
from lmaczs.data.clips import words


def read(rows: Rows) -> None:
    """`meta/esc50.csv` and `audio/`; `src_file` is the Freesound id."""
    for row in rows.table("meta/esc50.csv", ("filename", "fold", "category", "src_file")):
        rows.add(
            row.place,
            f"audio/{row['filename']}",
            split=f"fold {row['fold']}",
            labels=[words(row["category"])],
            original=f"freesound {row['src_file']}",
        )


ESC50 = Dataset(
    key="esc50",
    title="ESC-50",
    page="https://github.com/karolpiczak/ESC-50",
    licence="CC BY-NC 3.0",
    role="evaluation",
    folder="ESC-50-master",
    table="meta/esc50.csv",
    splits=tuple(f"fold {number}" for number in range(1, 6)),
    read=read,
)
