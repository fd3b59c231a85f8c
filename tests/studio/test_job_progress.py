"""What a job's card says of what it does and how long it takes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from assay.jobs.queue import Job
from assay.studio.shared.job_progress import describe_job, format_duration, job_share

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
