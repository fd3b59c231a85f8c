"""Tools: long work as jobs: a comparison, a training; how it goes, and stopping it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from assay.compare.holdout import HOLDOUT
from assay.errors import NotFoundError, StateError
from assay.jobs import queue
from assay.jobs.events import PLAIN, JobEvent, read_events
from assay.jobs.queue import OVER, Job
from assay.jobs.worker import UNEXPECTED
from assay.mcp.access import Access, find_own_agent
from assay.mcp.data import READS
from assay.mcp.texts import OneLine, say
from assay.project import jobs
from assay.project.jobs import measuring, training
from assay.project.programs import start_comparison as begin_comparison
from assay.project.workspace import Workspace
from assay.store.audit import who_did

KINDS = (jobs.COMPARE, training.TRAIN, measuring.MEASURE)
"""Of jobs that these tools show and stop."""
STARTS = ToolAnnotations(destructive_hint=False, open_world_hint=False)
LOOK_AGAIN_S = 2.0
MOST_WAIT_S = 300
MOST_WAITS = 4
"""At the same time, of one key or one program of this machine."""
MOST_EVENTS, MOST_EVENT_CHARACTERS = 10, 300
_PLAIN = re.compile(
    rf"(?:{HOLDOUT}|Queued|Started\.|Taken up again\.|Paused\.|Cancelled\.).*", re.DOTALL
)
_REQUESTS = re.compile(
    r"(\d{1,12} of \d{1,12} requests "
    r"(?:failed|were refused and score 0|was refused and scores 0)) \(.*",
    re.DOTALL,
)
"""Of lines that were kept without `PLAIN`, by an earlier version: they end with what a provider
says."""
JobId = Annotated[str, Field(min_length=1, max_length=100, description="Id of the job.")]
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
            OneLine,
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
        if agent is not None:
            find_own_agent(workspace, agent)
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

    waits = Counter[str]()

    @server.tool(title="Wait for a job", annotations=READS)
    async def wait_for_job(
        context: Context,
        job: JobId,
        seconds: Annotated[
            float,
            Field(ge=0, le=MOST_WAIT_S, description="How long to wait at most; 0: only look."),
        ] = 45,
    ) -> JobStatus:
        """Wait until a job ends, or the time is over; progress is reported meanwhile. Call it again
        while the status is queued or running."""
        workspace = await anyio.to_thread.run_sync(access.workspace, context)
        if waits[workspace.who] >= MOST_WAITS:
            raise StateError(
                f"you are waiting {MOST_WAITS} times already.", fix="Let one of these waits end."
            )
        waits[workspace.who] += 1
        try:
            return await _wait(context, workspace, job, seconds)
        finally:
            waits[workspace.who] -= 1

    @server.tool(title="Change a job", annotations=ToolAnnotations(destructive_hint=True))
    def change_job(
        context: Context,
        job: JobId,
        wish: Annotated[
            Literal["cancel", "pause", "resume"],
            Field(description="cancel ends it; pause keeps what was done; resume goes on."),
        ],
    ) -> JobStatus:
        """Cancel, pause or resume a comparison, a training or a try that you have started. A
        comparison that has opened the holdout has opened it, also if it is cancelled."""
        workspace = access.spender(context) if wish == "resume" else access.workspace(context)
        found = _find(workspace, job)
        if who_did(workspace.store, workspace.name, f"job.{found.kind}", job) != workspace.who:
            raise StateError("somebody else has started this job.", fix="Ask the owner.")
        return _status(workspace, jobs.ask(workspace, job, wish))


async def _wait(context: Context, workspace: Workspace, id: str, seconds: float) -> JobStatus:
    end, told = time.monotonic() + seconds, 0.0
    while True:
        found = await anyio.to_thread.run_sync(_find, workspace, id)
        if found.status in OVER or found.status == "paused" or time.monotonic() >= end:
            return await anyio.to_thread.run_sync(_status, workspace, found)
        progress = found.progress or {}
        share = _share(progress)
        if share is not None and share > told:
            told = share
            await context.report_progress(share, 1.0, str(progress.get("label", ""))[:200])
        await anyio.sleep(min(LOOK_AGAIN_S, max(0.0, end - time.monotonic())))


def _find(workspace: Workspace, id: str) -> Job:
    """A job that these tools may show.

    Raises:
        NotFoundError: there is none of that id.
    """
    try:
        found = queue.read(workspace.store, id)
    except NotFoundError:
        found = None
    if found is None or found.project != workspace.name or found.kind not in KINDS:
        raise NotFoundError(f"there is no job {id[:100]!r}.", fix="list_jobs lists them.")
    return found


def _status(workspace: Workspace, job: Job) -> JobStatus:
    events = read_events(workspace.store, job.id)
    messages = [_plain(event) for event in events if event.kind == "message"]
    progress = job.progress or {}
    running = job.status == "running"
    return JobStatus(
        id=job.id,
        kind=job.kind,
        status=job.status,
        doing=str(progress["label"])[:200] if running and "label" in progress else None,
        share=_share(progress) if running else None,
        result=job.result,
        error=None if job.error is None else _error(workspace, job, events),
        events=[
            say(line, workspace.root, MOST_EVENT_CHARACTERS)
            for line in _tellable(job, messages)[-MOST_EVENTS:]
        ],
    )


def _plain(event: JobEvent) -> str:
    """What an event says, without a provider's own words."""
    plain: str | None = (event.data or {}).get(PLAIN)
    return _REQUESTS.sub(r"\1.", event.message) if plain is None else plain


def _error(workspace: Workspace, job: Job, events: Sequence[JobEvent]) -> str:
    """Why a job has failed; not what a provider, or a fault's own words, may tell of the rows."""
    assert job.error is not None
    if job.error.startswith(UNEXPECTED):
        return f"{UNEXPECTED}. The owner reads which with `assay jobs show {job.id}`."
    if job.kind == measuring.MEASURE:
        return f"it has failed. The owner reads why with `assay jobs show {job.id}`."
    if _asks_for_hidden_rows(job, [event.message for event in events]):
        return (
            "it has failed while the holdout was open. The owner reads why with "
            f"`assay jobs show {job.id}`; the same comparison goes on in the same opening."
        )
    for event in events:
        if event.kind == "error" and (plain := (event.data or {}).get(PLAIN)):
            more = f"What the provider says the owner reads with `assay jobs show {job.id}`."
            return say(f"{plain} {more}", workspace.root)
    return say(job.error, workspace.root)


def _tellable(job: Job, messages: Sequence[str]) -> list[str]:
    """What a job has said, without what may be of the rows of an open holdout."""
    kept, is_open = [], False
    for line in messages:
        is_open = is_open or _asks_for_hidden_rows(job, [line])
        if not is_open or _PLAIN.fullmatch(line):
            kept.append(line)
    return kept


def _asks_for_hidden_rows(job: Job, messages: Sequence[str]) -> bool:
    """Whether anybody may have been asked for rows that no tool shows: of the holdout, or, by a
    try, of validation."""
    if job.kind == measuring.MEASURE:
        return True
    return job.kind == jobs.COMPARE and any(line.startswith(HOLDOUT) for line in messages)


def _share(progress: dict[str, Any]) -> float | None:
    if progress.get("share") is not None:
        return float(progress["share"])
    if progress.get("total"):
        return min(1.0, float(progress["done"]) / float(progress["total"]))
    return None
