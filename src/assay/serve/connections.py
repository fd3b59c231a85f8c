"""What a connection may cost before anybody has shown a key.

uvicorn's faster parser (httptools) limits neither the size nor the time of a request's head. Here a
head has so many bytes, lines and seconds, a body must move on, what stands around a body (trailers,
sizes of chunks) is counted, few requests wait for the answer before theirs, and one address has so
many connections.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Literal

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 2**10
"""Of a head, of what comes with it in one reading not counted."""
HEAD_LINES = 100
HEAD_S = 15.0
"""From a connection, or an answer on it, to the end of the next head; and for a TLS handshake."""
BODY_S, BODY_BYTES_PER_S = 30.0, 1024
"""A body has come after `BODY_S` and a second for each `BODY_BYTES_PER_S`, not counting the time
in which the server does not read."""
FRAME_SHARE = 8
"""Bytes around a byte of a body: a chunk of one byte has six."""
MOST_WAITING = 16
"""Requests of a connection that were sent before the answer to the one before them. An empty one of
18 bytes takes 3 KB; no client in use sends any."""
ADDRESS_CONNECTIONS = 512
"""Of one address, which may be a proxy's."""
SWEEP_S = 1.0

_CROWDED = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Connections:
    """Those of one server that speak HTTP; `Connection` enters and leaves."""

    def __init__(self) -> None:
        self.by_address: Counter[str] = Counter()
        self.open: set[Connection] = set()

    def __call__(self, **given: Any) -> Connection:
        """One more, as uvicorn makes them."""
        return Connection(self, **given)

    async def sweep(self) -> None:
        """Close those whose time is over, again and again."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = asyncio.get_running_loop().time()
            for one in list(self.open):
                if one.is_late(now):
                    one.transport.abort()


class Connection(HttpToolsProtocol):
    """uvicorn's, with limits."""

    def __init__(self, all: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._all = all
        self._address = ""
        self._at: Literal["head", "body", "end"] = "head"  # of what has come
        self._since = self.loop.time()
        self._began = False  # a message, in what is parsed at the moment
        self._body = self._frame = 0  # bytes of the message at hand, and around it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn's; one too many is sent away."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._all.open.add(self)
        self._all.by_address[self._address] += 1
        if self._all.by_address[self._address] > ADDRESS_CONNECTIONS:
            transport.write(_CROWDED)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, as uvicorn does."""
        self._leave()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """As uvicorn's; sockets belong to who has signed in."""
        self._leave()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and count its bytes."""
        if self.transport.is_closing():
            return
        body, self._began = self._body, False
        super().data_received(data)
        if self._began:
            return
        self._frame += len(data) - (self._body - body)
        if self._frame > HEAD_BYTES + FRAME_SHARE * self._body and not self.transport.is_closing():
            self.send_400_response("The header of this request is too large.")

    def on_message_begin(self) -> None:
        """Note when a request's head begins."""
        if len(self.pipeline) >= MOST_WAITING:
            raise ValueError("too many requests")  # which the parser tells as a bad request
        super().on_message_begin()
        self._began, self._at, self._since = True, "head", self.loop.time()
        self._body = self._frame = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of a head, or of what follows a body."""
        if len(self.headers) >= HEAD_LINES:
            raise ValueError("too many lines")  # which the parser tells as a bad request
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Note that a request's head has ended."""
        super().on_headers_complete()
        self._at, self._since = "body", self.loop.time()

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request's body has ended."""
        super().on_message_complete()
        self._at = "end"

    def on_response_complete(self) -> None:
        """Note that an answer has ended."""
        super().on_response_complete()
        self._since = self.loop.time()

    def is_late(self, now: float) -> bool:
        """Whether what is waited for should have come."""
        answers = self.cycle is not None and not self.cycle.response_complete
        if self._at == "end" and answers:
            return False
        if (
            self._at != "body" or not answers
        ):  # the rest of a body whose answer was given is nothing
            return now - self._since > HEAD_S
        if self.flow.read_paused:
            self._since += SWEEP_S
        return now - self._since > BODY_S + self._body / BODY_BYTES_PER_S

    def _leave(self) -> None:
        if self in self._all.open:
            self._all.open.discard(self)
            self._all.by_address[self._address] -= 1
            if not self._all.by_address[self._address]:
                del self._all.by_address[self._address]
