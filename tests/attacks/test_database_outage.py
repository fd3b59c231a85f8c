"""PostgreSQL goes away in the middle of requests, and comes back.

Meanwhile whoever asks is told 503, never 500, and what needs no database goes on; afterwards the
same process answers again, at the first request, and what was used is on record.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from tests.databases import PostgresServer
from tests.figures import Figure
from tests.serve.running import STARTER, Running, running
from tests.serve.scripted import ScriptedEngine, ScriptedEngines
from tests.serve.test_auth import _path, routes

from assay.errors import StoreError
from assay.project.workspace import Workspace
from assay.store.store import Store
from assay.store.tables import ApiKeyRow, SettingRow

HELLO = [{"role": "user", "content": "word " * 40}]


def on(server: PostgresServer) -> Any:
    def engines_of(workspace: Workspace) -> ScriptedEngines:
        workspace.__dict__["store"] = Store(workspace.root / ".assay", server.url)
        return ScriptedEngines(ScriptedEngine(pause_s=0.02))

    return engines_of


def statuses(served: Running, http: Any) -> dict[tuple[str, str], int]:
    """What every route says."""
    body = {"model": STARTER, "messages": [{"role": "user", "content": "a"}], "input": "a"}
    found = {}
    for method, path in routes():
        told = http.request(method, _path(path), json=body)
        found[method, path] = told.status_code
    return found


@pytest.mark.slow
def test_requests_during_and_after_an_outage(
    tmp_path: Path, own_postgres: PostgresServer, figure: Figure
) -> None:
    with running(tmp_path, on(own_postgres)) as served, served.http() as http:
        before = statuses(served, http)
        assert 500 not in before.values()
        stream = served.client().chat.completions.create(model=STARTER, messages=HELLO, stream=True)
        said = next(iter(stream)).choices[0].delta.content or ""
        own_postgres.stop()
        # An answer that was begun goes on: the engine needs no database.
        for chunk in stream:
            said += "".join(choice.delta.content or "" for choice in chunk.choices)
        assert said == HELLO[0]["content"]

        assert http.get("/healthz").status_code == 200
        assert http.get("/readyz").status_code == 503
        during = statuses(served, http)
        assert 500 not in during.values(), {k: v for k, v in during.items() if v == 500}
        assert 503 in during.values()

        own_postgres.start()
        assert http.get("/readyz").status_code == 200
        after = statuses(served, http)
        assert after == before
    figure("requests without a 500 while the database was away", len(during))


def test_a_session_that_is_cut_is_a_sentence_and_the_next_one_works(
    tmp_path: Path, own_postgres: PostgresServer
) -> None:
    store = Store(tmp_path, own_postgres.url)
    store.set("word", "kept")

    def cut() -> None:
        with store.session() as session:
            session.add(SettingRow(name="half", value="done"))
            session.flush()
            own_postgres.stop()
            session.add(SettingRow(name="other", value="half"))

    with pytest.raises(StoreError):
        cut()
    with pytest.raises(StoreError):
        store.setting("word")
    with pytest.raises(StoreError):
        Store(tmp_path / "new", own_postgres.url)
    own_postgres.start()
    assert store.setting("word") == "kept"
    assert store.setting("half") is None


def test_connections_that_the_server_has_closed_are_not_used(
    tmp_path: Path, own_postgres: PostgresServer
) -> None:
    """As a proxy before the database does with those that are idle."""
    store = Store(tmp_path, own_postgres.url)
    other = Store(tmp_path, own_postgres.url)
    assert store.setting("word") is None
    with other.engine.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        )
    assert store.setting("word") is None
    with store.session() as session:
        assert session.scalars(select(ApiKeyRow.id)).all() == []
