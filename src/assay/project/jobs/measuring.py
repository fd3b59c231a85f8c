"""The score of a saved agent on validation, as a job: what a change of a prompt brings, without an
opening of the holdout.

    job = start(workspace, "few-shot@3")
"""

from __future__ import annotations

from typing import Any

from assay.agent.versions import find_version, load_agent
from assay.errors import StateError, UsageError
from assay.jobs import queue
from assay.jobs.queue import OVER, Job
from assay.jobs.worker import Work
from assay.project.jobs.queueing import enqueue_once
from assay.project.workspace import Workspace, project_of

MEASURE = "measure"
MOST_ROWS = 1000
MOST_OPEN = 20
"""Of a project: other work waits behind them."""


def start(workspace: Workspace, label: str) -> Job:
    """Queue it.

    Args:
        label: `NAME@VERSION`.

    Raises:
        UsageError: the folder is no project, or the agent is a file of answers.
        AssayError: there is no such agent.
        StateError: one of this agent waits or runs already, or too many do.
    """
    project_of(workspace)
    agent = find_version(workspace.store, label)
    if load_agent(workspace.store, agent.agent).kind == "outside":
        raise UsageError(f"{agent.label} is a file of answers, which cannot answer other rows.")
    known = queue.jobs(workspace.store, workspace.name, (MEASURE,))
    if sum(job.status not in OVER for job in known) >= MOST_OPEN:
        raise StateError(
            f"{MOST_OPEN} tries of agents are not over yet.", fix="Wait until some have ended."
        )
    what = f"a try of {agent.label}"
    payload = {"agent": agent.label}
    return enqueue_once(
        workspace, MEASURE, what, payload, action=f"job.{MEASURE}", per_payload=True
    )


def work(workspace: Workspace, work: Work) -> dict[str, Any]:
    """Measure it on the validation rows that can be scored, the first `MOST_ROWS` of them."""
    context = project_of(workspace).context(work)
    version = find_version(work.store, work.payload["agent"])
    rows = [row for row in context.validation if row.liked][:MOST_ROWS]
    found = context.bench.measure(load_agent(work.store, version.agent), rows)
    return {
        "agent": version.label,
        "grader": found.primary,
        "score": found.score,
        "rows": len(found.primary_scores),
        "failed": found.failed,
        "missing": found.missing,
    }
