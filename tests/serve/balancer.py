"""A load balancer in its least form: every new connection goes to one server, until it is told of
another."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass
class Balancer:
    """A running one.

    Attributes:
        url: its own.
        server: URL of the one that new connections go to.
    """

    url: str
    server: str


@contextmanager
def balancer(server: str) -> Iterator[Balancer]:
    """Stand before some servers on loopback, and begin with this one."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        made = Balancer(f"http://127.0.0.1:{listening.getsockname()[1]}", server)
        is_over = threading.Event()

        def accept() -> None:
            while not is_over.is_set():
                try:
                    near = listening.accept()[0]
                except OSError:  # a connection that has gone already, too many open files
                    time.sleep(0.1)
                else:
                    _begin(_join, near, httpx.URL(made.server))

        _begin(accept)
        try:
            yield made
        finally:
            is_over.set()
            listening.shutdown(socket.SHUT_RDWR)


def _begin(work: Callable[..., None], *given: Any) -> None:
    threading.Thread(target=work, args=given, daemon=True).start()


def _join(near: socket.socket, url: httpx.URL) -> None:
    """Until either end has gone."""
    with (
        closing(near),
        suppress(OSError),
        socket.create_connection((url.host, url.port or 0)) as far,
    ):
        _begin(_pass_on, far, near)
        _pass_on(near, far)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
