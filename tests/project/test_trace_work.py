"""Traces as work of a server: what it keeps where, and what a killed worker leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from assay.accounts.quota import QuotaError
from assay.defaults import IMPORTED_TRACES, TRACE_PROJECTS
from assay.jobs import queue
from assay.jobs.worker import Worker
from assay.project import jobs
from assay.project.imported import import_traces
from assay.project.jobs import imported_traces
from assay.project.jobs.imported_traces import find_jobs, read_traces, start_project
from assay.project.workspace import Workspace

ASKED = "Where is Ann of 5 Mill Lane?"


def add(workspace: Workspace, file: Path, *inputs: str) -> None:
    rows = ({"system": "Say where.", "prompt": one, "completion": "There."} for one in inputs)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(list(import_traces([file], workspace.root / IMPORTED_TRACES, None))) == 1


def test_what_a_search_found_goes_with_the_traces_and_a_killed_making_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "served").mkdir()
    workspace = Workspace(tmp_path / "served")
    worker = Worker(workspace.store, jobs.handlers(workspace), "test")
    add(workspace, tmp_path / "a.jsonl", ASKED)
    find_jobs(workspace)
    found = worker.once()
    assert found is not None
    assert "Mill Lane" not in json.dumps(found.result)
    state = read_traces(workspace)
    assert state.found is not None
    (job,) = state.found["jobs"]
    assert job["input"] == ASKED

    add(workspace, tmp_path / "b.jsonl", "And Bob?", "And Cy?")  # a job is made of what was counted
    start_project(workspace, job["id"], "where")
    real = imported_traces.imported.make_project

    def killed(*given: object, **named: object) -> None:
        real(*given, **named)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(imported_traces.imported, "make_project", killed)
    with pytest.raises(KeyboardInterrupt):
        worker.once()
    monkeypatch.setattr(imported_traces.imported, "make_project", real)
    made = worker.once()
    assert made is not None
    assert (made.status, made.error) == ("succeeded", None)
    files = read_traces(workspace).made[job["id"]]
    assert files.inputs == 1
    assert (workspace.root / TRACE_PROJECTS / "where").is_dir()
    used = workspace.quota.storage(workspace.name)
    assert used.traces > read_traces(workspace).bytes + len(ASKED)  # what was made counts, too
    workspace.quota.most = used.total
    with pytest.raises(QuotaError, match="projects made of these"):
        start_project(workspace, job["id"], "again")
    assert queue.claim(workspace.store, "test", [imported_traces.MAKE]) is None

    shutil.rmtree(workspace.root / IMPORTED_TRACES)
    assert read_traces(workspace).found is None
