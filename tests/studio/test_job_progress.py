"""What a job's card says of what it does and how long it takes."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nicegui import Client
from nicegui.page import page

from assay.accounts.people import NotAllowedError
from assay.jobs import queue
from assay.jobs.queue import Job
from assay.project.jobs import rescue
from assay.project.workspace import Workspace
from assay.studio import widgets as w
from assay.studio.pages.data.renewal import OpeningCount
from assay.studio.session import PageContext
from assay.studio.shared import job_progress
from assay.studio.shared.job_progress import (
    ask,
    describe_job,
    format_duration,
    job_error,
    job_share,
    possible_wishes,
)
from tests.studio.test_actions import context

JOB = Job(
    id="job-1",
    project="support",
    kind="compare",
    payload={},
    status="running",
    wish=None,
    worker="w",
    attempts=1,
    progress={"label": "answering", "done": 0, "total": 13, "unit": "requests"},
    result=None,
    error=None,
    created=datetime.now(UTC),
    started=datetime.now(UTC) - timedelta(minutes=50),
    taken=datetime.now(UTC) - timedelta(minutes=5),
    worked_s=120.0,
    ended=None,
    due=None,
)


def test_a_paused_job_counts_no_time() -> None:
    said = describe_job(replace(JOB, status="paused"))
    assert said.startswith("Paused.")
    assert "min" not in said
    assert format_duration(replace(JOB, status="paused")) == "2 min 00 s"
    running = replace(JOB, taken=datetime.now(UTC) - timedelta(minutes=5))
    assert "· 7 min 0" in describe_job(running)
    assert describe_job(replace(running, progress=None)).startswith("Starting · 7 min 0")


def test_nothing_answered_yet_is_no_empty_bar() -> None:
    assert job_share(JOB) is None
    assert "0 of 13 requests" in describe_job(JOB)
    assert describe_job(JOB).endswith("the first answers take longest")
    later = replace(JOB, progress={**(JOB.progress or {}), "done": 6.5})
    assert job_share(later) == 0.5
    for status in ("running", "paused", "queued"):
        told = {**(JOB.progress or {}), "share": 0.9}
        assert job_share(replace(JOB, status=status, progress=told)) == 0.9
    assert "first" not in describe_job(later)
    told = {**(JOB.progress or {}), "done": 6.5, "share": 0.1}
    at = datetime.now(UTC) - timedelta(minutes=7)
    running = replace(JOB, taken=at, worked_s=0.0, progress=told)
    assert re.search(r"so far · about 6[3-9] min left", describe_job(running))
    assert "left" not in describe_job(replace(running, worked_s=60.0))  # it goes on
    assert "left" not in describe_job(later)  # of one task among several, nobody knows


@pytest.mark.parametrize("kind", ["compare", *rescue.WORKS])
def test_an_editor_does_not_go_on_with_what_an_admin_started(tmp_path: Path, kind: str) -> None:
    workspace = Workspace(tmp_path)
    by = {role: context(workspace, role) for role in ("admin", "editor")}
    id = queue.enqueue(workspace.store, workspace.name, kind, {})
    job = queue.read(workspace.store, id)
    able = ["admin"] if kind in rescue.WORKS else ["admin", "editor"]
    assert [role for role, who in by.items() if possible_wishes(who, job)] == able
    if "editor" not in able:
        for wish in ("pause", "resume", "cancel"):
            with pytest.raises(NotAllowedError, match="admin"):
                ask(by["editor"], job.id, wish)
        assert queue.read(workspace.store, job.id).status == "queued"
    assert ask(by[able[-1]], job.id, "pause").status == "paused"


def test_a_page_that_is_open_follows_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = replace(JOB, id="job-0", status="succeeded")
    found = [[ended], [ended], [JOB, ended], [replace(JOB, status="succeeded"), ended]]
    looks: list[Any] = []
    monkeypatch.setattr(job_progress.ui, "timer", lambda _, look: looks.append(look))

    async def read(*_: Any) -> list[Job]:
        return found.pop(0)

    context = cast(PageContext, SimpleNamespace(read=read))
    openings, shown = OpeningCount(), []
    client = Client(page("/data"))

    async def changed() -> None:
        openings.show(len(shown))

    async def follow() -> None:
        with client:
            count = w.text("")
            openings.add(count, lambda number: f"opened {number} times")
            await job_progress.show_edits_meanwhile(context, changed)
            card = next(one for one in client.elements.values() if "card" in one.classes)
        shown.append((card.visible, count.text))
        while found:
            await looks[0]()
            shown.append((card.visible, count.text))

    asyncio.run(follow())
    zero = "opened 0 times"
    assert shown == [
        (False, zero), (False, zero), (True, "opened 2 times"), (False, "opened 3 times"),
    ]  # fmt: skip


def test_why_a_job_failed_is_a_sentence_and_a_cut_one_shows_that_it_is_cut() -> None:
    failed = replace(JOB, status="failed", error="the model did not answer: host refused.")
    assert job_error(failed) == "The model did not answer: host refused."
    assert job_error(failed, 22) == "The model did not …"
    assert job_error(failed, 80) == job_error(failed)
