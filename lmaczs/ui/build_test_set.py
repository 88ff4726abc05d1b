"""Store what the methods scored on the test set, in a form small enough to come with the page.

    python -m lmaczs.ui.build_test_set [--summary FILE] [--title TEXT]

Run it again after the evaluation; a test compares what is stored with what the evaluation says today. It lies beside
the page's scripts, so that an installed wheel has it too.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmaczs.metrics.registry import explanation_keys
from lmaczs.ui.facts import TEST_SET
from lmaczs.ui.web_files import HERE

SUMMARY = "benchmarks/lmac-any/compact-2/summary.json"
TITLE = "60 clips of ESC-50, fold 4"
DIGITS = 4


def compact(summary: Mapping[str, Any], title: str) -> dict[str, Any]:
    """Means of the soft masks on clean clips.

    Args:
        summary: as `python -m lmaczs evaluate` writes it.
        title: of the test set, for people.

    Returns:
        title; domains: domain -> key of a method or control -> metric -> mean, and "n", the clips that went in.
    """
    domains = summary["conditions"]["none"]["domains"]
    return {
        "title": title,
        "domains": {domain: _means(found["forms"]["soft"]) for domain, found in domains.items()},
    }


def _means(rows: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    found = {}
    for name, row in rows.items():
        known = {key: row[key] for key in explanation_keys() if key in row and row[key]["mean"] is not None}
        if known:
            found[name] = {key: round(entry["mean"], DIGITS) for key, entry in known.items()}
            found[name]["n"] = max(entry["n"] for entry in known.values())
    return found


def main() -> None:
    """Write test_set.json beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--summary", default=SUMMARY)
    parser.add_argument("--title", default=TITLE)
    arguments = parser.parse_args()
    summary = json.loads(Path(arguments.summary).read_text("utf-8"))
    stored = json.dumps(compact(summary, arguments.title), indent=1)
    (HERE / TEST_SET).write_text(stored + "\n", "utf-8")
    print(f"Wrote {TEST_SET}: {len(stored) // 1000 + 1} kB")


if __name__ == "__main__":
    main()
