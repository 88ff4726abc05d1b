"""Freed memory goes back to the system from time to time."""

import subprocess
import sys
from pathlib import Path

import pytest

from lmaczs.ui import cache
from lmaczs.ui.memory import give_back

# Many small blocks that are freed, below one that is not, in a process of its own: MB before and after.
SCRIPT = """
import torch
from lmaczs.ui.memory import give_back
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS:")) / 1024
blocks = [torch.ones(16_000) for _ in range(5_000)]
last = torch.ones(16_000)
del blocks
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists() or not give_back(), reason="no glibc")
def test_freed_memory_is_given_back():
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert float(found.stdout) > 100


def test_it_is_given_back_after_each_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done = []
    monkeypatch.setattr(cache, "give_back", lambda: done.append(1) or over.set())
    over = cache.keep_sweeping(tmp_path, 0.0, set)
    assert over.wait(20) and done
