"""Time as a replica sees it that has a core to itself, on a machine that does other work as well.

A replica's clock goes on by the processor time that its process takes, and by the clock of the wall
where none of its threads could run (it waits for the database or the bucket). Of two replicas the
one that is ahead is stopped (SIGSTOP) until the other one has come as far, and one without requests
goes along; so both are asked, and answer, as two machines would.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

POLL_S = 0.004
AHEAD_S = 0.02


class ReplicaClock:
    """Of a process, all of whose threads have one core.

    Attributes:
        seconds: on its clock.
        under_way: requests that it has not answered.
    """

    def __init__(self, pid: int) -> None:
        self.pid, self.seconds, self.under_way = pid, 0.0, 0
        self._stopped = False
        self._id = (~pid << 3) | 2  # clock_getcpuclockid(3): all threads, ended ones too
        self._busy, self._wall = time.clock_gettime(self._id), time.perf_counter()

    def tick(self) -> None:
        """Reckon up to now."""
        busy, wall = time.clock_gettime(self._id), time.perf_counter()
        worked, passed = busy - self._busy, wall - self._wall
        self._busy, self._wall = busy, wall
        if not self.under_way or self._stopped:
            return
        self.seconds += worked
        if worked < 0.1 * passed and not self._could_run():
            self.seconds += passed - worked

    def stop(self, stopped: bool) -> None:
        """Hold it back, or let it go on."""
        if stopped != self._stopped:
            self.tick()
            self._stopped = stopped
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGSTOP if stopped else signal.SIGCONT)

    def _could_run(self) -> bool:
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(OSError):  # it has ended
                if (task / "stat").read_text().rpartition(")")[2].split()[0] in "RD":
                    return True
        return False


class FleetClock:
    """Of several replicas that keep pace, from the block's beginning to its end."""

    def __init__(self, clocks: Sequence[ReplicaClock]) -> None:
        self.clocks = clocks
        self.changed = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> FleetClock:
        for clock in self.clocks:
            clock.tick()
            clock.seconds = 0.0
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()
        for clock in self.clocks:
            clock.stop(False)

    def wait_until(self, seconds: float) -> None:
        """Until all replicas with requests have come so far; at once where there are none. Held
        by who calls: `changed`."""
        while True:
            busy = [clock for clock in self.clocks if clock.under_way]
            if not busy or min(clock.seconds for clock in busy) >= seconds:
                break
            self.changed.wait()
        for clock in self.clocks:
            if not clock.under_way:
                clock.seconds = max(clock.seconds, seconds)

    def begin(self, number: int, now: float) -> None:
        """A request is about to be sent to a replica; held by who calls: `changed`."""
        clock = self.clocks[number]
        clock.tick()
        clock.seconds = max(clock.seconds, now)
        clock.under_way += 1

    def end(self, number: int) -> float:
        """It is answered; the replica's clock. Held by who calls: `changed`."""
        clock = self.clocks[number]
        clock.tick()
        clock.under_way -= 1
        self.changed.notify_all()
        return clock.seconds

    def _run(self) -> None:
        while not self._over:
            with self.changed:
                for clock in self.clocks:
                    clock.tick()
                busy = [clock for clock in self.clocks if clock.under_way]
                slowest = min((clock.seconds for clock in busy), default=0.0)
                for clock in self.clocks:
                    clock.stop(clock in busy and clock.seconds > slowest + AHEAD_S)
                self.changed.notify_all()
            time.sleep(POLL_S)
