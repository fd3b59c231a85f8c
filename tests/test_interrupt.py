"""SIGINT is heard wherever the program is, by whoever handles it, and never too late."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import ctypes, gc, os, signal, sys, threading, time, weakref
from assay.interrupt import heard
{handler}

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in the background

def now(*_):
    {times}
    time.sleep(0.01)  # the handler runs here

class Destroyed:
    def __del__(self):
        {inside}

def generator():
    try:
        yield
    finally:
        now()

def lived():
    next(started := generator())

def work():
    {work}
    time.sleep(100)

{end}
"""
KILL = "os.kill(os.getpid(), signal.SIGINT)"
BLOCK = """
try:
    with {block}:
        work()
except KeyboardInterrupt:
    print("heard")
"""
FAULTY_CLEANUP = """
    try:
        now()
    finally:
        try:
            raise ValueError("a query is under way")
        except ValueError as error:
            raise RuntimeError("no connection") from error
"""
CLI = """
import assay.cli.main
assay.cli.main.app = work
assay.cli.main.run()
"""


def ran(
    work: str,
    end: str = BLOCK.format(block="heard()"),
    *,
    handler: str = "",
    times: str = KILL,
    inside: str = "now()",
) -> subprocess.CompletedProcess[str]:
    code = CODE.format(handler=handler, times=times, inside=inside, work=work, end=end)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=90, check=False
    )


@pytest.mark.parametrize(
    "work",
    [
        "Destroyed()",
        "x = Destroyed(); r = weakref.ref(x, now); del x",
        "lived()",
        "gc.callbacks.append(now); gc.collect()",
        FAULTY_CLEANUP,
        # The thread that sends it gets its turn between this call and the sleep, at no other time.
        "Destroyed(); ctypes.PyDLL(None).usleep(200_000)",
    ],
    ids=[
        *("destructor", "weak reference", "generator", "collector"),
        *("faulty cleanup", "before a wait"),
    ],
)
def test_what_python_drops_comes_again(work: str) -> None:
    inside = "pass" if "weakref" in work else "now()"
    times = f"gc.callbacks.clear(); {KILL}"
    done = ran(work, times=times, inside=inside)
    assert (done.stdout, done.stderr, done.returncode) == ("heard\n", "", 0)


SLOW_START = """
start = threading.Timer.start
def slowly(timer):
    threading.Timer.start = start
    start(timer)
    time.sleep(50)
threading.Timer.start = slowly
"""


@pytest.mark.parametrize(
    ("handler", "inside"),
    [(SLOW_START, "now()"), ("sys.unraisablehook = lambda _: now()", "raise OSError('full')")],
    ids=["while it is postponed", "while another fault is told"],
)
def test_what_comes_while_one_is_dropped_comes_again(handler: str, inside: str) -> None:
    done = ran("Destroyed()", handler=handler, inside=inside)
    assert (done.stdout, done.stderr) == ("heard\n", "")


def test_other_faults_of_destructors_are_told_as_ever() -> None:
    done = ran("Destroyed(); sys.exit()", inside="raise OSError('full')")
    assert "OSError: full" in done.stderr


def test_at_the_very_end_it_does_not_wait_for_the_next_one() -> None:
    """What is meant for this block reaches nothing behind it."""
    end = """
try:
    with heard():
        Destroyed()
except KeyboardInterrupt:
    print("heard")
time.sleep(0.2)
print("at peace", sys.unraisablehook is sys.__unraisablehook__)
"""
    done = ran("pass", end)
    assert (done.stdout, done.stderr) == ("heard\nat peace True\n", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "times", "block"),
    [
        ("from assay.interrupt import interrupt_noted", f"{KILL}; {KILL}", "interrupt_noted()"),
        ("", KILL, "heard(between_imports=True)"),
    ],
    ids=["training", "worker"],
)
def test_a_second_ctrl_c_of_a_training_and_a_workers_wish_too(
    handler: str, times: str, block: str
) -> None:
    done = ran("Destroyed()", BLOCK.format(block=block), handler=handler, times=times)
    assert (done.stdout, done.stderr) == ("heard\n", "")


def test_a_module_is_imported_whole_before_a_worker_leaves_its_job(tmp_path: Path) -> None:
    """One that is imported by half stays so, and breaks the next job of the process."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("from package import inner\nwhole = True\n")
    (tmp_path / "package" / "inner.py").write_text("import time\ntime.sleep(0.6)\n")
    work = (
        f"sys.path.insert(0, {str(tmp_path)!r}); threading.Timer(0.2, now).start(); import package"
    )
    block = BLOCK.format(block="heard(between_imports=True)")
    end = f"{block}\nprint(sys.modules['package'].whole)\n"
    done = ran(work, end)
    assert (done.stdout, done.stderr) == ("heard\nTrue\n", "")


@pytest.mark.slow
def test_the_command_stops_in_a_sentence() -> None:
    done = ran("Destroyed()", CLI)
    assert done.returncode == 130
    assert done.stderr.startswith("assay: stopped.")
    assert "Traceback" not in done.stderr
