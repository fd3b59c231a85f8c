"""What SIGINT does: Ctrl-C at a terminal, and how a worker is told to leave its job.

    signal.signal(signal.SIGINT, interrupt)

Python's own handler raises wherever the program happens to be. In a `__del__` what is raised is
dropped, after a traceback on the terminal, and some libraries destroy thousands of objects while
models load: nothing would be stopped.
"""

from __future__ import annotations

import os
from threading import Timer
from types import FrameType

AGAIN_S = 0.02


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; a moment later where an object is being destroyed."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            again = Timer(AGAIN_S, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt
