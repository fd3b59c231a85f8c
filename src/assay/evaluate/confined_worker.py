r"""The process in which code of a request runs: standard library only, started by path.

    python -I -B confined_worker.py PARENT CPU_SECONDS MEMORY_MIB REPLY_BYTES \
        < request > reply 2> state

Reads one JSON object and writes one: of {"sources": [text]}, which are compiled and not run,
{"first": n, "error"} of the first that is no Python, else {}; of {"source", "sample", "item"} what
its `grade(sample, item)` says, {"score": x} or {"error"}. Before anything of the request is looked
at, `state` is "confined", or why the process cannot be; code of the request has no way there.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import traceback
from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "<source>"
"""Stands in tracebacks for the file of a source, which has none."""


def main(parent: int, cpu_seconds: int, memory_mib: int, reply_bytes: int) -> None:
    """Write what comes of the object that stdin holds."""
    raw, replies, state = sys.stdin.buffer.read(), os.dup(1), os.dup(2)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    try:
        _limit(cpu_seconds, memory_mib, reply_bytes)
        _confine()
        if os.getppid() != parent:  # it ended before this process would have ended with it
            raise OSError("nobody waits for the answer")
    except OSError as error:
        os.write(state, str(error).encode(errors="replace"))
        os._exit(1)
    os.write(state, b"confined")
    os.close(state)  # its one descriptor here, and no path leads to it
    try:
        request = json.loads(raw)
        del raw
        reply = _compile(request["sources"]) if "sources" in request else _grade(**request)
    except BaseException as error:  # SystemExit, too: the code has failed, whatever it raises
        reply = {"error": _describe(error)}
    os.write(replies, json.dumps(reply).encode())
    os._exit(0)  # whatever handlers the code has left


def _limit(cpu_seconds: int, memory_mib: int, reply_bytes: int) -> None:
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory_mib * 1024 * 1024),
        (resource.RLIMIT_FSIZE, reply_bytes),
        (resource.RLIMIT_NOFILE, 256),
    ):
        resource.setrlimit(kind, (most, most))
    with suppress(OSError):  # where memory runs out, this process ends rather than the server
        Path("/proc/self/oom_score_adj").write_text("1000")


def _confine() -> None:
    """`assay.evaluate.confinement`, which is beside this file: the package is not on the path."""
    spec = spec_from_file_location("confinement", Path(__file__).with_name("confinement.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.confine()


def _compile(sources: list[str]) -> dict[str, Any]:
    """The reply about sources that are not run."""
    for place, source in enumerate(sources):
        try:
            compile(source, NAME, "exec", dont_inherit=True)
        except BaseException as error:
            return {"first": place, "error": _describe(error)}
    return {}


def _grade(source: str, sample: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """The reply with a score."""
    module = sys.modules["grader"] = ModuleType("grader")  # which `dataclass` looks up, for one
    exec(compile(source, NAME, "exec", dont_inherit=True), module.__dict__)
    grade = module.__dict__.get("grade")
    if not callable(grade):
        raise NameError("there is no function grade(sample, item) in it")
    result = grade(sample, item)
    if isinstance(result, (str, bytes)) or not hasattr(type(result), "__float__"):
        raise TypeError(f"grade returned {result!r:.60} ({type(result).__name__}), not a number")
    if not math.isfinite(score := float(result)):
        raise ValueError(f"grade returned {score}, not a finite number")
    return {"score": score}


def _describe(error: BaseException) -> str:
    """What went wrong, and in which line."""
    if isinstance(error, SyntaxError):
        what, line = f"SyntaxError: {error.msg}", error.lineno
    else:
        what = f"{type(error).__name__}: {error}"
        frames = traceback.extract_tb(error.__traceback__)
        line = next((one.lineno for one in reversed(frames) if one.filename == NAME), None)
    return what[:500] + (f" (line {line})" if line else "")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
