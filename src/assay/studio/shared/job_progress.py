"""A job as it goes on: state, bar, what it says; survives a reload, because the job does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from nicegui import ui

from assay.jobs.queue import OVER, Job, JobEvent
from assay.project import jobs
from assay.studio.dialogs import telling
from assay.studio.session import Visit, action
from assay.studio.widgets import badge, bar, button, card, row, set_bar, text

LOOK_EVERY_S = 0.7
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
    "export": "Export",
    "pull": "Fetching a model",
}


@action("editor")
def cancel(visit: Visit, id: str) -> Job:
    """End a job."""
    return jobs.cancel(visit.workspace, id)


@action("editor")
def pause(visit: Visit, id: str) -> Job:
    """Stop a job after the step at hand."""
    return jobs.pause(visit.workspace, id)


@action("editor")
def resume(visit: Visit, id: str) -> Job:
    """Queue a paused job again."""
    return jobs.resume(visit.workspace, id)


def state_badge(job: Job) -> None:
    """Its state in a word."""
    word, kind = STATES[job.status]
    if job.status == "running" and job.wish:
        word, kind = {"cancel": "Stopping", "pause": "Pausing"}[job.wish], "warn"
    badge(word, kind)


def took(job: Job) -> str:
    """For how long it has run, or ran."""
    if job.started is None:
        return "not started"
    seconds = int(((job.ended or datetime.now(UTC)) - job.started).total_seconds())
    hours, rest = divmod(max(0, seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds:02d} s"


def controls(visit: Visit, job: Job) -> None:
    """Pause, resume and cancel, as far as the job and the person allow."""
    if not visit.may("editor") or job.status in OVER or job.wish:
        return

    def doing(act: Callable[[Visit, str], Job]) -> Callable[[], Awaitable[None]]:
        async def click() -> None:
            with telling():
                await visit.do(act, job.id)

        return click

    if job.status == "paused":
        button("Resume", doing(resume), icon="play_arrow")
    else:
        button("Pause", doing(pause), icon="pause")
    button("Cancel", doing(cancel), kind="danger", icon="close")


class Running:
    """A card that follows one job until it is over.

    Args:
        over: called once, when the job has ended. It must not wait: it is called by a timer that
            goes with the card.
    """

    def __init__(self, visit: Visit, job: Job, what: str, over: Callable[[Job], None]) -> None:
        self._visit, self._id, self._over = visit, job.id, over
        self._last = 0
        self._seen: tuple[str, str | None] | None = None
        self._events: list[str] = []
        with card():
            with row("spread"):
                with row() as self._head:
                    pass
                with row() as self._controls:
                    pass
            self._what = what
            self._doing = text("", "soft")
            self._bar = bar(None, what)
            with (
                ui.element("div")
                .classes("stack events")
                .props("role=log aria-live=polite aria-label='What has happened'") as self._log
            ):
                pass
        self._show(job, [])
        self._timer = ui.timer(LOOK_EVERY_S, self._look)

    async def _look(self) -> None:
        with telling():
            job, events = await self._visit.do(
                lambda visit: jobs.look(visit.workspace, self._id, self._last)
            )
            self._show(job, events)
            if job.status in OVER:
                self._timer.cancel()
                self._over(job)

    def _show(self, job: Job, events: Sequence[JobEvent]) -> None:
        if self._seen != (job.status, job.wish):
            self._seen = job.status, job.wish
            self._head.clear()
            with self._head:
                text(self._what, tag="h2")
                state_badge(job)
            self._controls.clear()
            with self._controls:
                controls(self._visit, job)
        self._doing.text = doing(job)
        set_bar(self._bar, share(job))
        if events:
            self._last = events[-1].key
            told = [event for event in events if event.kind != "metrics"]
            self._events += [f"{event.at:%H:%M:%S}  {event.message}" for event in told]
            self._log.clear()
            with self._log:
                for line in self._events[-SHOWN_EVENTS:]:
                    text(line, "soft note")


def share(job: Job) -> float | None:
    """How far it is, 0 to 1; None where it does not say."""
    if job.status == "succeeded":
        return 1.0
    progress = job.progress or {}
    if job.status != "running" or not progress.get("total"):
        return 0.0 if job.status in ("queued", "paused") else None
    return float(progress.get("done") or 0.0) / float(progress["total"])


def doing(job: Job) -> str:
    """What it is at, in a line."""
    if job.status == "queued":
        return "Waiting for a worker."
    if job.status == "failed":
        return str(job.error)
    progress = job.progress or {}
    if job.status != "running" or not progress.get("label"):
        return f"{took(job)}."
    done, total = progress.get("done") or 0, progress.get("total")
    count = f"{done:,.0f} of {total:,.0f}" if total else f"{done:,.0f}"
    return f"{str(progress['label']).capitalize()}: {count} {progress['unit']} · {took(job)}"
