"""A user's own Python, called in a process of its own with limits: a grader, or tools.

The limits guard against accidents (an endless loop, a leak, a secret in a log), not against
malice: the code runs with the user's rights, which is why it runs only when the user has said
`--trust-code`, and never because of a request to an API. Code of requests is run by `confined`.

    def grade(answer: str, example: dict) -> float:   # 0 to 1
    def find_ferry(to: str, date: str) -> object:     # of the function's name, with its arguments
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.errors import AssayError
from assay.interpreter import ending, python

WORKER = Path(__file__).with_name("trusted_worker.py")
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")  # no keys, no tokens
LOADING_SECONDS = 60.0  # importing a large library on a busy machine


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the user's code may take.

    Attributes:
        seconds_per_call: wall-clock seconds for one answer.
        seconds: wall-clock seconds for all answers, without loading; also the CPU limit.
        memory_mib: address space of the process, in MiB (not enforced on macOS).
    """

    seconds_per_call: float = 5.0
    seconds: float = 600.0
    memory_mib: int = 2048


class TrustedCodeError(AssayError):
    """A user's code failed, or went beyond a limit."""


@dataclass(frozen=True, slots=True)
class TrustedTools:
    """A file's functions, as tools.

    Attributes:
        use: calls in, each with a name and arguments, results out.
        files: what was loaded of the file's folder, the file itself among it.
    """

    use: Callable[[Sequence[tuple[str, dict[str, Any]]]], list[str]]
    files: tuple[Path, ...]


@contextlib.contextmanager
def trusted_function(
    file: Path, name: str, limits: Limits, *, folder: Path
) -> Iterator[Callable[[str, dict[str, Any]], float]]:
    """The function `name` of `file`, as one that runs in a worker process and is time-limited.

    Args:
        folder: the worker's working directory.

    Raises:
        AssayError: from here or from a call: the file does not load, the function raised (with
            its line), returned something other than a number from 0 to 1, or ran into a limit.
    """
    with _started(file, limits, folder, f"grader:{name}") as (replies, _):
        end = time.monotonic() + limits.seconds

        def call(answer: str, example: dict[str, Any]) -> float:
            left = end - time.monotonic()
            replies.send({"answer": answer, "example": example})
            if left < limits.seconds_per_call:
                reason = f"all answers together took more than {limits.seconds:g} s"
            else:
                reason = f"one answer took more than {limits.seconds_per_call:g} s"
            reply = replies.next(min(left, limits.seconds_per_call), reason)
            return float(reply["score"])

        yield call


@contextlib.contextmanager
def trusted_tools(
    file: Path, limits: Limits, *, folder: Path, functions: Sequence[str] = ()
) -> Iterator[TrustedTools]:
    """The functions of `file` as tools.

    They run in a worker process. Every list of calls finds the file as it was loaded, and all that
    it imports, so that what they keep is of these calls alone. A result that is no text is written
    as JSON; what a function raises is a result, too, as `{"error": ...}`, and so is that its result
    cannot be written. The limit of one call is that of a list. In the name of a function, `_`
    stands for what Python does not allow in it.

    Args:
        folder: the worker's working directory.
        functions: names of tools that the file has to define.

    Raises:
        AssayError: from here or from a list of calls: the file does not load, lacks a function,
            or ran into a limit.
    """
    role = "tools:" + json.dumps(list(functions))
    with _started(file, limits, folder, role) as (replies, loaded):

        def use(calls: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
            replies.send({"calls": [[name, arguments] for name, arguments in calls]})
            each = limits.seconds_per_call
            reply = replies.next(each, f"the calls of one dialogue took more than {each:g} s")
            results: list[str] = reply["results"]
            return results

        yield TrustedTools(use, tuple(map(Path, loaded)))


@contextlib.contextmanager
def _started(
    file: Path, limits: Limits, folder: Path, role: str
) -> Iterator[tuple[_Replies, list[str]]]:
    """A worker that has loaded a file, and what else of the file's folder it has loaded.

    Args:
        role: what it is to do with it, as `trusted_worker` is told.
    """
    file = file.resolve()
    cpu_seconds = math.ceil(limits.seconds + LOADING_SECONDS)
    command = python("-I", "-B", str(WORKER), str(file), role)
    worker = subprocess.Popen(
        [*command, str(cpu_seconds), str(limits.memory_mib)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
        env={key: os.environ[key] for key in PASSED_ON if key in os.environ},
        start_new_session=True,
    )
    try:
        replies = _Replies(worker, file, limits, role.partition(":")[0])
        ready = replies.next(LOADING_SECONDS, f"loading took more than {LOADING_SECONDS:g} s")
        yield replies, ready["ready"]
    finally:
        _end(worker)


class _Replies:
    """The worker's lines, each waited for no longer than allowed."""

    def __init__(
        self, worker: subprocess.Popen[bytes], file: Path, limits: Limits, what: str
    ) -> None:
        assert worker.stdin is not None
        assert worker.stdout is not None
        self._stdin, self._stdout = worker.stdin, worker.stdout
        self._worker, self._file, self._limits = worker, file, limits
        self._what = what
        self._buffer = b""
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._stdout, selectors.EVENT_READ)

    def send(self, call: dict[str, Any]) -> None:
        try:
            self._stdin.write(json.dumps(call).encode("ascii") + b"\n")
            self._stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def next(self, seconds: float, too_slow: str) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            if not self._ready.select(max(end - time.monotonic(), 0)):
                # Only a grader has settings to raise a limit by.
                way = ", or raise the limit" if self._what == "grader" else ""
                raise self._error(f"{too_slow}.", fix=f"Make it faster{way}.")
            piece = os.read(self._stdout.fileno(), 65536)
            if not piece:
                raise self._died()
            self._buffer += piece
        line, self._buffer = self._buffer.split(b"\n", 1)
        reply: dict[str, Any] = json_reader.read(line)
        if "error" in reply:
            raise self._error(f"{reply['error']}.", line=reply["line"])
        return reply

    def _died(self) -> TrustedCodeError:
        cause = ending(self._worker.wait())
        limits = f"{self._limits.memory_mib} MiB, {self._limits.seconds:g} s"
        return self._error(
            f"its process ended ({cause}).", fix=f"Its limits were {limits}; look at its output."
        )

    def _error(
        self, what: str, *, line: int | None = None, fix: str | None = None
    ) -> TrustedCodeError:
        where = f"{self._file}, line {line}" if line else str(self._file)
        return TrustedCodeError(f"the {self._what} failed: {what}", where=where, fix=fix)


def _end(worker: subprocess.Popen[bytes]) -> None:
    """End the worker and everything that it started."""
    with contextlib.suppress(ProcessLookupError):  # it ended by itself; nothing of it is left
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what was not sent is not needed any more
                pipe.close()
