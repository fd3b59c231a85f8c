"""Ctrl-C that is not lost.

Python drops whatever is raised while an object is destroyed (`__del__`) and prints a traceback
instead. Some libraries destroy thousands of objects while they are loaded, so that a Ctrl-C in that
moment would stop nothing.
"""

from __future__ import annotations

import os
import signal
from threading import Timer
from types import FrameType

AGAIN_S = 0.02


def heed_interrupts() -> None:
    """From now on SIGINT raises KeyboardInterrupt where it is heard, if it did so anywhere."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            again = Timer(AGAIN_S, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt
