"""A KeyboardInterrupt that Python drops comes again: Ctrl-C, and how a worker leaves its job.

    with heard():
        work()

Python raises it wherever the program happens to be. While an object is destroyed (`__del__`, a
weak reference's callback, a generator's `finally`) what is raised is dropped, after a traceback on
the terminal, and some libraries destroy thousands of objects while models load: nothing would be
stopped. What a library raises while it cleans up takes the place of the interrupt, too.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

AGAIN_S = 0.02
_IMPORTLIB = "<frozen importlib._bootstrap>"


def interrupt_main() -> None:
    """SIGINT to the main thread, which leaves what it waits in."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@contextmanager
def heard(*, between_imports: bool = False) -> Iterator[None]:
    """Within, in the main thread, no KeyboardInterrupt is dropped: it comes again a moment later.

    Args:
        between_imports: SIGINT raises it even where it was ignored, and not before the import that
            is under way has ended: a module that is imported by half stays so for as long as the
            process lives. For a process that goes on afterwards.

    Raises:
        KeyboardInterrupt: one was dropped at the very end, and has not come again yet.
    """
    before, dropped, timers = sys.unraisablehook, threading.Event(), []

    def again() -> None:
        dropped.clear()
        interrupt_main()

    def postpone() -> None:
        dropped.set()
        timer = threading.Timer(AGAIN_S, again)
        timer.daemon = True
        timer.start()
        timers.append(timer)

    def hook(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            postpone()
        else:
            before(unraisable)

    def handle(_: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            postpone()
        else:
            raise KeyboardInterrupt

    sys.unraisablehook = hook
    handler = signal.signal(signal.SIGINT, handle) if between_imports else None
    try:
        yield
    except Exception as error:
        if _replaces_interrupt(error):
            raise KeyboardInterrupt from error
        raise
    finally:
        sys.unraisablehook = before
        try:
            for timer in timers:
                timer.cancel()
                timer.join()
        finally:
            if between_imports:
                signal.signal(signal.SIGINT, handler)
        if dropped.is_set():
            raise KeyboardInterrupt


def _replaces_interrupt(error: BaseException | None) -> bool:
    """Whether it was raised while a KeyboardInterrupt was: SQLAlchemy, say, cannot give back a
    connection in the middle of a query, and that is what is raised then."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTLIB:
            return True
        frame = frame.f_back
    return False


@contextmanager
def interrupt_noted(*, heeded: bool = True) -> Iterator[threading.Event]:
    """Ctrl-C sets the event instead of raising; the second Ctrl-C raises at once.

    Signals reach the main thread only; in another one the event stays unset.

    Args:
        heeded: False: the event stays unset, and signals do what they did before.
    """
    noted = threading.Event()
    if not heeded or threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(_number: int, _frame: FrameType | None) -> None:
        if noted.is_set():
            raise KeyboardInterrupt
        noted.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        with heard():
            yield noted
    finally:
        signal.signal(signal.SIGINT, before)
