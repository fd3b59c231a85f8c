"""A server on a free port of this machine, in a thread of the test."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import uvicorn

from assay.accounts.keys import create_key, free_name
from assay.project.workspace import Workspace
from assay.serve.app import create_app
from tests.serve.scripted import ScriptedEngine, ScriptedEngines

STARTER = "smollm2-135m-instruct"
PATIENCE_S = 90.0
"""Most that an answer is waited for: a machine that does other work as well may take so long."""


@dataclass
class Running:
    """What a test talks to."""

    url: str
    key: str
    workspace: Workspace
    engines: ScriptedEngines

    @property
    def engine(self) -> ScriptedEngine:
        return self.engines.the

    def client(self, key: str | None = None) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key or self.key, max_retries=0)

    def http(self, key: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S)

    def new_key(
        self, *scopes: str, project: str | None = None, labels: list[str] | None = None
    ) -> str:
        workspace = self.workspace
        owner = project or workspace.name
        name = free_name(workspace.store, owner, "test")
        return create_key(workspace.store, owner, name, scopes, labels=labels)[1]


@contextmanager
def running(
    folder: Path,
    engines_of: Callable[[Workspace], Any] = lambda _: ScriptedEngines(),
    **options: Any,
) -> Iterator[Running]:
    """Serve a folder, with scripted engines unless others are given; `options` are those of
    `create_app`."""
    workspace = Workspace(folder)
    engines = engines_of(workspace)
    name = free_name(workspace.store, workspace.name, "test")
    _, key = create_key(workspace.store, workspace.name, name, ["admin"])
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    config = uvicorn.Config(create_app(workspace, engines, **options), log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield Running(url, key, workspace, engines)
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
