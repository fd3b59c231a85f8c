"""The process in which a user's grader or tools run: standard library only, started by path.

    python -I -B trusted_worker.py FILE grader:FUNCTION CPU_SECONDS MEMORY_MIB
    python -I -B trusted_worker.py FILE tools:["NAME","NAME"] CPU_SECONDS MEMORY_MIB

Reads one JSON object a line ({"answer", "example"}, of tools {"calls": [[name, arguments]]}),
writes one a line: {"ready": [path]} first, with the files of the user's that were loaded, then
{"score": x} or {"results": [text]} each, or {"error", "line"} as its last. What the user's code
prints goes to stderr, so that it cannot be taken for a reply.

Every list of calls is answered by a fork of the process that has loaded the file: whatever calls
change, in the file or in a module that it imports, is gone with it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import keyword
import math
import numbers
import os
import re
import resource
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

REPLIED = 77
"""Exit code of a fork whose reply is written; the user's code may end it with any other."""


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
        if kind == "grader":
            answer = _grader(file, names)
        else:
            answer = _tools(file, json.loads(names))
        _reply(replies, {"ready": _files_of(Path(file).parent)})
        for line in calls:
            if kind == "tools" and (fork := _fork()):
                _await(fork)
                continue
            _reply(replies, answer(json.loads(line)))
            if kind == "tools":
                _exit(REPLIED)
    except BaseException as error:
        # Everything, SystemExit too: the user's code failed, and the parent must say where.
        _reply(replies, _report(error, file))
        _exit(1)


def _fork() -> int:
    """The fork's process id here, 0 in the fork."""
    _flush()  # or the fork would print it again
    return os.fork()


def _await(fork: int) -> None:
    """Wait until a fork has replied; one that did not ends this process as it ended."""
    _, status = os.waitpid(fork, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        os.kill(os.getpid(), -code)
    if code != REPLIED:
        _exit(code)


def _exit(code: int) -> None:
    """End at once, whatever threads or handlers the user's code has left."""
    _flush()
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the user's code may have closed it
            stream.flush()


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


def _tools(file: str, names: list[str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    module = _load(file)
    named: dict[str, str] = {}
    for name in names:
        function = function_of(name)
        if (other := named.setdefault(function, name)) != name:
            raise ImportError(f"the tools {other} and {name} would both be its function {function}")
        found = getattr(module, function, None)
        if not callable(found):
            tool = "" if function == name else f" for the tool {name}"
            raise ImportError(f"there is no function {function} in it{tool}")
        if inspect.iscoroutinefunction(found):
            raise ImportError(f"{function} is async, and is called as a plain function")
    return lambda asked: {
        "results": [_result(module, name, given) for name, given in asked["calls"]]
    }


def function_of(tool: str) -> str:
    """The name of a tool as one that Python allows."""
    name = re.sub(r"\W", "_", tool)
    if name[:1].isdigit():
        name = f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


def _result(module: ModuleType, tool: str, arguments: dict[str, Any]) -> str:
    """What a function says, as text."""
    function = getattr(module, function_of(tool), None)
    try:
        if not callable(function):
            raise NameError(f"there is no function {tool}")
        result = function(**arguments)
        if isinstance(result, str):
            return result
        return json.dumps(result, ensure_ascii=False, allow_nan=False)
    except MemoryError:  # a limit, which is no answer of a tool
        raise
    except (Exception, SystemExit) as error:  # as an agent is told of it
        return json.dumps({"error": f"{type(error).__name__}: {error}"[:500]}, ensure_ascii=False)


def _files_of(folder: Path) -> list[str]:
    """The files in a folder that modules were loaded from, without installed ones."""
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    loaded = {Path(f) for m in list(sys.modules.values()) if (f := getattr(m, "__file__", None))}
    return sorted(
        str(path)
        for path in loaded
        if path.is_relative_to(folder) and not any(map(path.is_relative_to, installed))
    )


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
