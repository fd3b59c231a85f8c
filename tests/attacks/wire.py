"""A provider that is nothing but a socket: it sends the bytes it is told, and hangs up or stalls.

It knows when the other side hangs up, and how many connections are open.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from assay.config import Provider

RESET = object()
"""Ends a connection as if the machine were gone: what was not read yet is lost."""
Step = bytes | float | object
"""Bytes to send, seconds to stall, or RESET. After the last the connection is closed."""
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Far:
    """What a running one has seen.

    Attributes:
        asked: when each request had come whole.
        hung_up: when the other side hung up while its answer was under way.
        open: connections.
    """

    port: int
    asked: list[float] = field(default_factory=list)
    hung_up: list[float] = field(default_factory=list)
    open: int = 0

    def provider(self, **fields: Any) -> Provider:
        """Its description, with short patience."""
        defaults = {
            "private_network": True,
            "consent": True,
            "timeout_s": 5.0,
            "stall_s": 5.0,
            "retries": 0,
        }
        return Provider(base_url=f"http://127.0.0.1:{self.port}/v1", **{**defaults, **fields})


@contextmanager
def far(script: Callable[[int], Sequence[Step]]) -> Iterator[Far]:
    """`script(number of the request, from 1)` is what is done."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    listening.settimeout(0.05)
    seen, lock, over = Far(listening.getsockname()[1]), threading.Lock(), threading.Event()

    def answer(line: socket.socket) -> None:
        with lock:
            seen.open += 1
        try:
            while _request(line):
                with lock:
                    seen.asked.append(time.monotonic())
                    number = len(seen.asked)
                for step in script(number):
                    if step is RESET:
                        line.setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                        )
                        return
                    if isinstance(step, bytes):
                        line.sendall(step)
                    elif _left(line, float(step), over):  # type: ignore[arg-type]
                        with lock:
                            seen.hung_up.append(time.monotonic())
                        return
                return
        except OSError:
            with lock:
                seen.hung_up.append(time.monotonic())
        finally:
            with suppress(OSError):
                line.close()
            with lock:
                seen.open -= 1

    def accept() -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                line, _ = listening.accept()
                threading.Thread(target=answer, args=(line,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        listening.close()


def _request(line: socket.socket) -> bool:
    """Read one request; False: none came."""
    head = b""
    while b"\r\n\r\n" not in head:
        if not (part := line.recv(65536)):
            return False
        head += part
    head, _, body = head.partition(b"\r\n\r\n")
    [length] = [h for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")]
    while len(body) < int(length.split(b":")[1]):
        body += line.recv(65536)
    return True


def _left(line: socket.socket, seconds: float, over: threading.Event) -> bool:
    """Whether the other side hangs up within some seconds."""
    deadline = time.monotonic() + seconds
    line.settimeout(0.02)
    try:
        while time.monotonic() < deadline and not over.is_set():
            with suppress(TimeoutError):
                if not line.recv(65536):
                    return True
        return False
    finally:
        line.settimeout(None)


def events(*words: str, usage: dict[str, int] | None = None) -> list[bytes]:
    """The parts of a good streamed answer, head first, each event a chunk of its own."""
    said = [{"index": 0, "delta": {"content": word}, "finish_reason": None} for word in words]
    said.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    trees: list[dict[str, Any]] = [{"choices": [one]} for one in said]
    if usage is not None:
        trees.append({"choices": [], "usage": usage})
    lines = [f"data: {json.dumps(tree, ensure_ascii=False)}\n\n".encode() for tree in trees]
    lines.append(b"data: [DONE]\n\n")
    return [
        _HEAD,
        *(f"{len(line):x}\r\n".encode() + line + b"\r\n" for line in lines),
        b"0\r\n\r\n",
    ]
