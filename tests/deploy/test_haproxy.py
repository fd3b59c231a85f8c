"""`deploy/haproxy.cfg` before two servers on one PostgreSQL: whom it asks, what it does without one
or both, and its errors (docs/fleet.md). Addresses, certificates and the place of the log are
replaced, HAProxy runs as whoever runs the test, and no time limit of the file can pass; all else is
the file."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.attacks.certificates import Authority
from tests.generate.remote.provider import Reply, delta, streamed
from tests.serve.two_servers import Pair, soon, two_servers
from tests.services import missing
from websockets.sync.client import connect
from websockets.typing import Origin

from assay.accounts import people
from assay.accounts.keys import create_key
from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.release import changes

pytestmark = pytest.mark.slow
CONFIG = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
BY_KEY = ("balance hdr(Authorization)", "hash-type consistent", "hash-balance-factor 125")
PATIENCE_S = 300.0
AT_ONCE = 12
"""Requests of one key."""


@dataclass
class Fleet:
    """Two servers with keys to them.

    Attributes:
        go: answers to "wait" are given once it is set, and the last part of all others.
    """

    pair: Pair
    go: threading.Event
    keys: list[str]


@dataclass
class Balancer:
    """HAProxy, running."""

    url: str
    log: Path
    tls: ssl.SSLContext

    def client(self, key: str = "") -> httpx.Client:
        head = {"Authorization": f"Bearer {key}"} if key else {"Origin": self.url}
        return httpx.Client(base_url=self.url, headers=head, verify=self.tls, timeout=PATIENCE_S)

    def ask(self, key: str, content: str = "hi") -> httpx.Response:
        with self.client(key) as client:
            return client.post("/v1/chat/completions", json=body(content))

    def answered_by(self, count: int, asked: str = "POST /v1/chat/completions") -> list[str]:
        """The servers of all answers, of which there are so many."""
        pattern = re.compile(rf" (?:api|studio)/(\w+) .*{asked}")
        soon(lambda: len(pattern.findall(self.log.read_text())) >= count)
        return pattern.findall(self.log.read_text())

    def has_found_all_ready(self) -> bool:
        with self.client() as client:
            rows = csv.DictReader(client.get("/of-the-test;csv").text.splitlines())
            servers = [row for row in rows if row["svname"] in ("one", "two")]
        # A server is up before it was first asked ("INI"), and is ready after one good answer.
        return [row["status"] for row in servers if "L7OK" in row["check_status"]] == ["UP"] * 4


@contextmanager
def waiting(
    fleet: Fleet, balancer: Balancer, keys: Sequence[str]
) -> Iterator[list[Future[httpx.Response]]]:
    """A request of each of the keys is under way; they are answered once the block has ended."""
    fleet.go.clear()
    asked = len(fleet.pair.far.asked)
    with ThreadPoolExecutor(len(keys)) as pool:
        asks = [pool.submit(balancer.ask, key, "wait") for key in keys]
        try:
            soon(lambda: len(fleet.pair.far.asked) >= asked + len(keys))
            yield asks
        finally:
            fleet.go.set()


def body(content: str, **more: Any) -> dict[str, Any]:
    return {"model": "support", "messages": [{"role": "user", "content": content}], **more}


@pytest.fixture
def programs() -> tuple[str, str]:
    """HAProxy, which is not on everybody's path in Debian, and what ends it with the tests."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    haproxy, setpriv = (shutil.which(name, path=path) for name in ("haproxy", "setpriv"))
    if haproxy is None or setpriv is None:
        missing("no HAProxy here (Debian's packages haproxy and util-linux)")
    return haproxy, setpriv


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "assay-ca")


@pytest.fixture
def fleet(
    programs: tuple[str, str],
    authority: Authority,
    tmp_path: Path,
    empty_postgres: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Fleet]:
    go = threading.Event()
    go.set()

    def answer(asked: dict[str, Any], number: int) -> Reply:
        if asked["messages"][-1]["content"] == "wait":
            go.wait(PATIENCE_S)
        return streamed(delta("first "), go, delta("last", "stop"))

    certified = authority.issue("assay.example.com", label="server")
    tls = ("--tls-cert", str(certified.cert), "--tls-key", str(certified.key))
    with ExitStack() as stack:
        start = two_servers(
            tmp_path, url=empty_postgres, monkeypatch=monkeypatch, options=tls, answer=answer
        )
        pair = stack.enter_context(start)
        stack.callback(go.set)
        store, owner = pair.workspace.store, pair.workspace.name
        save_agent(store, "echo", Agent(model="remote:far/big-1"), message="test")
        changes.promote(store, owner, "support", "echo@1", who="test", force="a test")
        keys = [create_key(store, owner, f"key {n}", ["admin"])[1] for n in range(4)]
        yield Fleet(pair, go, keys)


@contextmanager
def balanced(
    programs: tuple[str, str],
    authority: Authority,
    fleet: Fleet,
    folder: Path,
    policy: Sequence[str] = (),
) -> Iterator[Balancer]:
    """The file, running, once it has found both servers ready.

    Args:
        policy: lines in the place of `balance leastconn`, which stand in the file as comments.
    """
    seen = authority.issue("127.0.0.1", label="seen")
    (folder / "assay.pem").write_bytes(seen.cert.read_bytes() + seen.key.read_bytes())
    shutil.copy(authority.cert, folder / "assay-ca.pem")
    one, two = (httpx.URL(running.url).netloc.decode() for running in fleet.pair.servers)
    listening = socket.create_server(("127.0.0.1", 0), backlog=100)
    port, handed = listening.getsockname()[1], listening.fileno()
    text = re.sub(r"timeout ([\w-]+) +\d+\w", r"timeout \1 1h", CONFIG.read_text())
    others = {
        # Of several threads that write at once, some lines would be dropped.
        "log /dev/log local0": "log stdout format raw local0\n    nbthread 1",
        "    user haproxy\n    group haproxy\n": "",
        "/etc/haproxy": str(folder),
        "bind :443": f"stats uri /of-the-test\n    bind fd@{handed}",
        # Once ready, a server stays in: whether requests are lost may not depend on checks.
        "check inter 2s": "check inter 2s fall 1000",
        "10.0.0.1:8000": one,
        "10.0.0.2:8000": two,
        **{f"#{line}": line for line in policy},
        **({"    balance leastconn\n": ""} if policy else {}),
    }
    for there, other in others.items():
        assert there in text, there
        text = text.replace(there, other)
    file, log = folder / f"{port}.cfg", folder / f"{port}.log"
    file.write_text(text)
    haproxy, setpriv = programs
    command = [setpriv, "--pdeathsig", "KILL", haproxy, "-db", "-f", str(file)]
    with listening, log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, pass_fds=[handed])
    try:
        tls = ssl.create_default_context(cafile=str(authority.cert))
        made = Balancer(f"https://127.0.0.1:{port}", log, tls)

        def is_ready() -> bool:
            try:
                return made.has_found_all_ready()
            except httpx.TransportError:
                assert process.poll() is None, log.read_text()
                raise

        soon(is_ready)
        yield made
    finally:
        process.kill()
        process.wait()


def test_the_balancer_holds_what_its_page_says(
    programs: tuple[str, str], authority: Authority, fleet: Fleet, tmp_path: Path
) -> None:
    start = partial(balanced, programs, authority, fleet, tmp_path)
    with start(policy=BY_KEY) as balancer:
        _meets_one_server_up_to_the_bound(fleet, balancer)
    with start() as balancer:
        _asks_the_server_with_the_fewest_under_way(fleet, balancer)
        _passes_a_stream_on_as_it_comes(fleet, balancer)
        _keeps_a_person_at_one_server(fleet, balancer)
        _loses_nothing_to_a_server_that_has_stopped(fleet, balancer)
        _asks_nothing_again_of_one_that_is_killed(fleet, balancer)


def _meets_one_server_up_to_the_bound(fleet: Fleet, balancer: Balancer) -> None:
    for key in fleet.keys:
        assert [balancer.ask(key).status_code for _ in range(3)] == [200] * 3
    of_keys = balancer.answered_by(12)
    assert all(len(set(of_keys[n : n + 3])) == 1 for n in (0, 3, 6, 9)), of_keys

    with waiting(fleet, balancer, fleet.keys[:1] * AT_ONCE) as asks:
        pass
    assert [ask.result().status_code for ask in asks] == [200] * AT_ONCE
    counts = Counter(balancer.answered_by(12 + AT_ONCE)[12:])
    # A request counts among those under way when its server is chosen.
    assert max(counts.values()) <= ceil(1.25 * AT_ONCE / 2), counts
    assert counts.most_common(1)[0][0] == of_keys[0]


def _asks_the_server_with_the_fewest_under_way(fleet: Fleet, balancer: Balancer) -> None:
    with waiting(fleet, balancer, fleet.keys[:2]) as asks:
        pass
    assert [ask.result().status_code for ask in asks] == [200, 200]
    assert set(balancer.answered_by(2)) == {"one", "two"}


def _passes_a_stream_on_as_it_comes(fleet: Fleet, balancer: Balancer) -> None:
    fleet.go.clear()
    asked = body("hi", stream=True)
    with (
        balancer.client(fleet.keys[0]) as client,
        client.stream("POST", "/v1/chat/completions", json=asked) as told,
    ):
        lines = told.iter_lines()
        assert any('"first "' in line for line in lines)
        fleet.go.set()
        assert [line for line in lines if line][-1] == "data: [DONE]"


def _keeps_a_person_at_one_server(fleet: Fleet, balancer: Balancer) -> None:
    person = people.add(fleet.pair.workspace, "ann", "viewer")
    secret = people.sign_in_secret(fleet.pair.workspace, person.id)
    with balancer.client() as client:
        entered = client.get("/studio/enter", params={"once": secret})
        assert entered.status_code == 303, entered.text
        cookies = entered.headers.get_list("set-cookie")
        assert all("Secure" in one and "HttpOnly" in one for one in cookies), cookies
        assert [client.get("/studio/").status_code for _ in range(4)] == [200] * 4
        address = f"{balancer.url}/studio/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
        cookie = "; ".join(f"{one.name}={one.value}" for one in client.cookies.jar)
        with connect(
            address.replace("https", "wss", 1),
            ssl=balancer.tls,
            origin=Origin(balancer.url),
            additional_headers={"Cookie": cookie},
            open_timeout=PATIENCE_S,
        ):
            pass
    assert len(set(balancer.answered_by(5, "GET /studio/"))) == 1
    assert secret not in balancer.log.read_text()


def _loses_nothing_to_a_server_that_has_stopped(fleet: Fleet, balancer: Balancer) -> None:
    stopped = fleet.pair.servers[0].process
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(PATIENCE_S) == 0
    told = [balancer.ask(key).status_code for key in fleet.keys]
    assert told == [200] * len(told)


def _asks_nothing_again_of_one_that_is_killed(fleet: Fleet, balancer: Balancer) -> None:
    with waiting(fleet, balancer, fleet.keys[:1]) as [ask]:
        asked = len(fleet.pair.far.asked)
        fleet.pair.servers[1].process.kill()
        lost = ask.result(PATIENCE_S)
        assert (lost.status_code, lost.json()["error"]["code"]) == (502, "bad_gateway")
    none = balancer.ask(fleet.keys[0])
    assert (none.status_code, none.json()["error"]["code"]) == (503, "service_unavailable")
    assert none.headers["retry-after"] == "5"
    assert len(fleet.pair.far.asked) == asked
