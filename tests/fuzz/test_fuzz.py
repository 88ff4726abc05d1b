"""A short run of what `make fuzz` does at length, and the runner itself."""

import time

import pytest

from lmaczs.errors import LMACError
from tests.fuzz.kinds import KINDS
from tests.fuzz.runner import Fault, run


def ends_in_every_way(seed, number, folder):
    """A case for each verdict, for the test of the runner."""
    (folder / "file").write_bytes(b"x")
    if number == 1:
        raise LMACError("Refused: choose another.")
    if number == 2:
        raise LMACError(f"Refused: {folder} is not here.")
    if number == 3:
        raise Fault("partial", "half of it")
    if number == 4:
        return {}["missing"]
    if number == 5:
        time.sleep(600)
    if number == 6:
        bytearray(1 << 34)


def test_the_runner_tells_how_a_case_ended():
    report = run("tests.fuzz.test_fuzz:ends_in_every_way", 0, range(8), seconds=3)
    verdicts = [outcome.verdict for outcome in report.outcomes]
    assert verdicts == [
        "accepted",
        "refused",
        "bad sentence",
        "partial",
        "traceback",
        "hang",
        "memory",
        "accepted",
    ]
    assert "KeyError" in report.outcomes[4].detail
    assert len(report.faults) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_run_has_no_fault(kind):
    case, _, count = KINDS[kind]
    report = run(case, 0, range(count))
    assert not report.faults, "\n".join(f"{fault.number}: {fault.detail}" for fault in report.faults[:5])
    assert {outcome.verdict for outcome in report.outcomes} == {"accepted", "refused"}
