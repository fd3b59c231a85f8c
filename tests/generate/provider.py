"""A small server on loopback that speaks OpenAI's chat completions, well or oddly."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from assay.config import Provider

KEY = "canary-7f3e9a1c-do-not-print"


@dataclass
class Reply:
    """What the server says; `cut` announces more bytes than it sends, `wait` sleeps first."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    cut: bool = False
    wait: float = 0.0


def said(text: str, **more: Any) -> Reply:
    """A good answer; `usage`, `logprobs` and `finish_reason` where given."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": more.pop("finish_reason", "stop"),
        "logprobs": more.pop("logprobs", None),
    }
    return Reply(json.dumps({"object": "chat.completion", "choices": [choice], **more}).encode())


def refused(status: int, message: str, **headers: str) -> Reply:
    body = json.dumps({"error": {"message": message, "type": "x", "param": None}}).encode()
    return Reply(body, status, {"Content-Type": "application/json", **headers})


@dataclass
class Served:
    """A running server.

    Attributes:
        asked: the body of every request, in order; `keys` its Authorization header.
    """

    port: int
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    most_at_once: int = 0

    def provider(self, **fields: Any) -> Provider:
        defaults = {"private_network": True, "timeout_s": 5.0, "consent": True}
        return Provider(base_url=f"http://127.0.0.1:{self.port}/v1", **{**defaults, **fields})


@contextmanager
def serving(rule: Callable[[dict[str, Any], int], Reply]) -> Iterator[Served]:
    """`rule(body, number of the request)` gives every reply."""
    lock, now, over = threading.Lock(), 0, threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal now
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                now += 1
                served.most_at_once = max(served.most_at_once, now)
                served.asked.append(json.loads(raw))
                served.keys.append(self.headers.get("Authorization"))
                number = len(served.asked)
            reply = rule(json.loads(raw), number)
            over.wait(reply.wait)
            with lock:
                now -= 1
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body) * (2 if reply.cut else 1)))
                self.end_headers()
                self.wfile.write(reply.body)
            except OSError:
                pass
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served = Served(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()
