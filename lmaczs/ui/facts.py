"""What the page knows before anybody asks: which numbers there are, and what the methods scored on a test set."""

import json
from typing import Any

from lmaczs.metrics.table import METRICS
from lmaczs.ui.controls import CONTROLS
from lmaczs.ui.settings import read

# The most telling one first.
COLUMNS = ("ff", "ad", "ag", "ai", "fid_in", "sps", "mm")
# For a single clip.
YES_OR_NO = ("ai", "fid_in")
TEST_SET = "test_set.json"


def page_facts() -> dict[str, Any]:
    """Descriptions of the numbers, names of the controls, and `TEST_SET` (see `lmaczs.ui.build_test_set`)."""
    columns = [
        {
            "key": key,
            "label": METRICS[key].label,
            "direction": METRICS[key].direction,
            "unit": METRICS[key].unit,
            "meaning": METRICS[key].meaning,
            "decimals": METRICS[key].decimals,
            "yes_or_no": key in YES_OR_NO,
        }
        for key in COLUMNS
    ]
    return {"columns": columns, "controls": CONTROLS, "test_set": json.loads(read(TEST_SET))}
