"""What the page knows before anybody asks: which methods and numbers there are, and what methods scored on a test set."""

import json
import os
import re
from html import escape
from typing import Any

from lmaczs.explainers import METHODS, entry_of
from lmaczs.hearing.verdict import ENOUGH, NEEDED, VERDICTS
from lmaczs.metrics.registry import METRICS, explanation_keys
from lmaczs.study.design import QUESTION
from lmaczs.ui import text
from lmaczs.ui.cards import PATH, cards
from lmaczs.ui.controls import PAGE_CONTROLS
from lmaczs.ui.web_files import HERE, read

TEST_SET = "test_set.json"
SPACE = re.compile(r"[\w.-]+/[\w.-]+")


def page_facts(keeps_ratings: bool = False) -> dict[str, Any]:
    """What the scripts know.

    Numbers, controls, a sentence for each method, a few words for each verdict, `TEST_SET` (see
    `lmaczs.ui.build_test_set`), limits of the verdict, and what is asked in a blind comparison.

    Args:
        keeps_ratings: whether the page keeps those of visitors who allow it.
    """
    columns = [
        {
            "key": entry.key,
            "label": entry.label,
            "direction": entry.direction,
            "unit": entry.unit,
            "meaning": entry.meaning,
            "decimals": entry.decimals,
            "ranked": entry.ranked,
            "yes_or_no": entry.yes_or_no,
        }
        for entry in map(METRICS.__getitem__, explanation_keys())
    ]
    test_set = json.loads((HERE / TEST_SET).read_text("utf-8"))
    return {
        "columns": columns,
        "controls": PAGE_CONTROLS,
        "sentences": {name: entry_of(name).sentence for name in METHODS},
        "verdicts": {key: verdict.short for key, verdict in VERDICTS.items()},
        "test_set": test_set,
        "limits": {"enough": ENOUGH, "needed": NEEDED},
        "blind": {"question": QUESTION, "keeps": keeps_ratings},
    }


def about() -> str:
    """The page's explanation of itself: a sentence for each method and each number, and what can be read on."""
    methods, space = [entry_of(name) for name in METHODS], os.environ.get("SPACE_ID", "")
    numbers = [METRICS[key] for key in explanation_keys()]
    said = {
        "methods": " ".join(f"{entry.label} ({entry.paper}): {entry.sentence}" for entry in methods),
        "numbers": " ".join(f"{entry.label}: {entry.meaning}" for entry in numbers),
    }
    links = {
        "cards": ", ".join(_link(PATH.removeprefix("/") + name, name) for name in cards()),
        "code": f" {_link(text.CODE.format(space=space), 'The code of this page')}."
        if SPACE.fullmatch(space)
        else "",
    }
    return read("about.html").format(**{name: escape(words) for name, words in said.items()}, **links)


def _link(address: str, words: str) -> str:
    return f'<a href="{escape(address)}" target="_blank" rel="noopener">{escape(words)}</a>'
