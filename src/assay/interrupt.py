"""A KeyboardInterrupt that Python drops comes again: Ctrl-C, and how a worker leaves its job.

    with heard():
        work()

Python raises it wherever the program happens to be. While an object is destroyed (`__del__`, a
weak reference's callback, a generator's `finally`) what is raised is dropped, after a traceback on
the terminal, and some libraries destroy thousands of objects while models load: nothing would be
stopped.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

AGAIN_S = 0.02


def interrupt_main() -> None:
    """SIGINT to the main thread, which leaves what it waits in."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@contextmanager
def heard() -> Iterator[None]:
    """Within, in the main thread, no KeyboardInterrupt is dropped: it comes again a moment later.

    Raises:
        KeyboardInterrupt: one was dropped at the very end, and has not come again yet.
    """
    before, dropped, timers = sys.unraisablehook, threading.Event(), []

    def again() -> None:
        dropped.clear()
        interrupt_main()

    def hook(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            before(unraisable)
            return
        dropped.set()
        timer = threading.Timer(AGAIN_S, again)
        timer.daemon = True
        timer.start()
        timers.append(timer)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in timers:
            timer.cancel()
            timer.join()
        if dropped.is_set():
            raise KeyboardInterrupt
