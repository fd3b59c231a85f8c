"""`deploy/haproxy.cfg` before two servers with folders of their own, one PostgreSQL and one bucket:
what the file and docs/fleet.md say. Addresses, certificates and the place of the log are replaced,
and HAProxy runs as whoever runs the test; all else is the file."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
from tests.generate.remote.provider import ProviderServer, Reply, delta, serving, streamed
from tests.many_rows import remote_project
from tests.serve.process import Server, server
from websockets.sync.client import connect
from websockets.typing import Origin

from assay.accounts import people
from assay.accounts.keys import create_key
from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.project.workspace import Workspace
from assay.release import changes

pytestmark = pytest.mark.slow
CONFIG = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
BY_KEY = ("balance hdr(Authorization)", "hash-type consistent", "hash-balance-factor 125")
PATIENCE_S, PAUSE_S = 60.0, 1.0
AT_ONCE = 12
"""Requests of one key."""


@dataclass
class Pair:
    """Two servers, and the provider that they ask.

    Attributes:
        go: answers to "wait" are given once it is set.
    """

    workspace: Workspace
    servers: list[Server]
    far: ProviderServer
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

    def ask(self, key: str, content: str) -> httpx.Response:
        with self.client(key) as client:
            return client.post("/v1/chat/completions", json=body(content))

    def answered_by(self, count: int) -> list[str]:
        """The servers of all answers, of which there are so many."""
        pattern = re.compile(r" api/(\w+) .*POST /v1/chat/completions")
        soon(lambda: len(pattern.findall(self.log.read_text())) >= count)
        return pattern.findall(self.log.read_text())


@contextmanager
def waiting(
    pair: Pair, balancer: Balancer, count: int
) -> Iterator[Sequence[Future[httpx.Response]]]:
    """So many requests of a key are under way; they are answered once the block has ended."""
    asked = len(pair.far.asked)
    with ThreadPoolExecutor(count) as pool:
        asks = [pool.submit(balancer.ask, pair.keys[0], "wait") for _ in range(count)]
        try:
            soon(lambda: len(pair.far.asked) >= asked + count)
            yield asks
        finally:
            pair.go.set()
    pair.go.clear()


def body(content: str, **more: Any) -> dict[str, Any]:
    return {"model": "support", "messages": [{"role": "user", "content": content}], **more}


def soon(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def program() -> str:
    """Debian's, which is not on everybody's path."""
    found = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    return found or pytest.skip("no HAProxy here (Debian's package haproxy)")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "assay-ca")


@pytest.fixture
def pair(
    program: str,
    authority: Authority,
    tmp_path: Path,
    empty_postgres: str,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Pair]:
    monkeypatch.setenv("ASSAY_DATABASE", empty_postgres)
    monkeypatch.setenv("ASSAY_OBJECTS", bucket)
    go = threading.Event()

    def answer(asked: dict[str, Any], number: int) -> Reply:
        words = asked["messages"][-1]["content"]
        if words == "wait":
            go.wait(PATIENCE_S)
        return streamed(
            delta("first "), PAUSE_S if words == "slowly" else 0.0, delta("last", "stop")
        )

    with ExitStack() as stack:
        far = stack.enter_context(serving(answer))
        stack.callback(go.set)
        roots = [tmp_path / name / "root" for name in ("one", "two")]
        roots[0].mkdir(parents=True)
        workspace = remote_project(roots[0], far.port)
        save_agent(workspace.store, "echo", Agent(model="remote:far/big-1"), message="test")
        owner = workspace.name
        changes.promote(workspace.store, owner, "support", "echo@1", who="test", force="a test")
        keys = [create_key(workspace.store, owner, f"key {n}", ["admin"])[1] for n in range(4)]
        shutil.copytree(roots[0], roots[1], ignore=shutil.ignore_patterns(".assay"))
        (roots[1] / ".assay").mkdir(mode=0o700)
        shutil.copy(roots[0] / ".assay" / "database.json", roots[1] / ".assay")
        certified = authority.issue("assay.example.com", label="server")
        tls = ("--tls-cert", str(certified.cert), "--tls-key", str(certified.key))
        port = free_port("127.0.0.2")
        begun = [
            server(root.parent, "--folder", str(root), "--host", host, "--port", str(port), *tls)
            for root, host in zip(roots, ("127.0.0.2", "127.0.0.3"), strict=True)
        ]
        with ThreadPoolExecutor(2) as pool:
            servers = list(pool.map(stack.enter_context, begun))
        yield Pair(workspace, servers, far, go, keys)


def free_port(host: str) -> int:
    with socket.create_server((host, 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def balanced(
    program: str, authority: Authority, pair: Pair, folder: Path, policy: Sequence[str] = ()
) -> Iterator[Balancer]:
    """The file, running.

    Args:
        policy: lines in the place of `balance leastconn`, which stand in the file as comments.
    """
    seen = authority.issue("127.0.0.1", label="seen")
    (folder / "assay.pem").write_bytes(seen.cert.read_bytes() + seen.key.read_bytes())
    shutil.copy(authority.cert, folder / "assay-ca.pem")
    one, two = (httpx.URL(running.url).netloc.decode() for running in pair.servers)
    port = free_port("127.0.0.1")
    text = CONFIG.read_text()
    others = {
        # Of several threads that write at once, some lines would be dropped.
        "log /dev/log local0": "log stdout format raw local0\n    nbthread 1",
        "    user haproxy\n    group haproxy\n": "",
        "/etc/haproxy": str(folder),
        "bind :443": f"bind 127.0.0.1:{port}",
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
    subprocess.run([program, "-c", "-f", str(file)], check=True, timeout=PATIENCE_S)
    with log.open("wb") as out:
        process = subprocess.Popen([program, "-db", "-f", str(file)], stdout=out, stderr=out)
    try:
        tls = ssl.create_default_context(cafile=str(authority.cert))
        made = Balancer(f"https://127.0.0.1:{port}", log, tls)
        soon(lambda: accepts("127.0.0.1", port))
        yield made
    finally:
        process.kill()
        process.wait()


def accepts(host: str, port: int) -> bool:
    with socket.socket() as trying:
        return trying.connect_ex((host, port)) == 0


def test_the_balancer_holds_what_its_page_says(
    program: str, authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    start = partial(balanced, program, authority, pair, tmp_path)
    with start(policy=BY_KEY) as balancer:
        _meets_one_server_up_to_the_bound(pair, balancer)
    with start() as balancer:
        _passes_streams_and_uploads_on(pair, balancer)
        _keeps_a_page_at_one_server(pair, balancer)
        _loses_nothing_to_a_server_that_stops(pair, balancer)
        _asks_nothing_again_of_one_that_is_killed(pair, balancer)


def _meets_one_server_up_to_the_bound(pair: Pair, balancer: Balancer) -> None:
    for key in pair.keys:
        assert [balancer.ask(key, "hi").status_code for _ in range(3)] == [200] * 3
    of_keys = balancer.answered_by(12)
    assert all(len(set(of_keys[n : n + 3])) == 1 for n in (0, 3, 6, 9)), of_keys

    with waiting(pair, balancer, AT_ONCE) as asks:
        pass
    assert [ask.result().status_code for ask in asks] == [200] * AT_ONCE
    counts = Counter(balancer.answered_by(12 + AT_ONCE)[12:])
    # A request counts among those under way when its server is chosen.
    assert max(counts.values()) <= ceil(1.25 * AT_ONCE / 2), counts
    assert counts.most_common(1)[0][0] == of_keys[0]


def _passes_streams_and_uploads_on(pair: Pair, balancer: Balancer) -> None:
    with balancer.client(pair.keys[0]) as client:
        asked = body("slowly", stream=True)
        with client.stream("POST", "/v1/chat/completions", json=asked) as told:
            came = {line: time.monotonic() for line in told.iter_lines() if line}
        [first] = [at for line, at in came.items() if '"first "' in line]
        assert came["data: [DONE]"] - first > PAUSE_S / 2

        row = b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n'
        rows = row * (8 * 2**20 // len(row))
        given = {"file": ("rows.jsonl", rows)}
        kept = client.post("/v1/files", files=given, data={"purpose": "fine-tune"})
        assert kept.json()["bytes"] == len(rows), kept.text
        refused = client.post("/v1/chat/completions", json=body("x" * 5 * 2**20))
        assert refused.json()["error"]["code"] == "request_too_large"


def _keeps_a_page_at_one_server(pair: Pair, balancer: Balancer) -> None:
    person = people.add(pair.workspace, "ann", "viewer")
    secret = people.sign_in_secret(pair.workspace, person.id)
    with balancer.client() as client:
        entered = client.get("/studio/enter", params={"once": secret})
        assert entered.status_code == 303, entered.text
        cookies = entered.headers.get_list("set-cookie")
        assert all("Secure" in one and "HttpOnly" in one for one in cookies), cookies
        found = re.search(r"'client_id': '([0-9a-f-]+)'", client.get("/studio/").text)
        assert found is not None
        query = {
            "EIO": "4",
            "transport": "websocket",
            "client_id": found[1],
            "implicit_handshake": "true",
            "next_message_id": "0",
            "document_id": "d",
            "tab_id": "t",
        }
        address = f"{balancer.url}/studio/_nicegui_ws/socket.io/?{httpx.QueryParams(query)}"
        cookie = "; ".join(f"{one.name}={one.value}" for one in client.cookies.jar)
        with connect(
            address.replace("https", "wss", 1),
            ssl=balancer.tls,
            origin=Origin(balancer.url),
            additional_headers={"Cookie": cookie},
            open_timeout=PATIENCE_S,
        ) as opened:
            opened.recv(PATIENCE_S)
            opened.send("40")
            told = ""
            while not told.startswith(("40", "44")):  # taken, or refused; updates may come before
                told = str(opened.recv(PATIENCE_S))
            assert told.startswith("40"), told
    assert secret not in balancer.log.read_text()


def _loses_nothing_to_a_server_that_stops(pair: Pair, balancer: Balancer) -> None:
    stopped = pair.servers[0]
    with waiting(pair, balancer, 2) as asks:  # one at each
        stopped.process.send_signal(signal.SIGTERM)
        address = httpx.URL(stopped.url)
        soon(lambda: not accepts(address.host, address.port or 443))
        told = [balancer.ask(key, "hi").status_code for key in pair.keys * 3]
        assert told == [200] * len(told)
    assert [ask.result().status_code for ask in asks] == [200, 200]
    assert stopped.process.wait(PATIENCE_S) == 0


def _asks_nothing_again_of_one_that_is_killed(pair: Pair, balancer: Balancer) -> None:
    with waiting(pair, balancer, 1) as [ask]:
        asked = len(pair.far.asked)
        pair.servers[1].process.kill()
        lost = ask.result()
        assert (lost.status_code, lost.json()["error"]["code"]) == (502, "bad_gateway")
    none = balancer.ask(pair.keys[0], "hi")
    assert (none.status_code, none.json()["error"]["code"]) == (503, "service_unavailable")
    assert none.headers["retry-after"] == "5"
    assert len(pair.far.asked) == asked
