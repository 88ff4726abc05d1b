"""UrbanSound8K (Salamon et al. 2014): 8,732 clips of up to 4 s in 10 classes and ten folds, cut from Freesound."""

from lmaczs.data.base import Dataset, Rows
from lmaczs.data.clips import words


def read(rows: Rows) -> None:
    """`metadata/UrbanSound8K.csv` and `audio/fold1/` to `audio/fold10/`; `fsID` is the Freesound id."""
    for row in rows.table("metadata/UrbanSound8K.csv", ("slice_file_name", "fsID", "fold", "class")):
        rows.add(
            row.place,
            f"audio/fold{row['fold']}/{row['slice_file_name']}",
            split=f"fold {row['fold']}",
            labels=[words(row["class"])],
            original=f"freesound {row['fsID']}",
        )


URBANSOUND8K = Dataset(
    key="urbansound8k",
    title="UrbanSound8K",
    page="https://urbansounddataset.weebly.com/urbansound8k.html",
    licence="CC BY-NC 3.0",
    role="evaluation",
    folder="UrbanSound8K",
    table="metadata/UrbanSound8K.csv",
    splits=tuple(f"fold {number}" for number in range(1, 11)),
    read=read,
)
