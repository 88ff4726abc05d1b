"""`make fuzz`, or `python -m tests.fuzz files prompts --count 2000 --seed 1 --seed 2`; exit code 1 after a fault.

`--only NUMBER` repeats one case; every fault is printed with the command that repeats it.
"""

import argparse
import sys

from tqdm import tqdm

from tests.fuzz.kinds import KINDS
from tests.fuzz.runner import MEGABYTES, SECONDS, Outcome, run


def main() -> int:
    """Run the kinds asked for, print counts and faults."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kinds", nargs="*", default=list(KINDS), help=f"of {', '.join(KINDS)} (all)")
    parser.add_argument("--seed", type=int, action="append", help="repeatable (1 and 2)")
    parser.add_argument("--count", type=int, help="cases of each kind and seed (see kinds.py)")
    parser.add_argument("--only", type=int, help="the one case to run")
    arguments = parser.parse_args()
    failed = False
    for kind in arguments.kinds:
        case, count, _ = KINDS[kind]
        for seed in arguments.seed or (1, 2):
            numbers = range(arguments.count or count) if arguments.only is None else [arguments.only]
            with tqdm(total=len(numbers), desc=f"{kind}, seed {seed}", disable=None) as bar:

                def show(outcome: Outcome, bar: tqdm = bar, kind: str = kind, seed: int = seed) -> None:
                    bar.update()
                    if outcome.is_fault or arguments.only is not None:
                        again = f"python -m tests.fuzz {kind} --seed {seed} --only {outcome.number}"
                        bar.write(f"{outcome.verdict}: {again}\n{outcome.detail}")

                report = run(case, seed, numbers, show=show)
            print(f"{kind}, seed {seed}, {SECONDS} s and {MEGABYTES} MB: {report}", flush=True)
            failed |= bool(report.faults)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
