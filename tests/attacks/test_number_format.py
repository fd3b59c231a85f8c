"""The number format of a training is the machine's, whatever else runs: no toss of a coin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
CHOOSING = """
import assay
from assay.models.products import faster_format, products
found = products()
print(faster_format("cpu"), found.float32 / (found.bfloat16 or found.float32))
"""
PREPARING = """
import dataclasses, io, json, sys
from train_works import Job, works
work = works(1)["sft-shared"]
job = dataclasses.asdict(Job("sft", work.rows, limit_s=0.0))
sys.stdin = io.StringIO(json.dumps(job))
import runpy
runpy.run_module("train_ours", run_name="__main__")
"""


@contextmanager
def busy(processes: int) -> Iterator[None]:
    counting = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(counting) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def in_new_process(code: str, cache: Path, **named: str) -> str:
    """What a process prints that remembers nothing."""
    known = {**os.environ, "ASSAY_CACHE": str(cache), **named}
    done = subprocess.run(
        [sys.executable, "-c", code], env=known, cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def choices(tmp_path: Path, count: int, others: int) -> list[tuple[str, float]]:
    """Of so many processes, each with an empty cache: the format, and by which share of time."""
    found = []
    with busy(others):
        for number in range(count):
            cache = tmp_path / f"{others}-{number}"
            name, share = in_new_process(CHOOSING, cache).split()
            found.append((name, float(share)))
            assert list(cache.rglob("products/*.json"))
    return found


def check_alike(found: list[tuple[str, float]]) -> None:
    """Where four products were timed by the clock, shares lay between 0.02 and 0.33 beside other
    work, and above a half on one machine, where they should have been a quarter."""
    shares = [share for _, share in found]
    assert len({name for name, _ in found}) == 1, found
    assert max(shares) < 1.5 * min(shares), found


@pytest.mark.slow
def test_processes_choose_alike_quiet_and_contended(tmp_path: Path) -> None:
    check_alike([*choices(tmp_path, 1, 0), *choices(tmp_path, 1, 2)])


@pytest.mark.soak
def test_twenty_processes_choose_alike_quiet_and_contended(tmp_path: Path, figure: Any) -> None:
    found = [*choices(tmp_path, 20, 0), *choices(tmp_path, 20, 1), *choices(tmp_path, 5, 4)]
    names = [name for name, _ in found]
    same = max(names.count(name) for name in set(names))
    figure("processes that choose the same number format, quiet and contended", f"{same} of 45")
    check_alike(found)


@pytest.mark.soak
def test_the_first_step_begins_soon(tmp_path: Path, data_folder: Path, figure: Any) -> None:
    """From rows in memory to the first step of the starter, with nothing remembered of products."""
    from assay.models.pull import cache_folder

    for entry in cache_folder().iterdir():
        if entry.name != "products":
            (tmp_path / entry.name).symlink_to(entry)
    known = {"PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY / 'bench'}", "HF_HUB_OFFLINE": "1"}
    seconds = []
    for _ in range(3):
        for file in tmp_path.glob("products/*"):
            file.unlink()
        told = in_new_process(PREPARING, tmp_path, **known)
        seconds.append(json.loads(told.splitlines()[-1])["prepare_s"])
    figure("from rows in memory to the first step of the starter", f"{min(seconds):.1f} s")
    assert min(seconds) < 2.5, seconds
