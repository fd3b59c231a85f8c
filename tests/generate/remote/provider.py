"""A small server on loopback that speaks OpenAI's chat completions, well or oddly."""

from __future__ import annotations

import json
import ssl
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
    """What the server says; `cut` announces more bytes than it sends, `wait` sleeps first.

    `parts` are sent one by one in the place of a body: a number is a pause, in seconds, and an
    event is waited for.
    """

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    cut: bool = False
    wait: float = 0.0
    parts: tuple[bytes | float | threading.Event, ...] = ()


def streamed(*chunks: dict[str, Any] | bytes | float | threading.Event, done: bool = True) -> Reply:
    """Server-sent events: a dict is one, all else is a part of the reply."""
    parts: list[bytes | float | threading.Event] = [
        f"data: {json.dumps(chunk)}\n\n".encode() if isinstance(chunk, dict) else chunk
        for chunk in chunks
    ]
    if done:
        parts.append(b"data: [DONE]\n\n")
    return Reply(b"", headers={"Content-Type": "text/event-stream"}, parts=tuple(parts))


def delta(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of OpenAI's; `usage` and `tool_calls` where given."""
    inner: dict[str, Any] = {} if text is None else {"content": text}
    if "tool_calls" in more:
        inner["tool_calls"] = more.pop("tool_calls")
    choice = {"index": 0, "delta": inner, "finish_reason": finish, **more.pop("choice", {})}
    return {"object": "chat.completion.chunk", "choices": [choice], **more}


def said(text: str, **more: Any) -> Reply:
    """A good answer; `usage`, `logprobs` and `finish_reason` where given."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": more.pop("finish_reason", "stop"),
        "logprobs": more.pop("logprobs", None),
    }
    return Reply(json.dumps({"object": "chat.completion", "choices": [choice], **more}).encode())


def refused(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    **headers: str,
) -> Reply:
    error = {"message": message, "type": "x", "param": param, "code": code}
    body = json.dumps({"error": error}).encode()
    return Reply(body, status, {"Content-Type": "application/json", **headers})


@dataclass
class ProviderServer:
    """A running server.

    Attributes:
        asked: the body of every request, in order; `keys` its Authorization header, `heads` all.
        hung_up: how many clients have left before the end.
    """

    port: int
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    connections: int = 0
    hung_up: int = 0
    most_at_once: int = 0

    def provider(self, **fields: Any) -> Provider:
        defaults = {"private_network": True, "timeout_s": 5.0, "consent": True}
        return Provider(base_url=f"http://127.0.0.1:{self.port}/v1", **{**defaults, **fields})


@contextmanager
def serving(
    rule: Callable[[dict[str, Any], int], Reply],
    *,
    keep_alive: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Iterator[ProviderServer]:
    """`rule(body, number of the request)` gives every reply.

    Args:
        keep_alive: HTTP/1.1, streams in chunks; else every reply ends its connection.
    """
    lock, now, over = threading.Lock(), 0, threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1" if keep_alive else "HTTP/1.0"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with lock:
                served.connections += 1

        def do_POST(self) -> None:
            nonlocal now
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                now += 1
                served.most_at_once = max(served.most_at_once, now)
                served.asked.append(json.loads(raw))
                served.keys.append(self.headers.get("Authorization"))
                served.heads.append({n.lower(): v for n, v in self.headers.items()})
                served.paths.append(self.path)
                number = len(served.asked)
            reply = rule(json.loads(raw), number)
            over.wait(reply.wait)
            with lock:
                now -= 1
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.parts:
                    self._stream(reply)
                else:
                    size = len(reply.body) * (2 if reply.cut else 1)
                    self.send_header("Content-Length", str(size))
                    self.end_headers()
                    self.wfile.write(reply.body)
            except OSError:
                with lock:
                    served.hung_up += 1
                self.close_connection = True
            self.close_connection |= not keep_alive or reply.cut

        def _stream(self, reply: Reply) -> None:
            if keep_alive:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in reply.parts:
                if isinstance(part, float):
                    over.wait(part)
                    continue
                if isinstance(part, threading.Event):
                    part.wait(300)
                    continue
                head = f"{len(part):x}\r\n".encode() if keep_alive else b""
                self.wfile.write(head + part + (b"\r\n" if keep_alive else b""))
            if keep_alive and not reply.cut:
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    served = ProviderServer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()
