"""What a gateway adds: Assay and the LiteLLM proxy before one mock provider, in one run.

    python bench/gateway.py --litellm VENV/bin/litellm [--requests 300] [--no-budget] [--json]

One worker each, one client that asks one request after the other over one connection, in
alternating rounds so that other work on the machine weighs on all alike. Both check a key; Assay
also holds the key to a budget, writes its usage log and looks after traces, LiteLLM runs without a
database. The provider is a
server of a few lines that answers at once, whole or in ten pieces. Added is the median at the
client minus the median of asking the provider itself; beside it stands the processor time that a
gateway takes for one request, which other work on the machine blurs less.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import platform
import re
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from assay.interpreter import python

PIECES = 10
LITELLM_KEY = "sk-bench-1234"
ROUNDS = 6
FIGURES = ("whole", "first_text", "stream", "busy_whole", "busy_stream")


def chunk(text: str | None, finish: str | None, usage: bool = False) -> bytes:
    """One event of a stream."""
    tree: dict[str, Any] = {
        "id": "chatcmpl-mock",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "mock",
        "choices": [
            {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
        ],
    }
    if usage:
        tree |= {"choices": [], "usage": USAGE}
    return b"data: " + json.dumps(tree).encode() + b"\n\n"


USAGE = {"prompt_tokens": 9, "completion_tokens": PIECES, "total_tokens": 9 + PIECES}
WHOLE = json.dumps(
    {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": 1,
        "model": "mock",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "word " * PIECES},
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }
).encode()
EVENTS = [
    *(chunk("word ", None) for _ in range(PIECES)),
    chunk(None, "stop"),
    chunk(None, None, usage=True),
    b"data: [DONE]\n\n",
]


class Upstream(asyncio.Protocol):
    """The mock provider: HTTP/1.1 by hand, for it must cost as little as it can."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.heard = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self.heard += data
        while (end := self.heard.find(b"\r\n\r\n")) >= 0:
            head = self.heard[:end].lower()
            found = re.search(rb"content-length: *(\d+)", head)
            size = int(found[1]) if found else 0
            if len(self.heard) < end + 4 + size:
                return
            body = self.heard[end + 4 : end + 4 + size]
            self.heard = self.heard[end + 4 + size :]
            self.answer(b'"stream":true' in body.replace(b" ", b""))

    def answer(self, stream: bool) -> None:
        """Whole, or in chunks that are written one by one."""
        if not stream:
            head = f"content-type: application/json\r\ncontent-length: {len(WHOLE)}\r\n\r\n"
            self.transport.write(b"HTTP/1.1 200 OK\r\n" + head.encode() + WHOLE)
            return
        head = "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self.transport.write(b"HTTP/1.1 200 OK\r\n" + head.encode())
        for event in EVENTS:
            self.transport.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        self.transport.write(b"0\r\n\r\n")


def upstream(listening: socket.socket) -> None:
    """Run the mock provider."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, sock=listening)
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def process(
    *command: str, environment: dict[str, str], folder: Path
) -> Iterator[tuple[Path, psutil.Process]]:
    """A server; its output goes into the file that is given."""
    output = folder / f"{Path(command[0]).name}-{len(command)}.txt"
    with output.open("wb") as file:
        running = subprocess.Popen(
            command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, env=environment
        )
    try:
        yield output, psutil.Process(running.pid)
    finally:
        running.terminate()
        running.wait(30)


def ours(folder: Path, port: int, budget: bool) -> str:
    """Set up Assay's state; returns a key, with a budget or without."""
    from assay.accounts.costs import set_budget
    from assay.accounts.keys import create_key
    from assay.project.workspace import Workspace

    workspace = Workspace(folder)
    settings = {
        "base_url": f"http://127.0.0.1:{port}/v1",
        "private_network": ["127.0.0.1/32"],
        "prices": {"mock": {"input": 1.0, "output": 1.0}},
    }
    workspace.providers.add("mock", settings, "sk-mock")
    workspace.providers.agree("mock")
    key, secret = create_key(workspace.store, workspace.name, "bench", ["chat"])
    if budget:
        set_budget(workspace.store, key.id, 1000.0)
    return secret


class Client:
    """Asks one side over one connection."""

    def __init__(
        self, port: int, model: str, key: str, process: psutil.Process | None = None
    ) -> None:
        self.port, self.model, self.key, self.process = port, model, key, process
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def fresh(self) -> None:
        """A new connection, used once: an old one may have been closed while others were asked."""
        self._connection.close()
        self.ask(stream=False)

    def busy_s(self) -> float:
        """Processor time that the other side has taken."""
        if self.process is None:
            return 0.0
        times = self.process.cpu_times()
        return times.user + times.system

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            self.ask(stream=False)
        except (OSError, http.client.HTTPException, AssertionError):
            self._connection.close()
            return False
        return True

    def ask(self, *, stream: bool) -> tuple[float, float]:
        """(seconds to the first text, seconds to the end)."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": "Say something about the weather."}],
            "stream": stream,
        }
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        began = time.perf_counter()
        self._connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        reply = self._connection.getresponse()
        assert reply.status == 200, reply.read()
        first, seen = 0.0, b""
        if not stream:
            seen = reply.read()
        while stream and (part := reply.read1(65536)):
            seen += part
            if not first and b"word" in seen:
                first = time.perf_counter() - began
        assert seen.count(b"word") == PIECES, seen
        return first, time.perf_counter() - began


def measured(clients: dict[str, Client], requests: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of every request, by side and figure."""
    found: dict[str, dict[str, list[float]]] = {
        name: {figure: [] for figure in FIGURES} for name in clients
    }
    for number in range(ROUNDS):
        names = list(clients) if number % 2 == 0 else list(clients)[::-1]
        for name in names:
            client, each = clients[name], requests // ROUNDS
            client.fresh()
            started = client.busy_s()
            for _ in range(each):
                found[name]["whole"].append(client.ask(stream=False)[1])
            between = client.busy_s()
            for _ in range(each):
                first, end = client.ask(stream=True)
                found[name]["first_text"].append(first)
                found[name]["stream"].append(end)
            found[name]["busy_whole"].append((between - started) / each)
            found[name]["busy_stream"].append((client.busy_s() - between) / each)
    return found


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--litellm", type=Path, help="its command; without, Assay alone")
    parser.add_argument("--requests", type=int, default=300, help="of each kind and side")
    parser.add_argument("--warm", type=int, default=60)
    parser.add_argument("--no-budget", action="store_true", help="a key without one")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    # With the protocol named, asyncio switches Nagle's algorithm off.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    port = listening.getsockname()[1]
    mock = multiprocessing.get_context("fork").Process(
        target=upstream, args=(listening,), daemon=True
    )
    mock.start()
    clients = {"direct": Client(port, "mock", "sk-mock")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        state = folder / "served"
        state.mkdir()
        os.environ["ASSAY_MASTER_KEY_FILE"] = str(folder / "master.key")
        key = ours(state, port, not given.no_budget)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = python("-m", "assay.cli.main", "serve", "--port", "0")
        with process(*command, environment=environment, folder=state) as (output, server):
            mine = wait_for(lambda: re.search(r"Listening on \S+:(\d+)", output.read_text()))
            clients["assay"] = Client(int(mine[1]), "remote:mock/mock", key, server)
            if given.litellm is None:
                found = run(clients, given.warm, given.requests)
            else:
                free = socket.create_server(("127.0.0.1", 0))
                other = free.getsockname()[1]
                free.close()
                (folder / "litellm.yaml").write_text(
                    json.dumps(
                        {
                            "model_list": [
                                {
                                    "model_name": "mock",
                                    "litellm_params": {
                                        "model": "openai/mock",
                                        "api_base": f"http://127.0.0.1:{port}/v1",
                                        "api_key": "sk-mock",
                                    },
                                }
                            ],
                            "general_settings": {"master_key": LITELLM_KEY},
                            "litellm_settings": {"telemetry": False},
                        }
                    )
                )
                environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
                other_command = (
                    str(given.litellm), "--config", str(folder / "litellm.yaml"),
                    "--host", "127.0.0.1", "--port", str(other), "--num_workers", "1",
                )  # fmt: skip
                with process(*other_command, environment=environment, folder=folder) as (_, peer):
                    clients["litellm"] = Client(other, "mock", LITELLM_KEY, peer)
                    found = run(clients, given.warm, given.requests)
    mock.terminate()
    report(found, given)


def run(clients: dict[str, Client], warm: int, requests: int) -> dict[str, dict[str, list[float]]]:
    """Warm up, then measure."""
    for client in clients.values():
        wait_for(client.ready)
        for _ in range(warm):
            client.ask(stream=False)
            client.ask(stream=True)
    return measured(clients, requests)


def wait_for(what: Any, seconds: float = 240) -> Any:
    """What it gives, once it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            raise SystemExit("a server did not start")
        time.sleep(0.2)
    return found


def report(found: dict[str, dict[str, list[float]]], given: argparse.Namespace) -> None:
    """Medians, what was added, and the ratio."""
    medians = {
        side: {figure: 1000 * statistics.median(values) for figure, values in figures.items()}
        for side, figures in found.items()
    }
    added = {
        side: {figure: value - medians["direct"][figure] for figure, value in figures.items()}
        for side, figures in medians.items()
        if side != "direct"
    }
    ratio = {}
    if "litellm" in added:
        ratio = {figure: added["assay"][figure] / added["litellm"][figure] for figure in FIGURES}
    whole = {
        "median_ms": medians,
        "added_ms": added,
        "ratio": ratio,
        "requests": given.requests,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("assay", "uvicorn", "fastapi")},
    }
    if given.json:
        print(json.dumps(whole, indent=2))
        return
    for side, figures in medians.items():
        print(f"{side:8}", "  ".join(f"{name} {value:7.2f} ms" for name, value in figures.items()))
    for side, figures in added.items():
        line = "  ".join(f"{name} {value:7.2f} ms" for name, value in figures.items())
        print(f"{side:8} adds {line}")
    if ratio:
        print("ratio   ", "  ".join(f"{name} {value:.2f}" for name, value in ratio.items()))


if __name__ == "__main__":
    main()
