"""Tools: long work as jobs: a comparison, a training; how it goes, and stopping it."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from assay.errors import NotFoundError
from assay.jobs.queue import OVER, Job
from assay.mcp.access import Access
from assay.mcp.data import READS
from assay.project import jobs
from assay.project.jobs import measuring, training
from assay.project.programs import start_comparison as begin_comparison
from assay.project.workspace import Workspace

KINDS = (jobs.COMPARE, training.TRAIN, measuring.MEASURE)
"""Of jobs that these tools show and stop."""
STARTS = ToolAnnotations(destructive_hint=False, open_world_hint=False)
LOOK_AGAIN_S = 0.5
MOST_WAIT_S = 300
MOST_EVENTS, MOST_CHARACTERS = 10, 300
Id = Annotated[str, Field(min_length=1, max_length=100, description="Id of the job.")]
Label = Annotated[
    str, Field(min_length=1, max_length=140, description="NAME@VERSION, such as few-shot@3.")
]


class JobStatus(BaseModel):
    """A job as it stands.

    Attributes:
        status: queued, running, paused, succeeded, failed or cancelled.
        doing: what it is doing now.
        share: of that, from 0 to 1.
        result: of one that has succeeded, such as the id of the comparison.
        events: the last lines that it has said.
    """

    id: str
    kind: str
    status: str
    doing: str | None
    share: float | None
    result: dict[str, Any] | None
    error: str | None
    events: list[str]


def add_tools(server: MCPServer[Any], access: Access) -> None:
    """Give a server these tools."""

    @server.tool(title="Start a comparison", annotations=STARTS)
    def start_comparison(
        context: Context,
        reason: Annotated[
            str,
            Field(min_length=3, max_length=500, description="Why; kept in the log of openings."),
        ],
        agents: Annotated[
            list[Label] | None,
            Field(
                max_length=20,
                description="Saved agents that take part beside the project's candidates.",
            ),
        ] = None,
    ) -> JobStatus:
        """Compare all candidates on the locked holdout. This opens the holdout: it is logged with
        your name and reason, makes the next verdict harder to reach, and counts against the
        openings that the owner allows. Try changes on validation first (try_agent). Returns at
        once with a job: wait_for_job, then read_verdict."""
        workspace = access.spender(context)
        return _status(workspace, begin_comparison(workspace, agents=agents or (), reason=reason))

    @server.tool(title="Train a version", annotations=STARTS)
    def start_training(
        context: Context,
        effort: Annotated[
            training.Effort,
            Field(description="settings: as assay.yaml says; quick: one epoch; thorough: long."),
        ] = "settings",
        agent: Annotated[
            str | None,
            Field(max_length=100, description="Name of an agent to save that uses the version."),
        ] = None,
    ) -> JobStatus:
        """Fine-tune the project's model on train, choosing by validation. Opens nothing. Returns at
        once with a job."""
        workspace = access.spender(context)
        options = training.TrainingOptions(effort=effort, name=agent)
        return _status(workspace, training.start(workspace, options))

    @server.tool(title="Try an agent on validation", annotations=STARTS)
    def try_agent(context: Context, agent: Label) -> JobStatus:
        """Score a saved agent on validation: what a changed prompt or other examples bring, without
        an opening of the holdout. Returns at once with a job, whose result has the score. The best
        of many tries looks better than it is: only a comparison says whether it is."""
        workspace = access.spender(context)
        return _status(workspace, measuring.start(workspace, agent))

    @server.tool(title="List jobs", annotations=READS)
    def list_jobs(context: Context) -> list[JobStatus]:
        """List comparisons, trainings and tries, the newest first (at most 20)."""
        workspace = access.workspace(context)
        return [_status(workspace, job) for job in jobs.list_jobs(workspace, *KINDS)[:20]]

    @server.tool(title="Wait for a job", annotations=READS)
    async def wait_for_job(
        context: Context,
        job: Id,
        seconds: Annotated[
            float,
            Field(ge=0, le=MOST_WAIT_S, description="How long to wait at most; 0: only look."),
        ] = 45,
    ) -> JobStatus:
        """Wait until a job ends, or the time is over; progress is reported meanwhile. Call it again
        while the status is queued or running."""
        workspace = await anyio.to_thread.run_sync(access.workspace, context)
        end, told = time.monotonic() + seconds, 0.0
        while True:
            found = await anyio.to_thread.run_sync(_find, workspace, job)
            if found.status in OVER or found.status == "paused" or time.monotonic() >= end:
                return await anyio.to_thread.run_sync(_status, workspace, found)
            progress = found.progress or {}
            share = _share(progress)
            if share is not None and share > told:
                told = share
                await context.report_progress(share, 1.0, str(progress.get("label", ""))[:200])
            await anyio.sleep(min(LOOK_AGAIN_S, max(0.0, end - time.monotonic())))

    @server.tool(title="Cancel a job", annotations=ToolAnnotations(destructive_hint=True))
    def change_job(
        context: Context,
        job: Id,
        wish: Annotated[
            Literal["cancel", "pause", "resume"],
            Field(description="cancel ends it; pause keeps what was done; resume goes on."),
        ],
    ) -> JobStatus:
        """Cancel, pause or resume a comparison, a training or a try. A comparison that has opened
        the holdout has opened it, also if it is cancelled."""
        workspace = access.workspace(context)
        _find(workspace, job)
        return _status(workspace, jobs.ask(workspace, job, wish))


def _find(workspace: Workspace, id: str) -> Job:
    """A job that these tools may show.

    Raises:
        NotFoundError: there is none of that id.
    """
    found = next((job for job in jobs.list_jobs(workspace, *KINDS) if job.id == id), None)
    if found is None:
        raise NotFoundError(f"there is no job {id[:100]!r}.", fix="list_jobs lists them.")
    return found


def _status(workspace: Workspace, job: Job) -> JobStatus:
    _, events = jobs.look(workspace, job.id)
    progress = job.progress or {}
    running = job.status == "running"
    return JobStatus(
        id=job.id,
        kind=job.kind,
        status=job.status,
        doing=str(progress["label"])[:200] if running and "label" in progress else None,
        share=_share(progress) if running else None,
        result=job.result,
        error=job.error,
        events=[event.message[:MOST_CHARACTERS] for event in events if event.kind != "metrics"][
            -MOST_EVENTS:
        ],
    )


def _share(progress: dict[str, Any]) -> float | None:
    if progress.get("share") is not None:
        return float(progress["share"])
    if progress.get("total"):
        return min(1.0, float(progress["done"]) / float(progress["total"]))
    return None
