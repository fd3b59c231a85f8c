"""Two servers of one folder on one database, before a provider that answers at the speed asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from assay.project.workspace import Workspace
from tests.generate.remote.provider import ProviderServer, Reply, delta, serving, streamed
from tests.many_rows import remote_project
from tests.serve.process import PRELOADED, Server, server

TOKENS, USD = 1000, 0.003
"""Of each answer, prompt and completion alike; what it costs."""


@dataclass
class Pair:
    """The two, and a third process beside them: the test's own."""

    workspace: Workspace
    servers: list[Server]
    far: ProviderServer
    start: Callable[[int], Server]

    def restart(self, number: int) -> None:
        """Start one anew that has ended."""
        self.servers[number] = self.start(number)

    def post(self, number: int, key: str, **body: Any) -> httpx.Response:
        asked = {"model": "support", "messages": [{"role": "user", "content": "hi"}]}
        headers = {"Authorization": f"Bearer {key}"}
        url = f"{self.servers[number].url}/v1/chat/completions"
        return httpx.post(url, json={**asked, **body}, headers=headers, timeout=90)


@contextmanager
def two_servers(
    folder: Path,
    *commands: tuple[str, ...],
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    options: Sequence[str] = (),
    answer: Callable[[dict[str, Any], int], Reply] | None = None,
) -> Iterator[Pair]:
    """Both begin at the same moment, in a database that is empty.

    Args:
        commands: by which each is started; none: by a fork.
        url: of the database.
        options: that both are started with.
        answer: of the provider; None: at the speed asked.
    """
    monkeypatch.setenv("ASSAY_DATABASE", url)
    with ExitStack() as stack:
        far = stack.enter_context(serving(answer or _answer))
        root, places = folder / "root", [folder / "a", folder / "b"]
        for one in (root, *places):
            one.mkdir()
        workspace = remote_project(root, far.port)

        def start(number: int) -> Server:
            command = commands[number] if commands else PRELOADED
            one = server(places[number], "--folder", str(root), *options, command=command)
            return stack.enter_context(one)

        with ThreadPoolExecutor(2) as pool:
            servers = list(pool.map(start, range(2)))
        yield Pair(workspace, servers, far, start)


def _answer(body: dict[str, Any], number: int) -> Reply:
    usage = {"prompt_tokens": TOKENS, "completion_tokens": TOKENS}
    slow = [0.2] * 300 if body["messages"][-1]["content"] == "slowly" else []
    parts = [part for pause in slow for part in (delta("word "), pause)]
    return streamed(*parts, delta("hello"), delta(finish="stop"), {"choices": [], "usage": usage})


@contextmanager
def long_answer(one: Server, key: str) -> Iterator[None]:
    """An answer whose first words have come, while the block runs."""
    body = {
        "model": "support",
        "messages": [{"role": "user", "content": "slowly"}],
        "max_tokens": TOKENS,
        "stream": True,
    }
    headers, url = {"Authorization": f"Bearer {key}"}, f"{one.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=90) as stream:
        lines = stream.iter_lines()
        for _ in range(4):
            next(lines)
        yield


def soon(holds: Callable[[], bool]) -> None:
    """On a machine that does other work as well: a worker that starts loads all it may need."""
    deadline = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
