"""`assay serve` as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assay.cli import main
from tests.preloaded import Preloaded

ASSAY = (sys.executable, "-m", "assay.cli.main")
PRELOADED: tuple[str, ...] = ()
"""The same in a fork that has the libraries: a fresh interpreter needs five seconds of a processor
to import them. For tests that are about how a server starts, `ASSAY`."""
KEY = re.compile(r"^.*(assay-[A-Za-z0-9_-]{16,}).*$", re.MULTILINE)


@dataclass
class Server:
    """A running one.

    Attributes:
        key: the admin key that it has printed, "" if none.
    """

    process: subprocess.Popen[bytes] | Preloaded
    url: str
    key: str
    output: Path

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def server(
    folder: Path,
    *options: str,
    command: tuple[str, ...] = PRELOADED,
    run: Callable[[], None] = main.run,
) -> Iterator[Server]:
    """Serve a folder; everything that is printed goes into a file.

    Args:
        run: what a fork runs in the place of `assay`.
    """
    output = folder / "output.txt"
    asked = ["serve", "--port", "0", *options]
    process: subprocess.Popen[bytes] | Preloaded
    with output.open("wb") as file:
        if command:
            process = subprocess.Popen(
                [*command, *asked],
                cwd=folder,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        else:
            process = Preloaded(run, ["assay", *asked], folder, output, os.environ)
    try:
        deadline = time.monotonic() + 300
        while not (found := re.search(r"Listening on (\S+)", output.read_text())):
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.05)
        key = KEY.search(output.read_text())
        yield Server(process, found[1], key[1] if key else "", output)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
