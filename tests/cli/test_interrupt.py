"""Ctrl-C is heard wherever the program is."""

from __future__ import annotations

import subprocess
import sys

LOST = """
import os, signal, time
from assay.cli.interrupt import heed_interrupts

heed_interrupts()

class Destroyed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)  # the handler runs here

try:
    Destroyed()
    time.sleep(30)
except KeyboardInterrupt:
    print("heard")
"""


def test_ctrl_c_while_an_object_is_destroyed_is_heard_afterwards() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST], capture_output=True, text=True, timeout=25, check=True
    )
    assert done.stdout == "heard\n"
    assert done.stderr == ""


def test_who_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from assay.cli.interrupt import heed_interrupts; heed_interrupts()\n"
        "signal.raise_signal(signal.SIGINT); print(signal.getsignal(signal.SIGINT).name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "SIG_IGN\n"
