"""Worker processes that begin with the libraries loaded: forks of their server.

    start_from_forks()  # before the server has threads

A fresh one imports for seconds of a processor; that fresh ones start and end is in tests/jobs and
tests/serve. What differs is in `tests.preloaded`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from assay.cli.main import run
from assay.jobs import service

STOCK = 4
"""Forks that wait to be a worker; those that are started later are fresh."""


class ForkedWorker:
    """A running one, in the words of `subprocess.Popen` that its supervisor uses.

    Args:
        others: files of this process that are none of it: the pipes to other workers.
    """

    def __init__(self, others: list[int]) -> None:
        asked, asking = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            for file in (*others, asking):
                os.close(file)
            _serve(asked)
        os.close(asked)
        self.stdin = open(asking, "wb", buffering=0)  # noqa: SIM115

    def begin(self, arguments: list[str], folder: Path) -> None:
        self.stdin.write(json.dumps([str(folder), *arguments]).encode() + b"\n")

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, 9)


def start_from_forks() -> None:
    """Supervisors of this process take a fork for a worker, as long as there are some."""
    stock: list[ForkedWorker] = []
    for _ in range(STOCK):
        stock.append(ForkedWorker([one.stdin.fileno() for one in stock]))

    def start(command: list[str], *, cwd: Path, **options: Any) -> Any:
        if not stock:
            return subprocess.Popen(command, cwd=cwd, **options)
        worker = stock.pop()
        worker.begin(command[command.index("assay.cli.main") :], cwd)
        return worker

    service.Popen = start  # type: ignore[assignment, misc]


def _serve(asked: int) -> None:
    """Wait to be told what to do, do it, and end."""
    line = b""
    while not line.endswith(b"\n"):
        if not (read := os.read(asked, 1)):  # the server has ended
            os._exit(0)
        line += read
    os.setsid()
    os.dup2(asked, 0)
    os.close(asked)
    folder, *sys.argv = json.loads(line)
    os.chdir(folder)
    status: Any = 1
    try:
        run()
        status = 0
    except SystemExit as end:
        status = end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)
