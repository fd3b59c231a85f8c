"""What tests of the limit of requests at once share."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select

from assay.accounts import request_leases
from assay.serve import request_limit
from assay.serve.request_limit import RequestLimit
from assay.store.store import Store
from assay.store.tables import RequestLeaseRow
from assay.store.tables.clock import database_time
from tests.serve.two_servers import Pair


async def never(_: RequestLimit) -> None:
    """In the place of looks in the background: they come when the test says so."""


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that does other work as well."""
    monkeypatch.setattr(request_limit, "WAIT_S", 60.0)
    monkeypatch.setitem(request_leases._BOUNDS, "statement_timeout", "60s")


def held(store: Store, key: str | None = None) -> list[tuple[int, timedelta]]:
    """By each server: how many requests, and for how long; of one key, or of all."""
    query = select(RequestLeaseRow.amount, RequestLeaseRow.expires, database_time())
    if key is not None:
        query = query.where(RequestLeaseRow.key == key)
    with store.engine.connect() as connection:
        return [(amount, until - now) for amount, until, now in connection.execute(query)]


def begin(stack: ExitStack, pair: Pair, number: int, secret: str) -> socket.socket:
    """A request whose body is still coming: it runs, unless it is refused at once."""
    url = httpx.URL(pair.servers[number].url)
    sent = stack.enter_context(socket.create_connection((url.host, url.port or 0), timeout=90))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {url.host}\r\nTransfer-Encoding: chunked\r\n"
    )
    sent.sendall(f"{head}Authorization: Bearer {secret}\r\n\r\n".encode())
    return sent


def running(sent: Sequence[socket.socket]) -> int:
    """How many were not refused: no other answer can be there. More of their bodies comes, or the
    server would give them up after `BODY_S`."""
    found = 0
    for one in sent:
        one.setblocking(False)
        try:
            one.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            found += 1
            with suppress(OSError):  # refused at this moment
                one.send(b"800\r\n" + b" " * 0x800 + b"\r\n")
    return found


def end(sent: socket.socket) -> int:
    """Send the body, which is no JSON of a request; the status."""
    sent.setblocking(True)
    with suppress(OSError):  # it was refused, and the connection closed
        sent.sendall(b"2\r\n{}\r\n0\r\n\r\n")
    return int(sent.recv(12).split()[1])
