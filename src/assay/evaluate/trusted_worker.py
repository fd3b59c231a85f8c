"""The process in which a user's grader or tools run: standard library only, started by path.

    python -I -B trusted_worker.py FILE grader:FUNCTION CPU_SECONDS MEMORY_MIB
    python -I -B trusted_worker.py FILE tools:NAME,NAME CPU_SECONDS MEMORY_MIB

Reads one JSON object a line ({"answer", "example"}, of tools {"calls": [[name, arguments]]}),
writes one a line: {"ready": true} first, then {"score": x} or {"results": [text]} each, or
{"error", "line"} as its last. What the user's code prints goes to stderr, so that it cannot be
taken for a reply.
"""

from __future__ import annotations

import importlib.util
import json
import math
import numbers
import os
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO


def main(file: str, role: str, cpu_seconds: int, memory_mib: int) -> None:
    """Serve calls until stdin ends."""
    calls = os.fdopen(os.dup(0), encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    _limit(cpu_seconds, memory_mib)
    try:
        kind, _, names = role.partition(":")
        answer = (_grader if kind == "grader" else _tools)(file, names)
        _reply(replies, {"ready": True})
        for line in calls:
            _reply(replies, answer(json.loads(line)))
    except BaseException as error:
        # Everything, SystemExit too: the user's code failed, and the parent must say where.
        _reply(replies, _report(error, file))
        os._exit(1)


def _limit(cpu_seconds: int, memory_mib: int) -> None:
    """Bounds that hold even when the parent is gone."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    if sys.platform != "darwin":  # macOS refuses to lower it
        size = memory_mib * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _grader(file: str, name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    grade = getattr(_load(file), name, None)
    if not callable(grade):
        raise ImportError(f"there is no function {name}(answer, example) in it")
    return lambda call: {"score": _checked(grade(call["answer"], call["example"]), name)}


def _tools(file: str, names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    module = _load(file)
    for name in filter(None, names.split(",")):
        if not callable(getattr(module, name, None)):
            raise ImportError(f"there is no function {name} in it")

    def use(asked: dict[str, Any]) -> dict[str, Any]:
        fresh = _load(file)
        return {"results": [_result(fresh, name, given) for name, given in asked["calls"]]}

    return use


def _result(module: ModuleType, name: str, arguments: dict[str, Any]) -> str:
    """What a function says, as text."""
    function = getattr(module, name, None)
    try:
        if not callable(function):
            raise NameError(f"there is no function {name}")
        result = function(**arguments)
    except Exception as error:  # as an agent is told of it
        result = {"error": f"{type(error).__name__}: {error}"[:500]}
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


def _load(file: str) -> ModuleType:
    if (folder := str(Path(file).parent)) not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location("user_code", file)
    if spec is None or spec.loader is None:
        raise ImportError("this is not a Python file (its name has to end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules["user_code"] = module
    spec.loader.exec_module(module)
    return module


def _checked(result: object, function: str) -> float:
    if not isinstance(result, numbers.Real):
        kind = type(result).__name__
        raise TypeError(f"{function} returned {result!r:.60} ({kind}), not a number from 0 to 1")
    score = float(result)
    if not (math.isfinite(score) and 0.0 <= score <= 1.0):
        raise ValueError(f"{function} returned {score}, not a number from 0 to 1")
    return score


def _report(error: BaseException, file: str) -> dict[str, Any]:
    if isinstance(error, SyntaxError):
        return {"error": f"SyntaxError: {error.msg}", "line": error.lineno}
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file
    ]
    message = f"{type(error).__name__}: {error}"[:500]
    return {"error": message, "line": lines[-1] if lines else None}


def _reply(replies: TextIO, value: dict[str, Any]) -> None:
    replies.write(json.dumps(value) + "\n")
    replies.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
