"""Runs of evals over traces: what is chosen, and who may read the copies."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import openai
import pytest

from assay.jobs import eval_runs
from assay.release import traces
from assay.serve import batch_run
from assay.store import stored_files
from assay.store.stored_files import StoredFile
from assay.store.tables import TracePolicyRow, TraceRow
from assay.store.tables.clock import database_time
from tests.serve.running import STARTER, Running
from tests.serve.test_eval_runs import YES, run_over


def keep_traces(server: Running, count: int) -> None:
    """Traces of a release: `text 0` was asked now, each other a day before."""
    owner = server.workspace.name
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
    limits = {"active": True, "sample": 0.0, "days": 30, "most": 100, "seed": "s"}
    with server.workspace.store.session() as session:
        session.add(TracePolicyRow(project=owner, release="kept", **limits))
        for n in reversed(range(count)):
            row = TraceRow(
                id=f"trace-{n}",
                project=owner,
                release="kept",
                agent="a",
                messages=[{"role": "user", "content": f"text {n}"}],
                tools=[tool],
                answer={"role": "assistant", "content": "yes"},
                masked=0,
                sampled=False,
                at=database_time(-timedelta(days=n)),
            )
            session.add(row)
            session.flush()


def test_kept_requests_are_graded_or_asked_again(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_run, "BEAT_S", 0.05)
    monkeypatch.setattr(traces, "PAGE", 2)
    server.engine.script, client = lambda *_: "yes", server.client()
    keep_traces(server, 6)
    source: Any = {"type": "stored_completions", "model": "kept"}
    run, found = run_over(client, {"type": "completions", "source": source}, YES)
    texts = [one.datasource_item["input"][0]["content"] for one in found]
    assert texts == [f"text {n}" for n in range(6)]
    assert (run.result_counts.passed, len(server.engine.asked)) == (6, 0)
    before = int(time.time()) - 2 * 24 * 3600 - 3600
    asked = {**source, "limit": 2, "created_before": before}
    again = {"type": "completions", "source": asked, "model": STARTER}
    run, found = run_over(client, again, YES)
    assert [one.datasource_item["id"] for one in found] == ["trace-3", "trace-4"]
    assert {len(tools) for _, tools, _ in server.engine.asked} == {1}  # theirs are offered
    assert len(server.engine.asked) == 2

    store, owner = server.workspace.store, server.workspace.name
    for _ in range(2):  # the second run is over the items of the first
        _, batch = eval_runs.read_run(store, run.id)
        both = batch.input_file, batch.output_file
        files = [stored_files.find(store, owner, id) for id in both if id is not None]
        items: Any = {"type": "jsonl", "source": {"type": "file_id", "id": batch.input_file}}
        see_that_copies_are_held(server, client, run, found[0].id, files, items)
        run, found = run_over(client, items, YES)


def see_that_copies_are_held(
    server: Running,
    client: openai.OpenAI,
    run: Any,
    item: str,
    files: list[StoredFile],
    items: Any,
) -> None:
    """They go when the traces would, and nobody reads them who may not read traces."""
    month = timedelta(days=30)
    for file in files:
        assert file.expires is not None
        assert month - timedelta(minutes=10) < file.expires - file.created <= month
    assert len(files) == 2
    with server.client(server.new_key("files", "chat")) as blind:
        for ask in (
            lambda: blind.evals.runs.output_items.list(run.id, eval_id=run.eval_id),
            lambda: blind.evals.runs.output_items.retrieve(
                item, eval_id=run.eval_id, run_id=run.id
            ),
            *(lambda id=file.id: blind.files.content(id) for file in files),
            lambda: blind.evals.runs.create(run.eval_id, data_source=items),
        ):
            with pytest.raises(openai.PermissionDeniedError):
                ask()
        with pytest.raises(openai.BadRequestError, match="not every key may read"):
            client.vector_stores.create(file_ids=[files[0].id])
        assert blind.evals.runs.retrieve(run.id, eval_id=run.eval_id).result_counts.total == 2
