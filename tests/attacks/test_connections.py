"""Before anybody has shown a key: heads without end, slow ones, slow bodies, and very many."""

from __future__ import annotations

import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from tests.attacks.victim import MB, Victim, victim
from tests.figures import Figure

from assay.serve import connections

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

RISE_MB = 16
"""For one connection; the issue's saw 148."""
SENT = 64 * MB
GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
ENDLESS = {
    "a header": (GET + b"X: ", b"a" * 65536),
    "a header's name": (GET, b"a" * 65536),
    "lines": (GET, b"a: b\r\n" * 10000),
    "empty lines": (b"", b"\r\n" * 30000),
    "an address": (b"GET /", b"a" * 65536),
    "a method": (b"", b"G" * 65536),
    "trailers": (
        b"POST /v1/files HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"a: b\r\n" * 10000,
    ),
    "a trailer": (
        b"POST /v1/files HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        b"a" * 65536,
    ),
    "the size of a chunk": (
        b"POST /v1/files HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"a" * 65536,
    ),
}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    with victim(tmp_path_factory.mktemp("attacked")) as one:
        yield one


def connected(one: Victim) -> socket.socket:
    return socket.create_connection((one.address.hostname, one.address.port), timeout=30)


def ended(connection: socket.socket) -> bool:
    """Whether the server has closed it; what it says before is read."""
    connection.settimeout(0)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        connection.settimeout(30)
        return False
    except OSError:
        pass
    return True


@pytest.mark.parametrize("name", ENDLESS)
def test_what_has_no_end_is_ended(attacked: Victim, name: str) -> None:
    head, part = ENDLESS[name]
    with attacked.watched() as seen, connected(attacked) as connection:
        sent = 0
        try:
            connection.sendall(head)
            while sent < SENT and not ended(connection):
                connection.sendall(part)
                sent += len(part)
        except OSError:
            pass  # reset by the server
    assert sent < SENT
    assert seen.rise_mb < RISE_MB


def test_an_address_has_so_many_connections_and_half_sent_heads_are_closed(
    attacked: Victim, figure: Figure
) -> None:
    most = 1500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, most + soft), hard))
    slow_head, slow_body, idle = (connected(attacked) for _ in range(3))
    slow_body.sendall(b"POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    half: list[socket.socket] = []
    try:
        with attacked.watched() as seen:
            for _ in range(most):
                half.append(connected(attacked))
                half[-1].sendall(GET)
            deadline = time.monotonic() + 10
            while sum(map(ended, half)) < most - connections.ADDRESS_CONNECTIONS:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            deadline = time.monotonic() + 3 * connections.HEAD_S
            waiting = [slow_head, slow_body, idle, *half]
            while waiting := [one for one in waiting if not ended(one)]:
                for one in (slow_head, slow_body):  # a byte from time to time
                    if one in waiting:
                        try:
                            one.sendall(b"G")
                        except OSError:
                            waiting.remove(one)
                assert time.monotonic() < deadline, len(waiting)
                time.sleep(0.2)
    finally:
        for one in (slow_head, slow_body, idle, *half):
            one.close()
    assert seen.rise_mb < 64
    figure("half-sent heads of one address that stayed open for more than 45 s, of 1500", 0)
    with attacked.http() as http:
        assert http.get("/healthz").status_code == 200


def test_requests_that_do_not_wait_for_answers_are_few(attacked: Victim) -> None:
    """Each of 18 bytes would be an object of kilobytes, and more of them are read with each answer:
    10 MB of them took 650 MB and kept the loop for 0.9 s."""
    assert answered(attacked, 3) == 3
    assert answered(attacked, 1000) < 100


def answered(one: Victim, count: int) -> int:
    """How many of some requests that are sent at once are answered."""
    said = b""
    with connected(one) as connection, suppress(ConnectionResetError):
        connection.sendall((GET + b"\r\n") * count)
        while said.count(b"HTTP/1.1 200") < count and (part := connection.recv(65536)):
            said += part
    return said.count(b"HTTP/1.1 200")
