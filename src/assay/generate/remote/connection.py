"""One connection to the other side, and the reply that comes over it.

It is the standard library's HTTP client with a socket that keeps time: every read ends at the
request's deadline, however slowly bytes drip.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event, Lock
from typing import Any

MOST_BYTES = 16 * 2**20
"""Of one answer's body, unless `Reply.most_bytes` says otherwise."""
_CHUNK = 1 << 16
_DRAIN_S = 0.05  # what comes after an answer's end is not waited for


class WireError(Exception):
    """A request without a whole reply.

    Attributes:
        reason: fit to be shown.
        reached: False where it certainly never came to the other side.
    """

    def __init__(self, reason: str, *, reached: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.reached = reason, reached


class OversizeError(WireError):
    """A reply with more bytes than are read of one; asked again, it is as large."""


class Reply:
    """What came back. `close` it, or read it to its end: only then is its connection free again."""

    def __init__(
        self, response: http.client.HTTPResponse, connection: Connection, free: Callable[[], None]
    ):
        self.status, self.most_bytes = response.status, MOST_BYTES
        self._response, self._connection, self._free = response, connection, free
        self._is_over, self._lock = False, Lock()
        # Counted here: `read1` of Python 3.11 does not.
        self._left = None if response.chunked else response.length

    def header(self, name: str) -> str:
        """A header's value, "" where there is none."""
        return self._response.headers.get(name) or ""

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes.

        Raises:
            OversizeError: it has more than `most_bytes`.
            WireError: it is cut, or silent for too long.
        """
        size = 0
        try:
            while part := self._read():
                size += len(part)
                if size > self.most_bytes:
                    most = f"{self.most_bytes // 2**20} MiB"
                    raise OversizeError(f"the answer is larger than {most}")
                yield part
            if self._left:  # bytes that were announced and never came
                raise WireError("the answer was cut")
        except TimeoutError:
            raise WireError(self._connection.timeout_reason()) from None
        except (http.client.HTTPException, OSError, ValueError):
            raise WireError("the answer was cut") from None
        self._response.close()
        with self._lock:
            over, self._is_over = self._is_over, True
        if not over:
            self._free()

    def _read(self) -> bytes:
        if self._left is None:
            return self._response.read1(_CHUNK)
        part = self._response.read1(min(_CHUNK, self._left)) if self._left else b""
        self._left -= len(part)
        return part

    def read(self) -> bytes:
        """The whole body; raises as `chunks` does."""
        return b"".join(self.chunks())

    def limit_silence(self, seconds: float) -> None:
        """From now on silence alone is limited, not the time of the whole reply."""
        with self._lock:  # read to its end, the connection may be another request's
            if not self._is_over:
                self._connection.set_limits(None, seconds)

    def drain(self) -> None:
        """Read what comes after an answer's end, in no time, so that the connection lives on."""
        self.limit_silence(_DRAIN_S)
        with suppress(WireError):
            self.read()
        self.close()

    def close(self) -> None:
        """Hang up, unless it was read to its end. May be called from any thread."""
        with self._lock:  # afterwards the connection may be another request's
            over, self._is_over = self._is_over, True
        if not over:
            self._connection.abort()


class Connection:
    """A socket as `http.client` uses one, that keeps time."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self._deadline: float | None = None
        self._silence = 60.0

    def set_limits(self, deadline: float | None, silence: float) -> None:
        """Nothing is waited for past `deadline` (monotonic), nor longer than `silence` seconds."""
        self._deadline, self._silence = deadline, silence

    def timeout_reason(self) -> str:
        """What to say when time has run out."""
        if self._deadline is None:
            return f"silent for {self._silence:g} s"
        return f"no whole answer within {self._silence:g} s"

    def sendall(self, data: Any) -> None:
        self._keep_time()
        self._raw.sendall(data)

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(_ConnectionReader(self), _CHUNK)

    def recv_into(self, buffer: Any) -> int:
        self._keep_time()
        return self._raw.recv_into(buffer)

    def is_idle(self) -> bool:
        """Whether an idle connection is as it should be: open, and with nothing to say."""
        try:
            poll = select.poll()
            poll.register(self._raw, select.POLLIN)
            return not poll.poll(0)
        except (OSError, ValueError):
            return False

    def abort(self) -> None:
        with suppress(OSError):
            # Wakes a thread that reads. Not the socket's own: TLS forgets its state by that, and
            # what another thread is about to send would go out unencrypted.
            socket.socket.shutdown(self._raw, socket.SHUT_RDWR)
        with suppress(OSError):
            self._raw.close()

    def close(self) -> None:
        """`http.client` says this where a reply will end the connection, before it is read."""

    def _keep_time(self) -> None:
        left = self._silence
        if self._deadline is not None:
            left = min(left, time_left(self._deadline))
        self._raw.settimeout(left)


class ActiveRequest:
    """What is under way of a request, so that any thread can hang up.

    Attributes:
        is_stopped: set when nobody waits for it any more.
    """

    def __init__(self) -> None:
        self.is_stopped = Event()
        self._connection: Connection | None = None  # until the head of the reply is there
        self._reply: Reply | None = None
        self._lock = Lock()

    def use(self, connection: Connection | None) -> None:
        """Called with the connection at hand, see `ProviderClient.send`.

        Raises:
            WireError: nobody waits any more.
        """
        with self._lock:
            if connection is not None and self.is_stopped.is_set():
                raise WireError("nobody waits for it any more", reached=False)
            self._connection = connection

    def receive(self, reply: Reply) -> None:
        """The head of its reply is there; it is closed where nobody waits any more."""
        with self._lock:
            self._reply = reply
        if self.is_stopped.is_set():
            self.abort()

    def abort(self) -> None:
        """Hang up, unless the reply was read to its end."""
        with self._lock:  # a connection that has answered may be another request's
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.abort()
            if self._reply is not None:
                self._reply.close()

    def stop(self) -> None:
        """Nobody waits any more: hang up, and do not begin."""
        self.is_stopped.set()
        self.abort()


class _ConnectionReader(io.RawIOBase):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._connection.recv_into(buffer)


def time_left(deadline: float) -> float:
    """Seconds until `deadline` (monotonic); a TimeoutError where there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
