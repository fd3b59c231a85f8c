"""A server process under attack: the peak of its memory, and how long `/healthz` has to wait."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from tests.serve.process import Server, server

MB = 2**20
MOST_BYTES = 3 * 2**30
"""A server that has more is killed: its attacker has won."""
_BEAT_S = 0.01


@dataclass
class Watch:
    """What was seen while it lasted.

    Attributes:
        rise_mb: of the resident memory, from the beginning to the peak.
        freeze_s: the longest that `/healthz` took.
    """

    rise_mb: float = 0.0
    freeze_s: float = 0.0


class Victim:
    """A running server."""

    def __init__(self, running: Server) -> None:
        self.running, self.process = running, psutil.Process(running.process.pid)
        self.address = urlsplit(running.url)

    def http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.running.key}"}
        return httpx.Client(base_url=self.running.url, headers=headers, timeout=120)

    @contextmanager
    def watched(self) -> Iterator[Watch]:
        """Watch it in a thread; the figures are there when the block has ended."""
        found, over = Watch(), threading.Event()
        pid = self.process.pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
        before = self.process.memory_info().rss
        thread = threading.Thread(target=self._beat, args=(found, over))
        thread.start()
        try:
            yield found
        finally:
            time.sleep(2 * _BEAT_S)
            over.set()
            thread.join()
            if self.process.is_running():
                found.rise_mb = (_peak(pid) - before) / MB

    def _beat(self, found: Watch, over: threading.Event) -> None:
        assert self.address.hostname is not None
        asked = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=120)
        while not over.is_set():
            began = time.perf_counter()
            try:
                asked.request("GET", "/healthz")
                asked.getresponse().read()
            except (OSError, http.client.HTTPException):
                asked.close()  # it has ended, or was killed below
                found.freeze_s = max(found.freeze_s, 1e9 if not self.alive() else 0.0)
            found.freeze_s = max(found.freeze_s, time.perf_counter() - began)
            if self.alive() and self.process.memory_info().rss > MOST_BYTES:
                self.running.process.kill()
            time.sleep(_BEAT_S)
        asked.close()

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.running.process.poll() is None


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


@contextmanager
def victim(folder: Path, *options: str) -> Iterator[Victim]:
    """Serve a folder."""
    with server(folder, *options) as running:
        yield Victim(running)


def post(http: httpx.Client, path: str, body: Any, **headers: str) -> httpx.Response:
    """Send JSON, or bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return http.post(path, content=content, headers={"Content-Type": "application/json", **headers})
