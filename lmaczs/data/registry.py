"""Every dataset by its key, and the selections that the LMAC-ZS paper trains on."""

from pathlib import Path

from lmaczs.data.audiocaps import AUDIOCAPS
from lmaczs.data.base import Dataset
from lmaczs.data.clips import Listing
from lmaczs.data.clotho import CLOTHO
from lmaczs.data.esc50 import ESC50
from lmaczs.data.fsd50k import FSD50K
from lmaczs.data.ljspeech import LJSPEECH
from lmaczs.data.macs import MACS
from lmaczs.data.sonyc_ust import SONYC_UST
from lmaczs.data.urbansound8k import URBANSOUND8K
from lmaczs.errors import DatasetError

DATASETS: dict[str, Dataset] = {
    dataset.key: dataset
    for dataset in (CLOTHO, FSD50K, AUDIOCAPS, MACS, ESC50, URBANSOUND8K, SONYC_UST, LJSPEECH)
}
# Paissan et al. 2024, section 3: "CT" and "Full". Of each set, the split that CLAP was trained on.
PRESETS = {
    "clotho": ("clotho:development",),
    "full": ("clotho:development", "fsd50k:train", "audiocaps:train", "macs"),
}


def list_selection(selection: str, folder: str | Path) -> Listing:
    """Clips of several datasets that lie in one folder.

    Args:
        selection: a preset, or keys with commas between; "esc50:fold 1" takes one split.
        folder: that the datasets lie in, in their official layouts.

    Raises:
        DatasetError: a key or split does not exist, a dataset is not there, or nothing of it is.
    """
    found = Listing(())
    for item in PRESETS.get(selection, tuple(part.strip() for part in selection.split(","))):
        key, _, split = item.partition(":")
        if key not in DATASETS:
            raise DatasetError(
                f"There is no dataset '{key}': choose {', '.join(DATASETS)}, or the preset {' or '.join(PRESETS)}."
            )
        dataset = DATASETS[key]
        if split and split not in dataset.splits:
            raise DatasetError(
                f"{dataset.title} has no split '{split}': choose {', '.join(dataset.splits) or 'none, it is one'}."
            )
        listing = dataset.list_clips(folder)
        chosen = tuple(clip for clip in listing.clips if split in ("", clip.split))
        if not chosen:
            raise DatasetError(
                f"None of the recordings of {dataset.title} is here ({len(listing.missing)} are named in its tables): "
                f"get them from {dataset.page}."
            )
        found = Listing(
            found.clips + chosen,
            found.missing + listing.missing,
            found.bad_rows + listing.bad_rows,
            found.missing_captions + listing.missing_captions,
        )
    return found
