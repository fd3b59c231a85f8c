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
import signal
import subprocess
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
from assay.interpreter import python

WORKER = Path(__file__).with_name("confined_worker.py")
SECONDS = 30.0
"""Wall-clock and processor seconds of a grade, with the start of its process."""
COMPILE_SECONDS = 5.0
"""The same of sources that are compiled alone; and how long others' are waited for."""
MEMORY_MIB = 2048
"""Address space of the process."""
MOST_SAID = 64 * 1024
"""Bytes that it may write."""
_GRADES, _COMPILATIONS = threading.BoundedSemaphore(2), threading.BoundedSemaphore(1)
"""Of processes at a time. Whoever waits for one may be gone: its place is its own until it ends."""
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
"""All variables that the process has. Libraries are not to try to start threads: they cannot."""


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
        BusyError: others' sources are compiled.
        CodeError: they cannot be compiled within the limits.
        ConfinementError: see there.
    """
    if not _COMPILATIONS.acquire(timeout=COMPILE_SECONDS):
        raise BusyError("Other code is compiled.", COMPILE_SECONDS)
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
        ConfinementError: see there.
    """
    asked = {"source": source, "sample": dict(sample), "item": dict(item)}
    with _GRADES:
        if allowance.seconds < 1:
            raise CodeError("the code before it has taken all the time that an item has.")
        began = time.monotonic()
        try:
            reply = _call(asked, min(SECONDS, allowance.seconds))
        finally:
            allowance.seconds -= time.monotonic() - began
    if "error" in reply:
        raise CodeError(str(reply["error"])[:600])
    score = reply.get("score")  # written by a process that foreign code has had in hand
    if not isinstance(score, float) or not math.isfinite(score):
        raise CodeError("its process gave no number.")
    return score


def _call(asked: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What a worker replies within some seconds, after which there is no process any more.

    It is handed files in memory, not pipes: who does not read and does not end what it writes keeps
    nobody waiting beyond the limit, and a file of its has the size that the worker has set.
    """
    told = os.getpid(), math.ceil(seconds), MEMORY_MIB, MOST_SAID
    command = python("-I", "-B", str(WORKER), *map(str, told))
    with ExitStack() as files:
        try:
            given, said, shut = (files.enter_context(_memory()) for _ in range(3))
            given.write(json.dumps(asked).encode("ascii"))
            given.seek(0)
            worker = subprocess.Popen(
                command,
                stdin=given,
                stdout=said,
                stderr=shut,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as error:  # of descriptors, processes or memory there are no more
            why = f"its process could not be started: {error.strerror}."
            raise ConfinementError(why) from None
        try:
            code = worker.wait(seconds)
        except subprocess.TimeoutExpired:
            raise CodeError(f"it took more than {seconds:.3g} s.") from None
        finally:
            worker.kill()
            worker.wait()
        for file in (said, shut):
            file.seek(0)
        raw, why = said.read(MOST_SAID), shut.read(MOST_SAID)
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    if why != b"yes":  # the worker's own word: it closes that file before it looks at code
        text = why.decode(errors="replace")[:300] or f"its process ended ({how})"
        raise ConfinementError(f"{text}.")
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
