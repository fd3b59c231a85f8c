"""What keeps the model of a fine-tuning job from being deleted, also at the very moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.jobs.tiny_tuning import queued
from tests.models.test_versions import RECORD, adapter

from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.errors import ModelError, StateError
from assay.jobs import queue, tuned_models
from assay.jobs.fine_tuning import CHECK
from assay.jobs.queue import Job
from assay.models.versions import list_versions, save_version
from assay.project.jobs.tuned_models import delete_model
from assay.project.workspace import Workspace
from assay.store.store import Store
from assay.store.tables import AgentRow, ServedNameRow

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
