"""The progress of jobs, which outlive a page, and of work that a page waits for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from textwrap import shorten

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from assay.accounts.people import Role
from assay.errors import on_page
from assay.jobs import queue
from assay.jobs.fine_tuning import Wish
from assay.jobs.queue import OVER, Job
from assay.progress import format_duration as say_duration
from assay.project import jobs
from assay.project.jobs import imported_traces, rescue
from assay.studio import widgets as w
from assay.studio.session import PageContext, action, check_role, workspace_action
from assay.studio.shared.names import plain_line
from assay.studio.words import format_clock, stand_alone

LOOK_EVERY_S = 0.7
LOOK_AGAIN_S = 5.0
"""At what goes on beside the page."""
LEAST_SHARE, LEAST_S = 0.05, 20.0
"""Of a job that is done, and for so long, before it tells how long it will still take."""
SHOWN_EVENTS = 8
STATES = {
    "queued": ("Waiting", ""),
    "running": ("Running", "good"),
    "paused": ("Paused", "warn"),
    "succeeded": ("Done", "good"),
    "failed": ("Failed", "bad"),
    "cancelled": ("Cancelled", ""),
}
KINDS = {
    "compare": "Comparison",
    "fine-tune": "Fine-tuning",
    "fine-tune-check": "Fine-tuning",
    "train": "Training",
    "sweep": "Search for settings",
    "curve": "Learning curve",
    "measure": "Try of an agent on validation",
    "export": "Export",
    "pull": "Pulling a model",
    "batch": "Batch of requests",
    "rescue": "Fetching an account",
    "rescue-plan": "Making projects",
    "record": "Recording a model's answers",
    "rescue-compare": "Comparing with a recorded model",
    "watch": "Watching a release",
    "trace-jobs": "Looking for jobs in traces",
    "trace-project": "Making a project of a job",
}

_EDITS_BEFORE = (
    "A comparison waits. It has its own copy of examples, settings and documents: your edits count "
    "from the next run."
)
_EDITS_WHILE_RUNNING = (
    "A comparison is running on its own copy of examples, settings and documents. Your edits count "
    "from the next run."
)
_EDITS_AFTER_BEGINNING = (
    "A comparison has begun and waits. It goes on with its own copy of examples, settings and "
    "documents: your edits count from the next run."
)

start_comparison = workspace_action("editor", jobs.compare)


@action("editor")
def ask(context: PageContext, id: str, wish: Wish) -> Job:
    """See `assay.project.jobs.ask`; of what only admins start, only an admin can ask."""
    check_role(context, role_for(queue.read(context.workspace.store, id).kind))
    return jobs.ask(context.workspace, id, wish)


def role_for(kind: str) -> Role:
    """The role that a job of a kind is started, paused, resumed and cancelled with."""
    return "admin" if kind in rescue.WORKS or kind in imported_traces.WORKS else "editor"


def state_badge(job: Job) -> None:
    """A job's state in a word."""
    word, kind = STATES[job.status]
    if job.status == "running" and job.wish:
        word, kind = {"cancel": "Stopping", "pause": "Pausing"}[job.wish], "warn"
    w.badge(word, kind)


def format_duration(job: Job) -> str:
    """How long workers have had a job: while it is paused or waits, no time is counted."""
    if job.started is None:
        return "not started"
    seconds = int(_worked_seconds(job))
    hours, rest = divmod(max(0, seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def _worked_seconds(job: Job) -> float:
    if job.started is None or (job.status != "running" and job.taken is not None):
        return job.worked_s
    begun = job.taken or job.started  # before `taken` was kept, the whole time counts
    return job.worked_s + ((job.ended or datetime.now(UTC)) - begun).total_seconds()


def _describe_left(job: Job) -> str:
    """How long it will still take, going by what it has done; "" where that tells too little.

    Only those tell that say which share of the whole is done; none that goes on after a pause or
    an outage, which takes what it finds done for little.
    """
    share, seconds = float((job.progress or {}).get("share", 0.0)), _worked_seconds(job)
    if job.worked_s or not LEAST_SHARE <= share < 1 or seconds < LEAST_S:
        return ""
    return f" · about {say_duration(seconds * (1 - share) / share)} left"


def possible_wishes(context: PageContext, job: Job) -> set[Wish]:
    """What may be asked of a job now, by this person."""
    if not context.may(role_for(job.kind)) or job.status in OVER or job.wish:
        return set()
    return {"resume" if job.status == "paused" else "pause", "cancel"}


class JobStatus:
    """What a job is doing, how far it is and what it has said; made where a card is open."""

    def __init__(self, context: PageContext, what: str) -> None:
        self._context = context
        self._job: Job | None = None
        with w.row("spread"):
            self._head = ui.element("div").classes("flow")
            with ui.element("div").classes("flow"):
                # Made once: a click on a button that is made anew meanwhile would be lost.
                self._buttons: dict[Wish, ui.button] = {
                    "resume": w.button("Resume", partial(self._ask, "resume"), icon="play_arrow"),
                    "pause": w.button("Pause", partial(self._ask, "pause"), icon="pause"),
                    "cancel": w.button(
                        "Cancel", partial(self._ask, "cancel"), icon="close", kind="danger"
                    ),
                }
        self._status = w.text("", "soft")
        self._bar = w.bar(None, what)

    def show(self, job: Job, what: str) -> bool:
        """Show a job under a heading; whether its state has changed."""
        self._status.text = describe_job(job)
        w.set_bar(self._bar, job_share(job))
        self._bar.set_visibility(job.status not in ("failed", "cancelled"))
        before, self._job = self._job, job
        if before is not None and (before.status, before.wish) == (job.status, job.wish):
            return False
        with w.refill(self._head):
            w.text(what, tag="h2")
            state_badge(job)
        possible = possible_wishes(self._context, job)
        for wish, button in self._buttons.items():
            button.set_visibility(wish in possible)
        return True

    async def _ask(self, wish: Wish) -> None:
        if self._job is not None:
            await self._context.do(ask, self._job.id, wish)


class EventLog:
    """The newest lines that a job has said; made where a card is open."""

    def __init__(self) -> None:
        self._box = w.set_label(ui.element("div").classes("stack events"), "Job log")
        self._box.props("role=log aria-live=polite")

    def show(self, lines: Sequence[str]) -> None:
        """Show the end of all lines."""
        with w.refill(self._box):
            for line in lines[-SHOWN_EVENTS:]:
                w.text(line, "soft note")


def log_line(at: datetime, message: str) -> str:
    """What a job has said, and when."""
    return f"{format_clock(at)}  {plain_line(message)}"


class JobCard:
    """A card that follows one job until it is over.

    Args:
        over: called once, when the job has ended. It must not wait: it is called by a timer that
            goes with the card.
    """

    def __init__(
        self, context: PageContext, job: Job, what: str, over: Callable[[Job], None]
    ) -> None:
        self._context, self._id, self._what, self._over = context, job.id, what, over
        self._last = 0
        self._events: list[str] = []
        with w.card():
            self._status, self._log = JobStatus(context, what), EventLog()
            self._edits = w.text("", "soft note")
        self._show(job)
        self._timer = ui.timer(LOOK_EVERY_S, self._update)

    def _show(self, job: Job) -> None:
        self._status.show(job, self._what)
        is_compared = job.kind == jobs.COMPARE and job.status not in OVER
        self._edits.text = _describe_edits(job) if is_compared else ""

    async def _update(self) -> None:
        job, events = await self._context.read(jobs.look, self._id, self._last)
        self._show(job)
        if events:
            self._last = events[-1].key
            messages = [event for event in events if event.kind != "metrics"]
            self._events += [log_line(event.at, event.message) for event in messages]
            self._log.show(self._events)
        if job.status in OVER:
            self._timer.cancel()
            self._over(job)


async def show_edits_meanwhile(
    context: PageContext, changed: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Say what edits mean for a comparison that waits or is running, whenever there is one.

    Args:
        changed: called when one has been started, begun or ended since.
    """
    with w.card("tight") as card:
        text = w.text("", "soft")

    def show(found: list[Job]) -> list[tuple[str, str]]:
        job = next((one for one in found if one.status not in OVER), None)
        card.set_visibility(job is not None)
        if job is not None:
            text.text = _describe_edits(job)
        return [(one.id, one.status) for one in found]

    shown = show(await context.read(jobs.list_jobs, jobs.COMPARE))

    async def update() -> None:
        nonlocal shown
        before, shown = shown, show(await context.read(jobs.list_jobs, jobs.COMPARE))
        if changed is not None and shown != before:
            await changed()

    ui.timer(LOOK_AGAIN_S, update)


def _describe_edits(job: Job) -> str:
    """What edits mean for a comparison that is not over."""
    if job.status == "running":
        return _EDITS_WHILE_RUNNING
    return _EDITS_BEFORE if job.started is None else _EDITS_AFTER_BEGINNING


def job_share(job: Job) -> float | None:
    """How far a job is, 0 to 1; None where it does not say."""
    if job.status == "succeeded":
        return 1.0
    progress = job.progress or {}
    if job.status in ("running", "paused", "queued") and "share" in progress:  # of the whole job
        return float(progress["share"])
    if job.status != "running" or not progress.get("total") or not progress.get("done"):
        return 0.0 if job.status in ("queued", "paused") else None
    return float(progress.get("done") or 0.0) / float(progress["total"])


def show_job(
    context: PageContext,
    job: Job | None,
    over: Callable[[], None],
    advise: Callable[[str], None] | None = None,
) -> None:
    """A job that waits or runs, or why it has failed; nothing of any other.

    Args:
        over: called when it has ended, see `JobCard`.
        advise: called with the error, to show below it what helps.
    """
    if job is None or job.status in ("succeeded", "cancelled"):
        return
    what = KINDS[job.kind]
    if job.status not in OVER:
        JobCard(context, job, what, lambda _: over())
        return
    with w.section(f"{what} has failed", style="lost"):
        w.text(job_error(job), "pre")
        if advise is not None:
            advise(job.error or "")


def job_error(job: Job, most: int | None = None) -> str:
    """Why it failed, as a page says it: in sentences of its own.

    Args:
        most: characters that there is room for; what is longer ends in an ellipsis.
    """
    said = stand_alone(on_page(job.error or ""))
    return said if most is None else shorten(said, most, placeholder=" …")


def describe_job(job: Job) -> str:
    """What a job is doing, in a line."""
    if job.status == "queued":
        return "Waiting for a worker."
    if job.status == "failed":
        return job_error(job)
    if job.status == "paused":
        return "Paused. What it has done so far is kept; Resume goes on from there."
    progress = job.progress or {}
    if job.status != "running":
        return f"{format_duration(job)}."
    if not progress.get("label"):
        return f"Starting · {format_duration(job)} so far"
    done, total = progress.get("done") or 0, progress.get("total")
    count = f"{done:,.0f} of {total:,.0f}" if total else f"{done:,.0f}"
    said = plain_line(str(progress["label"]))
    label = said[:1].upper() + said[1:]
    since = f"{count} {progress['unit']} · {format_duration(job)} so far"
    # Requests are answered in batches, the longest first, and counted when a batch is done.
    slow = not done and progress["unit"] == "requests"
    since += _describe_left(job)
    return f"{label}: {since}{'; the first answers take longest' if slow else ''}"


class ProgressState:
    """The latest progress of work in a thread, for a page that looks now and then."""

    def __init__(self) -> None:
        self.label, self.done, self.total = "", 0.0, 0.0

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[ProgressState]:
        """Implements a method of `assay.progress.Progress`."""
        self.label, self.done, self.total = label, 0.0, total or 0.0
        yield self

    def advance(self, amount: float = 1, **info: object) -> None:
        """Implements a method of `assay.progress.Task`."""
        self.done += amount

    def say(self, line: str) -> None:
        """Implements a method of `assay.progress.Progress`."""
        self.label = line

    @property
    def share(self) -> float | None:
        """From 0 to 1; None where the total is unknown."""
        return self.done / self.total if self.total else None

    def show_on(self, made: Element, label: TextElement) -> None:
        """Move a bar, and say under it what is being done."""
        w.set_bar(made, self.share)
        label.text = f"{self.label.capitalize() or 'Waiting'} …"
