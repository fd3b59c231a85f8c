"""How long the threads of a matrix product spin for each other before they sleep.

OpenMP's threads meet after every operation, and spin meanwhile. On a quiet machine that is fastest.
Where another process keeps a core busy, they spin away the time of the very thread they wait for,
and a training falls to a third of its speed or less. GNU's OpenMP has the answer built in: while it
has more threads than the machine has processors, it spins a hundred turns instead of 300,000. So a
thread of Assay's watches how long the process waits for processors, and holds idle OpenMP threads
for as long as that is long (docs/benchmarks.md, "Beside other work"). What is computed, by how many
threads and in which order, stays the same. Where a limit leaves little room for threads, none are
held: OpenMP ends a process that cannot have one.

Linux only: others have another OpenMP, or do not tell how long a thread has waited.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
"""Of GNU's OpenMP, of all, and of LLVM's: where the user sets one, it holds."""
INTERVAL_S = 0.5
LONG_WAIT = 0.25
"""Seconds a second that the threads together wait, from which on they shall spin briefly: beside a
busy process 0.4 and more, on a quiet machine up to 0.09."""
SHORT_WAIT = 0.1
"""Below this for `CALM` intervals, they spin as long as they like again."""
CALM = 4
SPARE_THREADS = 64
"""That can still be started once threads are held."""
GROUPS = Path("/sys/fs/cgroup")
_TASKS = Path("/proc/self/task")

Source = Literal["assay", "environment", "library"]
"""Who decides how long threads spin: a watch of this module, the user, or OpenMP as it comes."""
_started = threading.Lock()


def source() -> Source:
    """Who decides in this process, once something that computes is loaded."""
    if user_variables():
        return "environment"
    return "assay" if sys.platform == "linux" and _waits() else "library"


def user_variables() -> str:
    """The variables that the user has set: `OMP_WAIT_POLICY=passive`."""
    return " ".join(f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ)


def adapt() -> None:
    """Watch this process from now on, unless it is watched or the user has decided.

    Call it before something that computes with several threads.
    """
    if source() == "assay" and _started.acquire(blocking=False):
        threading.Thread(target=_watch, name="assay-wait-policy", daemon=True).start()


def _watch() -> None:
    throttle: Throttle | None = None
    waits, began, calm = _waits(), time.monotonic(), 0
    while True:
        time.sleep(INTERVAL_S)
        before, since = waits, began
        waits, began = _waits(), time.monotonic()
        share = _risen(before, waits) / (began - since)
        calm = calm + 1 if share < SHORT_WAIT else 0
        if throttle is None and share > LONG_WAIT:
            libraries = _libraries()
            if _room() >= len(libraries) * _pool_size() + SPARE_THREADS:
                throttle = Throttle(libraries)
        elif throttle is not None and calm >= CALM:
            throttle.release()
            throttle = None


class Throttle:
    """While it is held, threads of these OpenMP libraries sleep after a hundred turns.

    Args:
        libraries: paths of GNU OpenMP libraries that are loaded.
    """

    def __init__(self, libraries: Iterable[str]) -> None:
        self._libraries, self._over = tuple(libraries), threading.Event()
        self._thread = threading.Thread(target=self._hold, name="assay-throttle", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let them spin as before."""
        self._over.set()
        self._thread.join()  # the library frees a thread's pool when the thread ends

    def _hold(self) -> None:
        for path in self._libraries:
            with suppress(OSError, AttributeError):
                library = ctypes.CDLL(path)
                # Its work is a function that does nothing. The threads then wait for more, asleep.
                library.GOMP_parallel(library.omp_get_thread_num, None, _pool_size(), 0)
        self._over.wait()


def _pool_size() -> int:
    """One thread more than there are processors, whatever other pools there are."""
    return len(os.sched_getaffinity(0)) + 1  # type: ignore[attr-defined,unused-ignore]


def _room() -> float:
    """Threads that can at least be started by the limits of the user and the control groups (v1 and
    v2); 0 where the system does not tell."""
    import resource  # not on Windows

    room = math.inf
    try:
        limit, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        if limit != resource.RLIM_INFINITY:
            # It counts the user's threads. Those of the whole machine are more, and told in a line.
            running = Path("/proc/loadavg").read_text("ascii").split()[3].split("/")[1]
            room = limit - int(running)
        for line in Path("/proc/self/cgroup").read_text("utf-8", "surrogateescape").splitlines():
            _, kind, name = line.split(":", 2)
            if kind in ("", "pids"):
                root = GROUPS / kind
                group = root / name.strip("/")
                for folder in (group, *group.parents):
                    if folder.is_relative_to(root):
                        room = min(room, _room_in(folder))
    except (OSError, ValueError, IndexError):
        return 0
    return room


def _room_in(group: Path) -> float:
    try:
        limit = int((group / "pids.max").read_text("ascii"))
        return limit - int((group / "pids.current").read_text("ascii"))
    except (OSError, ValueError):  # none, or the word "max"
        return math.inf


def _waits() -> dict[str, float]:
    """Seconds that each thread of this process was ready to run and had no processor; empty where
    the system does not tell."""
    found: dict[str, float] = {}
    with suppress(OSError):
        for thread in os.listdir(_TASKS):
            with suppress(OSError, ValueError, IndexError):  # it has ended
                text = (_TASKS / thread / "schedstat").read_text("ascii")
                found[thread] = int(text.split()[1]) / 1e9
    return found


def _risen(before: dict[str, float], after: dict[str, float]) -> float:
    return sum(max(0.0, waited - before.get(thread, 0.0)) for thread, waited in after.items())


def _libraries() -> set[str]:
    with suppress(OSError):
        maps = Path("/proc/self/maps").read_text("utf-8", "surrogateescape")  # file names are bytes
        paths = (line.split(maxsplit=5)[5:] for line in maps.splitlines())
        return {path for [path] in filter(None, paths) if Path(path).name.startswith("libgomp")}
    return set()
