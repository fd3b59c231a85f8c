"""SIGINT is heard wherever the program is, by whoever handles it."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import os, signal, time
from contextlib import nullcontext
{handler}

class Destroyed:
    def __del__(self):
        {times}
        time.sleep(0.01)  # the handler runs here

try:
    with {block}:
        Destroyed()
        time.sleep(30)
except KeyboardInterrupt:
    print("heard")
"""
KILL = "os.kill(os.getpid(), signal.SIGINT)"
PLAIN = "from assay.interrupt import interrupt; signal.signal(signal.SIGINT, interrupt)"


def heard(handler: str, times: str = KILL, block: str = "nullcontext()") -> str:
    code = CODE.format(handler=handler, times=times, block=block)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=25, check=True
    )
    assert done.stderr == ""
    return done.stdout


def test_while_an_object_is_destroyed_it_is_heard_afterwards() -> None:
    assert heard(PLAIN) == "heard\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "times", "block"),
    [
        ("from assay.train.loop import _interrupt_noted", f"{KILL}; {KILL}", "_interrupt_noted()"),
        ("from assay.jobs.worker import _interruptible", KILL, "_interruptible()"),
    ],
    ids=["training", "worker"],
)
def test_a_second_ctrl_c_of_a_training_and_a_workers_wish_too(
    handler: str, times: str, block: str
) -> None:
    assert heard(handler, times, block) == "heard\n"
