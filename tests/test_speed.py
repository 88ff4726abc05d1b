"""The speed benchmark: what it times, and how it reports."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import speed
from lmaczs import load_clip


def test_every_task_runs_on_a_tiny_model(debug_backend):
    jobs = list(speed.tasks(debug_backend, load_clip(speed.EXAMPLE)))
    names = [job.name for job in jobs]
    assert names[0] == "encoder, one pass"
    assert "explain_clip, grad-cam++" in names
    for job in jobs:
        assert job.work() is not None


def test_median_leaves_the_warm_up_out():
    delays = iter([0.2, 0.01, 0.01, 0.01])
    job = speed.Task("sleep", lambda: time.sleep(next(delays)))
    assert speed.measure([job], rounds=3)[0] == pytest.approx(0.01, abs=0.02)


def test_report_divides_by_the_first_task_and_says_what_methods_state():
    jobs = [speed.Task("unit", lambda: None), speed.Task("slow", lambda: None, passes=2.0)]
    arguments = argparse.Namespace(rounds=3, long_minutes=10.0)
    memory = {"lmac-zs": {"above_mb": 640.0, "seconds": 30.0}}
    page = speed.report(jobs, [0.010, 0.025], ["a table"], ["another"], memory, arguments)
    assert "| slow | 25.0 | 2.50 | 2 |" in page and "| unit | 10.0 | 1.00 |  |" in page
    assert "| lmac-zs | 640 | ≤ 1000 ✓ | 30.0 |" in page
    assert "python benchmarks/speed.py --rounds 3 --long-minutes 10" in page


def test_methods_are_added_up_and_packages_compared():
    def task(name):
        return speed.Task(name, lambda: None)

    jobs = [task("lmac-zs"), task("smoothgrad"), task("rise")]
    methods = speed.method_table(jobs, [0.5, 1.0, 9.0], ["lmac-zs", "smoothgrad"])
    assert "| rise | 9.000 | |" in methods
    assert methods[-1] == "| **lmac-zs + smoothgrad** | **1.500** | ≤ 4 ✓ |"
    peers = speed.peer_table([task("GradCAM++, grad-cam"), task("the package")], [0.03, 0.02])
    assert peers[-1] == "| GradCAM++, grad-cam | 30.0 | 20.0 | 1.50 | ≤ 1 ✗ |"


def test_ours_and_the_packages_run_in_turn_on_a_tiny_model(debug_backend):
    pytest.importorskip("captum")
    pytest.importorskip("cv2")
    jobs = list(speed.peer_tasks(debug_backend, load_clip(speed.EXAMPLE)))
    names = [job.name for job in jobs]
    assert [name + " (package)" for name in names[::2]] == names[1::2] and len(names) == 12
    assert {"GradCAM++, grad-cam", "SmoothGrad, 25 copies, stft, captum"} <= set(names)
    for job in jobs[:6]:
        assert job.work() is not None


def test_peak_memory_holds_what_is_taken_and_current_memory_lets_go():
    """In a process of its own: in this one, threads of earlier tests take and give back memory meanwhile."""
    code = """
import speed
before = speed.resident_mb(peak=False)
block = bytearray(200 * 2**20)
block[::4096] = b"x" * len(block[::4096])  # touch every page
assert speed.resident_mb(peak=False) - before > 150
del block
assert speed.resident_mb(peak=True) - before > 150
assert speed.resident_mb(peak=False) - before < 100
"""
    root = Path(speed.__file__).resolve().parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (root, root / "benchmarks")))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
