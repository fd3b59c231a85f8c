"""Rows of ragged length: a training's memory is as large after hundreds of steps as after a few."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]

HOLES = """
from threading import Thread
import psutil
from tests.train.tiny import tiny_model
from assay.train.device import HeapLimit

heap = HeapLimit(tiny_model())
for _ in range(HeapLimit.WARM_STEPS):
    heap.after_step()
process, blocks = psutil.Process(), []
before = process.memory_info().rss
thread = Thread(target=lambda: blocks.extend(b"x" * (100_000 + n) for n in range(2000)))
thread.start()
thread.join()
kept = blocks[::50]  # so that the rest is not one piece at the end of the heap
blocks.clear()
grown = process.memory_info().rss
heap.after_step()
print(before, grown, process.memory_info().rss, len(kept))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps it so")
def test_holes_that_steps_leave_in_the_heap_are_given_back() -> None:
    """No sooner than the heap has grown: pages that come back cost time.

    In a process of its own: the heap of one that has run other tests has room for the blocks.
    """
    command = [sys.executable, "-c", HOLES]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    before, grown, after, kept = map(int, done.stdout.split())
    assert grown - before > 150e6
    assert after - before < 0.2 * (grown - before)
    assert kept == 40


def rise(steps: int) -> float:
    command = [sys.executable, "bench/memory.py", "--json", "--steps", str(steps)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=3000)
    found = json.loads(done.stdout.splitlines()[0])
    assert found["steps"] == steps
    return float(found["rise"])


@pytest.mark.slow
def test_the_peak_of_a_short_training_stays() -> None:
    assert rise(40) < 0.03  # the longest rows come in the tenth step


@pytest.mark.soak
def test_the_peak_of_two_thousand_steps_stays(figure: Any) -> None:
    found = rise(2000)
    figure("rise of a training's peak memory from step 100 to 2,000", f"{found:+.1%}")
    assert found < 0.03
