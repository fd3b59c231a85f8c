"""What keeps the model of a fine-tuning job from being deleted, also at the very moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.jobs.tiny_tuning import queued
from tests.models.test_versions import RECORD, adapter

from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.errors import ModelError, StateError
from assay.jobs import batches, queue, tuned_models
from assay.jobs.batches import BatchRequest
from assay.jobs.fine_tuning import CHECK
from assay.jobs.queue import Job
from assay.models.versions import list_versions, save_version
from assay.project.jobs.tuned_models import delete_model
from assay.project.workspace import Workspace
from assay.store.store import Store
from assay.store.tables import (
    AgentRow,
    BatchRow,
    EvalRow,
    EvalRunRow,
    FineTuningRow,
    ServedNameRow,
    now,
)

__all__ = ["adapter"]


@pytest.fixture
def workspace(tmp_path: Path, database: str) -> Workspace:
    folder = tmp_path / "folder"
    folder.mkdir()
    workspace = Workspace(folder)
    workspace.store = Store(folder / ".assay", database)
    return workspace


def named(workspace: Workspace, version: str, *names: str) -> None:
    with workspace.store.session() as session:
        for name in names:
            row = ServedNameRow(name=name, project=workspace.name, target=f"version:{version}")
            session.add(row)


def left(store: Store) -> tuple[list[str], list[str]]:
    """Names and versions."""
    with store.session() as session:
        names = list(session.scalars(select(ServedNameRow.name)))
    return names, [version.id for version in list_versions(store)]


def claimed(store: Store) -> Job:
    queued(store)
    job = queue.claim(store, "w", [CHECK])
    assert job is not None
    return job


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> threading.Thread:
    """Act in a thread once a deletion has looked whether a version has another name."""
    look, other = tuned_models.has_other_name, threading.Thread(target=act)

    def looked(*given: Any) -> bool:
        found = look(*given)
        if other.ident is None:
            other.start()
            other.join(0.3)  # it ends, or waits for this deletion
        return found

    monkeypatch.setattr(tuned_models, "has_other_name", looked)
    return other


def test_two_names_deleted_at_once_take_the_weights_with_them(
    workspace: Workspace, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(workspace, save_version(workspace.store, adapter, RECORD), "ft:a", "ft:b")
    other = meanwhile(monkeypatch, lambda: delete_model(workspace, workspace.name, "ft:b", "k"))
    delete_model(workspace, workspace.name, "ft:a", "k")
    other.join()
    assert left(workspace.store) == ([], [])


def test_no_agent_is_saved_while_its_version_goes(
    workspace: Workspace, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = workspace.store
    version = save_version(store, adapter, RECORD)
    named(workspace, version, "ft:a")

    def save() -> None:
        with suppress(ModelError):  # it is gone
            save_agent(store, "polite", Agent(model=f"version:{version}"), message="first")

    other = meanwhile(monkeypatch, save)
    delete_model(workspace, workspace.name, "ft:a", "k")
    other.join()
    assert left(store) == ([], [])
    with store.session() as session:
        assert not list(session.scalars(select(AgentRow)))


def test_what_a_job_is_about_to_name_is_kept(
    workspace: Workspace, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = workspace.store
    version = save_version(store, adapter, RECORD)  # by the same training, earlier
    named(workspace, version, "ft:a")
    job = claimed(store)
    other = meanwhile(monkeypatch, lambda: tuned_models.save(store, job, adapter, RECORD))
    delete_model(workspace, workspace.name, "ft:a", "k")
    other.join()
    assert left(store) == ([], [version])
    named(workspace, version, "ft:b")
    with pytest.raises(StateError, match=f"job {job.id}, which is not over"):
        delete_model(workspace, workspace.name, "ft:b", "k")
    queue.finish(store, job, {})
    delete_model(workspace, workspace.name, "ft:b", "k")
    assert left(store) == ([], [])


def test_an_agent_may_name_its_version_by_the_first_digits(
    workspace: Workspace, adapter: Path
) -> None:
    store = workspace.store
    version = save_version(store, adapter, RECORD)
    named(workspace, version, "ft:a")
    save_agent(store, "polite", Agent(model=f"version:{version[:12]}/8"), message="first")
    with pytest.raises(StateError, match="agents answer with it"):
        delete_model(workspace, workspace.name, "ft:a", "k")


SCORED = {"type": "score_model", "name": "s", "range": [0, 1], "input": []}


def asked_by_batch(workspace: Workspace, model: str | None) -> str:
    request = {"input_file_id": "f", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    asked = BatchRequest.model_validate(request)
    id = batches.create(workspace.store, workspace.name, asked, "key_1", None)
    with workspace.store.session() as session:
        session.execute(update(BatchRow).values(model=model))
    return id


def asked_by_run(workspace: Workspace, model: str, judge: str) -> str:
    """A run of an eval."""
    id, project = "evalrun_1", workspace.name
    body = {"testing_criteria": [{**SCORED, "model": judge}]}
    with workspace.store.session() as session:
        session.add(EvalRow(id="eval_1", project=project, name="e", request=body))
    batch = BatchRow(
        id=id,
        project=project,
        key_id="key_1",
        endpoint=batches.EVAL_ITEMS,
        input_file="f",
        expires=now() + batches.WINDOW,
    )
    source = {"type": "completions", "model": model}
    run = EvalRunRow(id=id, eval="eval_1", name="r", data_source=source, total=1)
    return batches.queue_rows(workspace.store, batch, run)


def asked_by_job(workspace: Workspace, judge: str) -> str:
    """A fine-tuning whose answers a model is asked about."""
    id = queued(workspace.store)
    with workspace.store.session() as session:
        body = {"model": "base", "method": {"grader": {**SCORED, "model": judge}}}
        session.execute(update(FineTuningRow).values(request=body))
    return id


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda workspace, _: asked_by_batch(workspace, "ft:a"), "batch {} asks it"),
        (lambda workspace, id: asked_by_batch(workspace, f"version:{id}"), "batch {} asks it"),
        (lambda workspace, _: asked_by_batch(workspace, None), "batch {} may ask it"),
        (lambda workspace, _: asked_by_batch(workspace, "ft:b"), None),
        (lambda workspace, _: asked_by_run(workspace, "ft:a", "base"), "the run {} asks it"),
        (lambda workspace, id: asked_by_run(workspace, "base", id[:8]), "the run {} asks it"),
        (lambda workspace, _: asked_by_run(workspace, "base", "ft:b"), None),
        (lambda workspace, _: asked_by_job(workspace, "ft:a"), "job {} asks it"),
    ],
)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_is_asked_by_work_that_is_not_over_is_kept(
    workspace: Workspace,
    adapter: Path,
    ask: Callable[[Workspace, str], str],
    said: str | None,
) -> None:
    version = save_version(workspace.store, adapter, RECORD)
    named(workspace, version, "ft:a")
    id = ask(workspace, version)
    if said is not None:
        with pytest.raises(StateError, match=said.format(id)):
            delete_model(workspace, workspace.name, "ft:a", "k")
        assert left(workspace.store) == (["ft:a"], [version])
        return
    delete_model(workspace, workspace.name, "ft:a", "k")
    assert left(workspace.store) == ([], [])
