"""`datasets`: what the known datasets are, and what of them is in a folder.

    python -m lmaczs datasets list
    python -m lmaczs datasets check data --json counts.json
    python -m lmaczs datasets csv esc50 data --out data/esc50.csv        # for evaluate --clips data/esc50.csv

`check` finds datasets in their official layouts, CSVs with a column path and WebDataset shards, in the folder or one
level inside it. Exit code 1: recordings cannot be read or rows cannot be used.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaczs.cli.console import quiet_decoders

if TYPE_CHECKING:
    from lmaczs.data.check import Finding, Overlap

SHOWN = 5  # names of one kind of fault; --json has all


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "datasets",
        help="list the known datasets, or check what is in a folder",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    known = actions.add_parser("list", help="the known datasets, their official pages and the presets")
    known.set_defaults(run=show_known)
    check = actions.add_parser(
        "check", help="count clips, captions, hours, unreadable files and shared sources"
    )
    check.add_argument("folder", metavar="DIR", help="folder that the datasets lie in")
    check.add_argument("--decode", action="store_true", help="read whole recordings: slow, but finds silence")
    check.add_argument("--json", metavar="OUT", help="also write counts, faults and shared sources here")
    check.set_defaults(run=check_folder)
    convert = actions.add_parser("csv", help="write datasets as a CSV for evaluate and for training")
    convert.add_argument(
        "selection", metavar="NAMES", help="preset, or keys with commas between; 'esc50:fold 1' is one split"
    )
    convert.add_argument("folder", metavar="DIR", help="folder that the datasets lie in")
    convert.add_argument(
        "--out", required=True, metavar="CSV", help="file to write; paths are relative to its folder"
    )
    convert.set_defaults(run=write_csv)


def show_known(arguments: argparse.Namespace) -> None:
    """Print the datasets and presets."""
    from lmaczs.data.registry import DATASETS, PRESETS

    for key, dataset in DATASETS.items():
        splits = f"; splits {', '.join(dataset.splits)}" if dataset.splits else ""
        print(f"{key}: {dataset.title}, for {dataset.role}; {dataset.licence}{splits}")
        print(f"    {dataset.page}")
    print(
        "csv: any CSV of path, captions (| between them) or label; dataset, fold, concept, original if there"
    )
    print("shards: WebDataset .tar files of recordings with .json or .txt")
    for preset, parts in PRESETS.items():
        print(f"--datasets {preset}: {', '.join(parts)}")


def check_folder(arguments: argparse.Namespace) -> int:
    """Count, print, and write the JSON.

    Returns:
        1 if a recording cannot be read or a row cannot be used, else 0.

    Raises:
        LMACError: the folder holds nothing known, or the JSON cannot be written.
    """
    from tqdm import tqdm

    from lmaczs.data.check import examine, find_listings, find_overlaps, merged

    findings: list[Finding] = []
    with quiet_decoders():
        listings = find_listings(arguments.folder)
    for name, listing in listings.items():

        def progress(items: Iterable[float | str], total: int, name: str = name) -> Iterable[float | str]:
            return tqdm(items, name, total=total, unit="clip", leave=False, disable=None)  # type: ignore[no-any-return]

        findings += examine(listing, name, arguments.decode, progress)
    findings = merged(findings)
    overlaps = find_overlaps(findings)
    if arguments.json:
        from lmaczs.cli.files import write_json_whole

        write_json_whole(Path(arguments.json), as_json(findings, overlaps))
    print(table(findings))
    for finding in findings:
        for kind, texts in (("unreadable", finding.unreadable), ("bad rows", finding.bad_rows)):
            if texts:
                more = f" (and {len(texts) - SHOWN} more)" if len(texts) > SHOWN else ""
                print(f"\n{finding.name}, {kind}:\n  " + "\n  ".join(texts[:SHOWN]) + more)
        if finding.missing:
            print(
                f"\n{finding.name}: {finding.missing} clips ({finding.missing_captions} captions) have no recording here."
            )
    print()
    for overlap in overlaps:
        count = len(overlap.originals)
        print(
            f"{overlap.first} and {overlap.second} share {count} original{'s'[: count != 1]}: "
            f"{', '.join(overlap.originals[:SHOWN])}{', …' if count > SHOWN else ''}"
        )
    if not overlaps:
        print("No original recording is shared between sets for evaluation and others, as far as names tell.")
    return int(any(finding.unreadable or finding.bad_rows for finding in findings))


def write_csv(arguments: argparse.Namespace) -> int:
    """Write the CSV and say what is in it.

    Returns:
        1 if something had to be left out, else 0.

    Raises:
        LMACError: the datasets are not there, the CSV does not lie above them, or it cannot be written.
    """
    from lmaczs.cli.files import write_text_whole
    from lmaczs.data.clip_table import as_csv
    from lmaczs.data.registry import list_selection

    out = Path(arguments.out)
    listing = list_selection(arguments.selection, arguments.folder)
    write_text_whole(out, as_csv(listing.clips, out))
    left_out = len(listing.missing) + len(listing.bad_rows)
    print(f"{out.name}: {len(listing.clips)} clips; {left_out} rows left out ('datasets check' names them)")
    return int(left_out > 0)


def table(findings: list["Finding"]) -> str:
    """One line for each set, and the sum."""
    from dataclasses import replace

    from lmaczs.data.check import merged

    lines = [
        f"{'dataset':<24}{'clips':>8}{'captions':>10}{'hours':>9}{'unreadable':>12}{'missing':>9}{'bad rows':>10}"
    ]
    for finding in [*findings, *merged([replace(finding, name="all") for finding in findings])]:
        lines.append(
            f"{finding.name:<24}{len(finding.clips):>8}{finding.captions:>10}{finding.hours:>9.1f}"
            f"{len(finding.unreadable):>12}{finding.missing:>9}{len(finding.bad_rows):>10}"
        )
    return "\n".join(lines)


def as_json(findings: list["Finding"], overlaps: list["Overlap"]) -> dict[str, Any]:
    """Everything that was found, with every name."""
    from dataclasses import asdict

    sets = [vars(finding) | {"clips": len(finding.clips)} for finding in findings]
    rounded = [entry | {"hours": round(entry["hours"], 4)} for entry in sets]
    return {"datasets": rounded, "overlaps": [asdict(overlap) for overlap in overlaps]}
