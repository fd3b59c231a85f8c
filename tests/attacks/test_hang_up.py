"""Clients that hang up at every point: the provider's connection closes, nothing stays behind."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import httpx
import pytest
from tests.agent.routes import cascade
from tests.attacks.wire import Far, Step, events, far
from tests.figures import Figure
from tests.serve.running import Running, running

from assay.accounts.costs import budgets, set_budget
from assay.accounts.keys import create_key
from assay.agent.engines import StreamEngines
from assay.agent.providers import Providers
from assay.agent.versions import save_agent
from assay.config import TokenPrice
from assay.generate.fallback import fallback_order

GOOD = events("One ", "two.", usage={"prompt_tokens": 5, "completion_tokens": 2})
DOWN = b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n"
"""Costs nothing, so that a key with a budget is answered by the next."""
STALL = 60.0
LONGEST_S = 5.0
"""Until the provider's connection is closed, on a machine that does other work."""
PRICE = TokenPrice(input=1.0, output=1.0)

Script = Callable[[int], Sequence[Step]]
PLACES: dict[str, tuple[str, Script, Script]] = {
    # Who is asked, what the first provider does, and what the second.
    "before the head": ("remote:one/m", lambda _: [STALL], lambda _: []),
    "after the head": ("remote:one/m", lambda _: [GOOD[0], STALL], lambda _: []),
    "mid-stream": ("remote:one/m", lambda _: [*GOOD[:2], STALL], lambda _: []),
    "in a word": ("remote:one/m", lambda _: [*GOOD[:2], GOOD[2][:20], STALL], lambda _: []),
    "in a fallback": ("remote:one/chained", lambda _: [DOWN], lambda _: [STALL]),
    "mid-stream of a fallback": (
        "remote:one/chained",
        lambda _: [DOWN],
        lambda _: [*GOOD[:2], STALL],
    ),
    "in a route": ("both@1", lambda _: GOOD, lambda _: [STALL]),
    "mid-stream of a route": ("both@1", lambda _: GOOD, lambda _: [*GOOD[:2], STALL]),
}


@contextmanager
def unreachable() -> Iterator[Far]:
    """A provider that nobody gets through to: connections to it stay half open."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    queue = [socket.socket() for _ in range(4)]
    for connection in queue:
        connection.setblocking(False)
        connection.connect_ex(listening.getsockname())
    try:
        yield Far(listening.getsockname()[1])
    finally:
        for connection in (*queue, listening):
            connection.close()


@contextmanager
def served(folder: Path, one: Far, two: Far) -> Iterator[tuple[Running, str]]:
    """A server before two providers, and the secret of a key with a budget."""

    def engines(workspace: Any) -> StreamEngines:
        prices = {"m": PRICE, "chained": PRICE}
        patient = {"prices": prices, "timeout_s": STALL, "stall_s": STALL}
        described = {"one": one.provider(**patient), "two": two.provider(**patient)}
        workspace.providers = Providers(described, workspace.store, workspace.name)
        fallbacks = {"remote:one/chained": ["remote:two/m"]}
        workspace.chain = partial(fallback_order, fallbacks=fallbacks)
        return StreamEngines(workspace.store, None, workspace.providers, workspace.chain)  # type: ignore[arg-type]

    with running(folder, engines) as server:
        store = server.workspace.store
        save_agent(store, "both", cascade(store, "remote:one/m", "remote:two/m"), message="m")
        key, secret = create_key(store, server.workspace.name, "b", ["chat"])
        set_budget(store, key.id, 1000.0)
        yield server, secret


def asks(server: Running, secret: str, model: str, stream: bool) -> socket.socket:
    """A client that has sent its request and reads nothing."""
    body = json.dumps(
        {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    )
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall((head + body).encode())
    return connection


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("place", PLACES)
def test_the_providers_connection_closes(
    tmp_path: Path, figure: Figure, place: str, stream: bool
) -> None:
    model, first, second = PLACES[place]
    with far(first) as one, far(second) as two, served(tmp_path, one, two) as (server, secret):
        asked = one if model == "remote:one/m" else two
        connection = asks(server, secret, model, stream)
        until(lambda: len(asked.asked) == 1)
        time.sleep(0.2)  # what was sent so far is read
        gone = time.monotonic()
        connection.close()
        until(lambda: asked.open == 0, LONGEST_S)
        took = asked.hung_up[-1] - gone
        assert took < LONGEST_S
        before = 2 if "fallback" in place else 1
        assert (len(one.asked), len(two.asked)) == (before, int(asked is two))
        settled(server)
    figure(f"a client hangs up {place}: its provider's connection is closed", f"{took:.2f} s")


def settled(server: Running) -> None:
    """Nothing is set aside any more."""

    def reserved() -> float:
        server.workspace.usage.close()
        [budget] = budgets(server.workspace.store).values()
        return budget.reserved

    until(lambda: reserved() == 0)


def sockets() -> int:
    """How many this process has open."""
    gc.collect()
    found = 0
    for file in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed since
            found += os.readlink(file).startswith("socket:")
    return found


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.soak)])
def test_many_hang_ups_leave_nothing(tmp_path: Path, figure: Figure, count: int) -> None:
    with (
        far(lambda n: [[STALL], [*GOOD[:2], STALL]][n % 2]) as one,
        far(lambda n: [[STALL], [*GOOD[:2], STALL]][n % 2]) as two,
        served(tmp_path, one, two) as (server, secret),
    ):
        models = ["remote:one/m", "remote:two/m"]

        def round(size: int) -> None:
            before = len(one.asked) + len(two.asked)
            lines = [asks(server, secret, models[n % 2], n % 3 > 0) for n in range(size)]
            until(lambda: len(one.asked) + len(two.asked) == before + size)
            time.sleep(0.1)
            for connection in lines:
                connection.close()
            until(lambda: one.open + two.open == 0)

        round(20)  # threads that wait for work are kept
        time.sleep(0.5)
        open_before, threads_before = sockets(), threading.active_count()
        for _ in range(count // 20):
            round(20)
        until(lambda: sockets() <= open_before)
        # Threads that answered are kept, for as many as there were at once.
        assert threading.active_count() <= threads_before + 20
        settled(server)
        # The key's slots are free again: as many as it may have are let in.
        with httpx.Client(base_url=server.url) as client:
            answer = client.get("/v1/models", headers={"Authorization": f"Bearer {secret}"})
            assert answer.status_code == 200
    figure("clients that hung up; connections, threads and leases left", f"{count}; 0, 0, 0")


def connecting() -> int:
    """Threads of this process that wait for a connection to a provider."""
    # Not by `sys._current_frames`: a frame of a thread that goes on is freed while it is read.
    with TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return sum(" in _connect\n" in stack for stack in file.read().split("\n\n"))


@pytest.mark.parametrize("model", ["remote:one/m", "remote:one/chained"])
def test_hang_ups_while_a_provider_cannot_be_reached_leave_no_threads(
    tmp_path: Path, figure: Figure, model: str
) -> None:
    """Each kept a thread for as long as a connection may take, and its key's slot was free."""
    with (
        unreachable() as one,
        far(lambda _: GOOD) as two,
        served(tmp_path, one, two) as (server, secret),
    ):
        lines = [asks(server, secret, model, n % 2 == 0) for n in range(30)]
        until(lambda: connecting() == 30)
        gone = time.monotonic()
        for connection in lines:
            connection.close()
        until(lambda: connecting() == 0, LONGEST_S)
        took = time.monotonic() - gone
        assert not two.asked
        settled(server)
    figure(
        "30 clients hang up while their provider cannot be reached: threads free", f"{took:.2f} s"
    )
