"""`assay jobs` shows what the queue holds, and changes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assay.cli.main import app
from assay.errors import AssayError, UsageError
from assay.jobs import queue
from assay.project.workspace import Workspace
from assay.store.audit import entries

RUN = CliRunner()


def said(*words: str) -> str:
    done = RUN.invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_job_is_seen_and_stopped(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    id = queue.enqueue(workspace.store, "default", "fine-tune", {})
    folder = ("--folder", str(tmp_path))
    [row] = json.loads(said("jobs", "list", *folder, "--json"))
    assert (row["id"], row["status"]) == (id, "queued")
    assert id in said("jobs", "list", *folder)
    assert said("jobs", "pause", id, *folder) == f"{id}: paused.\n"
    assert said("jobs", "resume", id, *folder) == f"{id}: queued.\n"
    assert said("jobs", "cancel", id, *folder) == f"{id}: cancelled.\n"
    assert json.loads(said("jobs", "show", id, *folder, "--json"))["status"] == "cancelled"
    assert "cancelled" in said("jobs", "show", id, *folder)
    told = [event["message"] for event in json.loads(said("jobs", "logs", id, *folder, "--json"))]
    assert told == ["Queued.", "Paused.", "Queued again.", "Cancelled."]
    assert said("jobs", "logs", id, *folder, "--follow").count("\n") == 4
    actions = [row.action for row in entries(workspace.store, "default")]
    assert actions == ["job.cancel", "job.resume", "job.pause"]


def test_what_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    folder = ("--folder", str(tmp_path))
    for words in (("jobs", "show", "job-x"), ("jobs", "cancel", "job-x")):
        with pytest.raises(AssayError, match="no job job-x"):
            RUN.invoke(app, [*words, *folder], catch_exceptions=False)
    for options, refused in (
        ("--kind party", "not a kind of job"),
        ("--kind fine-tune --except fine-tune", "no kind of job is left"),
        ("--consent", "are for Ray"),
        ("--workers 2", "are for Ray"),
        ("--gpu", "are for Ray"),
        ("--on ray --kind fine-tune", "for a worker of this machine"),
    ):
        with pytest.raises(UsageError, match=refused):
            RUN.invoke(app, ["worker", *options.split(), *folder], catch_exceptions=False)


def test_serve_refuses_an_address_that_is_none(tmp_path: Path) -> None:
    for options, said in (
        (("--vllm-url", "localhost:8001"), "use an address"),
        (("--vllm-key-env", "KEY"), "needs --vllm-url"),
    ):
        with pytest.raises(UsageError, match=said):
            RUN.invoke(app, ["serve", "--folder", str(tmp_path), *options], catch_exceptions=False)
