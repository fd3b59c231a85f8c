"""Names that callers make up, and the figures that are kept for each name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serve.running import Running, running
from tests.serve.scripted import ScriptedEngines

from assay.agent.providers import Providers
from assay.config import Provider, TokenPrice
from assay.project.workspace import Workspace


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    def engines(workspace: Workspace) -> Any:
        far = Provider(
            base_url="http://127.0.0.1:9/v1", consent=True, private_network=True,
            prices={"big": TokenPrice(input=1.0, output=2.0)},
        )  # fmt: skip
        workspace.providers = Providers({"far": far}, workspace.store, workspace.name)
        return ScriptedEngines()

    with running(tmp_path, engines) as server:
        yield server


def test_made_up_names_of_models_make_no_series(server: Running) -> None:
    def ask(model: str) -> int:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        return client.post("/v1/chat/completions", json=body).status_code

    def told() -> str:
        return client.get("/metrics").text

    with server.http() as client:
        assert ask("remote:far/big") == 200
        assert ask("remote:far/made-up") == 200
        before = told()
        for n in range(50):
            assert ask(f"remote:far/made-up-{n}" + "x" * 100) == 200
            assert ask(f"nothing-{n}") == 404
            assert client.get(f"/nowhere/{n}").status_code == 404
        after = told()
        assert 'model="remote:far/big"' in after
        assert "made-up" not in after
        assert len(after.splitlines()) <= len(before.splitlines()) + 40  # new statuses and routes
