"""Code that came with a request, run in a process that is shut off from the machine.

    check_possible()                                            # before any code is taken
    find_fault(["def grade(sample, item): return 1"])           # None: all of it is Python
    run_grade(source, {"output_text": "yes"}, {}, TimeAllowance())  # 0.7

Every call has a process of its own, which ends with it: nothing is kept from one answer to the
next. What it has no rights to is in `confinement`; what it may take is here.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.errors import AssayError, UsageError
from assay.generate.stream import BusyError
from assay.interpreter import ending, python

WORKER = Path(__file__).with_name("confined_worker.py")
SECONDS = 30.0
"""Wall-clock and processor seconds of a grade, with the start of its process."""
COMPILE_SECONDS = 5.0
"""The same of sources that are compiled alone; and how long others' are waited for."""
MEMORY_MIB = 2048
"""Address space of the process."""
REPLY_BYTES = 64 * 1024
"""Most that it may write."""
_GRADES, _COMPILATIONS = threading.BoundedSemaphore(2), threading.BoundedSemaphore(1)
"""Processes at a time. They are counted here, and not by who waits for one: a request may be given
up while its process still runs."""
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
"""All variables that the process has. Libraries are told not to start threads: they could not."""


class CodeError(AssayError):
    """The code failed, or went beyond a limit."""


class ConfinementError(AssayError):
    """The process could not be started or shut off, so that no code was run."""


@dataclass
class TimeAllowance:
    """Seconds that processes may still take, one after the other."""

    seconds: float = 60.0


def check_possible() -> None:
    """See that code could be run here.

    Raises:
        UsageError: a process cannot be shut off on this machine.
    """
    try:
        _call({"sources": []}, SECONDS)
    except ConfinementError as error:
        raise UsageError(
            f"code of requests cannot be shut off from this machine: {error.what}",
            fix="Serve without --trust-code, or on Linux 6.2 or later on x86-64.",
        ) from None


def find_fault(sources: Sequence[str]) -> tuple[int, str] | None:
    """The first of some sources that is no Python, and why; they are compiled and not run.

    Raises:
        BusyError: others' sources are being compiled.
        CodeError: they cannot be compiled within the limits.
        ConfinementError: no process could be started or shut off.
    """
    if not _COMPILATIONS.acquire(timeout=COMPILE_SECONDS):
        raise BusyError("Other code is being compiled.", COMPILE_SECONDS)
    try:
        reply = _call({"sources": list(sources)}, COMPILE_SECONDS)
    finally:
        _COMPILATIONS.release()
    return (int(reply["first"]), str(reply["error"])) if "first" in reply else None


def run_grade(
    source: str,
    sample: Mapping[str, Any],
    item: Mapping[str, Any],
    allowance: TimeAllowance,
) -> float:
    """What `grade(sample, item)` of a source returns: any finite number.

    Args:
        allowance: of all code that grades the item; what this takes is taken from it.

    Raises:
        CodeError: it raised (with its line), returned something else, or ran into a limit.
        ConfinementError: no process could be started or shut off.
    """
    request = {"source": source, "sample": dict(sample), "item": dict(item)}
    with _GRADES:
        if allowance.seconds < 1:
            raise CodeError("the code before it has taken all the time that an item has.")
        began = time.monotonic()
        try:
            reply = _call(request, min(SECONDS, allowance.seconds))
        finally:
            allowance.seconds -= time.monotonic() - began
    if "error" in reply:
        raise CodeError(str(reply["error"])[:600])
    score = reply.get("score")  # of a process in which foreign code has run: it may be anything
    if not isinstance(score, float) or not math.isfinite(score):
        raise CodeError("its process gave no number.")
    return score


def _call(request: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What a worker replies within some seconds, after which there is no process any more.

    It has files in memory and not pipes: a process that neither reads nor stops writing keeps
    nobody waiting beyond the limit, and the worker has bounded the size of its files.
    """
    if not hasattr(os, "memfd_create"):  # Linux alone has files in memory, and can shut it off
        raise ConfinementError(f"{sys.platform} is not Linux.")
    limits = os.getpid(), math.ceil(seconds), MEMORY_MIB, REPLY_BYTES
    command = python("-I", "-B", str(WORKER), *map(str, limits))
    with ExitStack() as files:
        try:
            asking, replying, state = (files.enter_context(_memory()) for _ in range(3))
            asking.write(json.dumps(request).encode("ascii"))
            asking.seek(0)
            worker = subprocess.Popen(
                command,
                stdin=asking,
                stdout=replying,
                stderr=state,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as error:  # no descriptor, process or memory is left
            why = f"its process could not be started: {error.strerror}."
            raise ConfinementError(why) from None
        try:
            code = worker.wait(seconds)
        except subprocess.TimeoutExpired:
            raise CodeError(f"it took more than {seconds:.3g} s.") from None
        finally:
            worker.kill()
            worker.wait()
        for file in (replying, state):
            file.seek(0)
        raw, stated = replying.read(REPLY_BYTES), state.read(REPLY_BYTES)
    how = ending(code)
    if stated != b"confined":  # the worker's own word: it closes that file before it runs code
        why = stated.decode(errors="replace")[:300] or f"its process ended ({how})"
        raise ConfinementError(f"{why}.")
    try:
        reply = json_reader.read(raw)
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        raise CodeError(f"its process ended ({how}) without a score.")
    return reply


def _memory() -> Any:
    """A file that is in memory alone."""
    return open(os.memfd_create("grader"), "w+b")
