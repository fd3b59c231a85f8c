"""A KeyboardInterrupt that Python drops comes again: Ctrl-C, and how a worker leaves its job.

    with heard():
        work()

Python raises it wherever the program happens to be. While an object is destroyed (`__del__`, a
weak reference's callback, a generator's `finally`) what is raised is dropped, after a traceback on
the terminal, and some libraries destroy thousands of objects while models load: nothing would be
stopped. What a library raises while it cleans up takes the place of the interrupt, too.

A signal that comes after Python has looked for signals, and just before the main thread waits in
the operating system, is noted and does not end that wait. Python lets another thread run at that
very point, so a signal that a thread sends often comes there. SIGURG is sent after it: it means
nothing, and it ends the wait.
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
WAKES = 6  # each after twice the time of the one before: 1.3 s
_IMPORTLIB = "<frozen importlib._bootstrap>"


def interrupt_main(over: threading.Event) -> None:
    """SIGINT to the main thread, from another one: within `heard` it leaves what it waits in.

    Args:
        over: set when there is nothing left to interrupt; waited for, but not for long.
    """
    main = threading.main_thread().ident or 0
    signal.pthread_kill(main, signal.SIGINT)
    for number in range(WAKES):
        if over.wait(AGAIN_S * 2**number):
            return
        signal.pthread_kill(main, signal.SIGURG)


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
    before, timers = sys.unraisablehook, list[threading.Timer]()
    dropped, over = threading.Event(), threading.Event()

    def again() -> None:
        dropped.clear()
        interrupt_main(over)

    def postpone() -> None:
        try:
            dropped.set()
            timer = threading.Timer(AGAIN_S, again)
            timer.daemon = True
            timers.append(timer)
            timer.start()
        except KeyboardInterrupt:  # the next one; on a busy machine that of this very timer
            postpone()

    def hook(unraisable: Any) -> None:
        try:
            if issubclass(unraisable.exc_type, KeyboardInterrupt):
                raise KeyboardInterrupt
            before(unraisable)
        except KeyboardInterrupt:  # what a hook raises is dropped as well
            postpone()

    def handle(_: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            postpone()
        else:
            raise KeyboardInterrupt

    if signal.getsignal(signal.SIGURG) in (signal.SIG_DFL, signal.SIG_IGN):  # what is ignored wakes
        signal.signal(signal.SIGURG, lambda *_: None)  # nobody; it may stay, as it does nothing
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
            over.set()
            for timer in timers:
                timer.cancel()
                if timer.is_alive():  # not where its start was interrupted
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
