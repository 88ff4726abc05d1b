"""Tables of recordings for training: each with captions or a label, and each there."""

from pathlib import Path

from lmaczs.data.base import Dataset, Rows
from lmaczs.data.clip_table import clip_of
from lmaczs.data.clips import Listing
from lmaczs.errors import DatasetError

PAGE = "its maker"


def list_csv(table: str | Path) -> Listing:
    """Clips of a table whose recordings are there; what the columns mean is said at `clip_of`.

    Raises:
        DatasetError: no such file, no text, or no column path.
    """
    table = Path(table)
    if not table.is_file():
        raise DatasetError(f"'{table.name}' is not there: give a CSV with the columns path and captions.")
    rows = Rows(
        Dataset("csv", f"'{table.name}'", PAGE, "", "training", "", table.name, (), read), table.parent
    )
    read(rows)
    return rows.listing()


def read(rows: Rows) -> None:
    """Rows of the table."""
    for row in rows.table(rows.dataset.table, ("path",)):
        clip = clip_of(row, str(rows.root))
        if clip.captions or clip.labels:
            rows.take(row.place, clip)
        else:
            rows.refuse(row.place, "it has neither captions nor a label")
