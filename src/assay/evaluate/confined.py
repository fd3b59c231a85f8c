"""Code that came with a request, run in a process that is shut off from the machine.

    check_possible()                                            # before any code is taken
    find_fault(["def grade(sample, item): return 1"])           # None: all of it is Python
    run_grade(source, sample={"output_text": "yes"}, item={})   # 0.7

Every call has a process of its own, which ends with it: nothing is kept from one answer to the
next. What it has no rights to is in `confinement`; what it may take is here.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.errors import AssayError, UsageError
from assay.interpreter import python

WORKER = Path(__file__).with_name("confined_worker.py")
SECONDS = 30.0
"""Wall-clock and processor seconds of a call, with the start of its process."""
MEMORY_MIB = 2048
"""Address space of the process."""
MOST_SAID = 64 * 1024
"""Bytes that it may write."""
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
"""All variables that the process has. Libraries are not to try to start threads: they cannot."""


class CodeError(AssayError):
    """The code failed, or went beyond a limit."""


class ConfinementError(AssayError):
    """The process could not be shut off, so that no code was run."""


def check_possible() -> None:
    """See that code could be run here.

    Raises:
        UsageError: a process cannot be shut off on this machine.
    """
    try:
        find_fault([])
    except ConfinementError as error:
        raise UsageError(
            f"code of requests cannot be shut off from this machine: {error.what}",
            fix="Serve without --trust-code, or on Linux 6.2 or later on x86-64.",
        ) from None


def find_fault(sources: Sequence[str]) -> tuple[int, str] | None:
    """The first of some sources that is no Python, and why; they are compiled and not run.

    Raises:
        CodeError: they cannot be compiled within the limits.
        ConfinementError: see there.
    """
    reply = _call({"sources": list(sources)})
    return (int(reply["first"]), str(reply["error"])) if "first" in reply else None


def run_grade(source: str, sample: Mapping[str, Any], item: Mapping[str, Any]) -> float:
    """What `grade(sample, item)` of a source returns: any finite number.

    Raises:
        CodeError: it raised (with its line), returned something else, or ran into a limit.
        ConfinementError: see there.
    """
    reply = _call({"source": source, "sample": dict(sample), "item": dict(item)})
    if "error" in reply:
        raise CodeError(str(reply["error"])[:600])
    score = reply.get("score")  # written by a process that foreign code has had in hand
    if not isinstance(score, float) or not math.isfinite(score):
        raise CodeError("its process gave no number.")
    return score


def _call(asked: dict[str, Any]) -> dict[str, Any]:
    """What a worker replies.

    It is handed files in memory, not pipes: who does not read and does not end what it writes keeps
    nobody waiting beyond the limit, and a file of its has the size that the worker has set.
    """
    told = os.getpid(), math.ceil(SECONDS), MEMORY_MIB, MOST_SAID
    command = python("-I", "-B", str(WORKER), *map(str, told))
    with _memory() as given, _memory() as said:
        given.write(json.dumps(asked).encode("ascii"))
        given.seek(0)
        worker = subprocess.Popen(
            command,
            stdin=given,
            stdout=said,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )
        try:
            code = worker.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise CodeError(f"it took more than {SECONDS:g} s.") from None
        finally:
            worker.kill()
            worker.wait()
        said.seek(0)
        raw = said.read(MOST_SAID)
    try:
        reply = json_reader.read(raw)
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise CodeError(f"its process ended ({how}) without a score.")
    if "unconfined" in reply:
        raise ConfinementError(f"{reply['unconfined']}"[:300] + ".")
    return reply


def _memory() -> Any:
    """A file that is in memory alone."""
    return open(os.memfd_create("grader"), "w+b")
