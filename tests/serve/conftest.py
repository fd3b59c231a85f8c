"""One server for a module; its engine's script is the default one again after every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serve.running import Running, running
from tests.serve.scripted import ScriptedEngine


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture
def server(shared_server: Running) -> Iterator[Running]:
    shared_server.engines.the = ScriptedEngine()
    shared_server.engines.missing.clear()
    yield shared_server
    shared_server.workspace.watchers.clear()
