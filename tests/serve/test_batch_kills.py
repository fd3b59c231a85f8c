"""A batch whose server is killed in the middle, and one whose key has a budget."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from assay.accounts.costs import budgets, set_budget
from assay.accounts.keys import create_key
from assay.project.workspace import Workspace
from tests.generate.remote.provider import delta, serving, streamed
from tests.many_rows import remote_project
from tests.serve.process import server
from tests.serve.test_batches import OVER, created, line, read, waited

pytestmark = pytest.mark.slow
FAR = "remote:far/big-1"
TOKENS, USD = 1000, 0.003
"""Of each answer, prompt and completion alike; what it costs."""


def served(folder: Path, port: int) -> Workspace:
    """A project whose models are far away."""
    folder.mkdir()
    return remote_project(folder, port)


def client_of(url: str, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def kill(process: Any) -> None:
    """The server and its workers, at once."""
    family = psutil.Process(process.pid).children(recursive=True)
    for one in (process.pid, *(child.pid for child in family)):
        os.kill(one, signal.SIGKILL)
    process.wait()


def test_no_answer_is_lost_or_given_twice_when_the_server_is_killed(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not database.startswith("sqlite"):
        monkeypatch.setenv("ASSAY_DATABASE", database.replace("+psycopg", ""))
    asked: Counter[str] = Counter()

    def answer(body: dict[str, Any], number: int) -> Any:
        said = body["messages"][-1]["content"]
        asked[said] += 1
        usage = {"prompt_tokens": 3, "completion_tokens": 2}
        return streamed(
            0.1, delta(f"{said}!"), delta(finish="stop"), {"choices": [], "usage": usage}
        )

    count, at_once, kills = 60, 4, 2
    with serving(answer) as far:
        folder = tmp_path / "served"
        workspace = served(folder, far.port)
        _, key = create_key(workspace.store, workspace.name, "test", ["chat", "files"])
        lines = [line(f"id-{n}", f"text {n}", model=FAR) for n in range(count)]
        id, done = "", 0
        for kill_at in (10, 25):
            with server(folder, "--batch-requests", str(at_once)) as one:
                client = client_of(one.url, key)
                id = id or created(client, lines).id
                while (
                    batch := waited(client, id, "in_progress")
                ).request_counts.completed < kill_at:
                    time.sleep(0.05)
                assert batch.request_counts.completed >= done
                done = batch.request_counts.completed
                kill(one.process)
        with server(folder) as one:
            client = client_of(one.url, key)
            batch = waited(client, id)
            assert batch.status == "completed", batch
            good = read(client, batch.output_file_id)
            assert one.stop() == 0
    assert list(good) == [f"id-{n}" for n in range(count)]
    for n, told in enumerate(good.values()):
        assert told["response"]["body"]["choices"][0]["message"]["content"] == f"text {n}!"
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (count, count, 0)
    assert batch.usage.total_tokens == 5 * count
    assert set(asked) == {f"text {n}" for n in range(count)}
    # What was on its way, or answered and not yet on disk.
    assert sum(asked.values()) <= count + kills * 2 * at_once


def test_a_budget_stops_a_batch_and_a_stopped_server_goes_on(tmp_path: Path) -> None:
    def answer(body: dict[str, Any], number: int) -> Any:
        usage = {"prompt_tokens": TOKENS, "completion_tokens": TOKENS}
        return streamed(0.8, delta("yes"), delta(finish="stop"), {"choices": [], "usage": usage})

    with serving(answer) as far:
        folder = tmp_path / "served"
        workspace = served(folder, far.port)
        store = workspace.store
        made, key = create_key(store, workspace.name, "test", ["chat", "files"])
        set_budget(store, made.id, 10 * USD)
        lines = [line(f"id-{n}", model=FAR, max_tokens=TOKENS) for n in range(40)]
        with server(folder) as one:
            client = client_of(one.url, key)
            id = created(client, lines).id
            while not waited(client, id, "in_progress", *OVER).request_counts.completed:
                time.sleep(0.02)
            assert one.stop() == 0  # in good order: what is under way is written
        with server(folder) as one:
            client = client_of(one.url, key)
            batch = waited(client, id)
            good, bad = read(client, batch.output_file_id), read(client, batch.error_file_id)
            assert one.stop() == 0  # what was spent is written
    assert batch.status == "completed"
    assert len(good) + len(bad) == 40
    assert 1 <= len(good) <= 10
    for told in bad.values():
        assert told["response"]["status_code"] == 429
        assert told["response"]["body"]["error"]["code"] == "insufficient_quota"
    # What was under way when the server stopped may have been asked twice.
    assert len(good) * USD - 1e-9 <= budgets(store)[made.id].spent <= 10 * USD + 1e-9
    assert json.dumps(key) not in json.dumps([good, bad])


def test_a_run_of_an_eval_goes_on_where_a_killed_server_was(tmp_path: Path) -> None:
    asked: Counter[str] = Counter()

    def answer(body: dict[str, Any], number: int) -> Any:
        said = body["messages"][-1]["content"]
        asked[said] += 1
        usage = {"prompt_tokens": 3, "completion_tokens": 2}
        return streamed(0.1, delta(said), delta(finish="stop"), {"choices": [], "usage": usage})

    count, at_once = 30, 4
    ask: Any = {"type": "template", "template": [{"role": "user", "content": "{{item.text}}"}]}
    items = [{"item": {"text": f"text {n}", "right": f"text {n // 2 * 2}"}} for n in range(count)]
    same: Any = {"type": "string_check", "name": "same", "operation": "eq"}
    same |= {"input": "{{sample.output_text}}", "reference": "{{item.right}}"}
    with serving(answer) as far:
        folder = tmp_path / "served"
        workspace = served(folder, far.port)
        _, key = create_key(workspace.store, workspace.name, "test", ["chat", "files"])
        with server(folder, "--batch-requests", str(at_once)) as one:
            client = client_of(one.url, key)
            schema: Any = {"type": "custom", "item_schema": {"type": "object"}}
            made = client.evals.create(data_source_config=schema, testing_criteria=[same])
            source: Any = {"type": "file_content", "content": items}
            asks: Any = {"type": "completions", "model": FAR, "input_messages": ask}
            run = client.evals.runs.create(made.id, data_source={**asks, "source": source})
            while len(asked) < count // 2:
                time.sleep(0.02)
            kill(one.process)
        with server(folder) as one:
            client = client_of(one.url, key)
            while run.status in ("queued", "in_progress"):
                time.sleep(0.05)
                run = client.evals.runs.retrieve(run.id, eval_id=made.id)
            found = list(client.evals.runs.output_items.list(run.id, eval_id=made.id))
            assert one.stop() == 0
    counts = run.result_counts
    assert (run.status, counts.passed, counts.failed, counts.errored) == ("completed", 15, 15, 0)
    assert [one.datasource_item for one in found] == [one["item"] for one in items]
    assert sum(asked.values()) <= count + 2 * at_once
