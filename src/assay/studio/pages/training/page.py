"""Training: what trains, waits or has ended, with its curve as it grows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from nicegui import ui

from assay.jobs.fine_tuning import FineTuning
from assay.jobs.queue import OVER, Job
from assay.project import jobs
from assay.project.jobs import curves
from assay.project.jobs import training as training_jobs
from assay.project.jobs.curves import Figures, loss_chart
from assay.studio import widgets as w
from assay.studio.frame import Page
from assay.studio.pages.training.forms import start_card
from assay.studio.pages.training.outcomes import outcome_card
from assay.studio.pages.training.rewards import (
    show_answers,
    show_reward_charts,
    show_reward_numbers,
)
from assay.studio.session import LatestRequest, PageContext
from assay.studio.shared.job_progress import (
    KINDS,
    LOOK_EVERY_S,
    EventLog,
    JobStatus,
    format_duration,
    job_error,
    log_line,
    state_badge,
)
from assay.studio.words import format_time

SHOWN = 50
MEANINGS = {
    "loss": (
        "How badly the model predicts the right answers: lower is better. Train: the examples it "
        "learns from. Validation: examples it never learns from. If validation loss rises again, "
        "the model is starting to memorise; its state before that is kept."
    ),
    "saved": (
        "Work done once instead of repeatedly, because examples start with the same text (such as "
        "the instructions)."
    ),
}


async def build(context: PageContext) -> None:
    """The job that `?id=` names, else the newest, and all others under it."""
    found = await context.read(jobs.list_jobs)
    w.title(
        "Training",
        "Background jobs in this folder. A training that was paused, or whose machine went down, "
        "resumes where it stopped.",
    )
    start_card(context)
    if not found:
        has_project = context.workspace.config is not None
        act = ("Compare", "/compare") if has_project else ("Add examples", "/")
        w.empty(
            "model_training",
            "Nothing has been trained yet",
            "Train a version here, let a comparison train one, or start a fine-tuning job through "
            "the API."
            if has_project
            else "A project starts with a file of examples. Without one, only fine-tuning jobs of "
            "the API train here.",
            act=act if context.may("editor") else None,
        )
        return
    wanted = ui.context.client.request.query_params.get("id")
    kinds = (*curves.KINDS, *training_jobs.KINDS)
    trainings = [job for job in found if job.kind in kinds] or found
    job = next((one for one in found if one.id == wanted), trainings[0])
    listed = ui.element("div")

    async def list_jobs() -> None:
        now = await context.read(jobs.list_jobs)
        with w.refill(listed):
            _show_jobs(now, job)

    await JobView(context, job, list_jobs).show()
    _show_comparison(context, [one for one in found if one.started is not None], job)
    with listed:
        _show_jobs(found, job)
    listed.move(target_index=-1)


class JobView:
    """One job with its figures, kept fresh while it runs.

    Args:
        on_change: called when its state is another one.
    """

    def __init__(
        self, context: PageContext, job: Job, on_change: Callable[[], Awaitable[None]]
    ) -> None:
        self._context, self._job = context, job
        self._figures = Figures()
        self._lines, self._drawn = -1, Figures()
        self._on_change = on_change
        self._timer: ui.timer | None = None
        with w.card():
            self._status = JobStatus(context, "Progress")
            self._numbers = ui.element("div").classes("flow figures")
            self._curve = ui.element("div").classes("stack")
            self._answers = ui.element("div")
            self._log = EventLog()
        self._outcome = ui.element("div").classes("stack gap")

    async def show(self) -> None:
        """Show the job, and update it as long as it is not over."""
        await self._update()
        if self._job.status not in OVER:
            self._timer = ui.timer(LOOK_EVERY_S, self._update)

    async def _update(self) -> None:
        id, before, status = self._job.id, self._figures, self._job.status
        job, figures, tuning = await self._context.read(curves.look, id, before)
        self._job, self._figures = job, figures
        if job.status != status:
            await self._on_change()
        if self._status.show(job, _name_job(job, tuning)):
            with w.refill(self._outcome):
                outcome_card(self._context, job)
        with w.refill(self._numbers):
            _show_numbers(job, figures, tuning)
        if len(figures.said) != self._lines:
            self._lines = len(figures.said)
            self._log.show([log_line(at, line) for at, line in figures.said])
        drawn, self._drawn = self._drawn, figures
        if figures.rewards != drawn.rewards or len(figures.points) != len(drawn.points):
            self._curve.clear()
            with self._curve:
                if figures.rewards:
                    show_reward_charts(figures)
                elif figures.points:
                    w.term("Loss", MEANINGS["loss"])
                    w.picture(loss_chart(figures))
        if figures.rollouts != drawn.rollouts:  # they stay open while the curves go on
            with w.refill(self._answers):
                show_answers(self._context, figures)
        if job.status in OVER and self._timer is not None:
            self._timer.cancel()


def _name_job(job: Job, tuning: FineTuning | None) -> str:
    if tuning is None:
        return KINDS.get(job.kind, job.kind)
    return f"Fine-tuning of {tuning.request.model}"


def _show_numbers(job: Job, figures: Figures, tuning: FineTuning | None) -> None:
    progress = job.progress or {}
    if figures.rewards:
        show_reward_numbers(figures)
    elif figures.points:
        newest = figures.points[-1]
        total = f" of {figures.total:,}" if figures.total else ""
        w.figure(f"{newest['step']:,}{total}", "steps")
        loss = next((p["train_loss"] for p in figures.points[::-1] if p["train_loss"]), None)
        if loss is not None:
            w.figure(f"{loss:.3f}", "train loss")
        checked = [p["validation_loss"] for p in figures.points if p["validation_loss"] is not None]
        if checked:
            w.figure(f"{min(checked):.3f}", "best validation loss")
    if job.status == "running":
        speed = progress.get("effective_tokens_per_s") or progress.get("tokens_per_s")
        if speed:
            w.figure(f"{float(speed):,.0f}", "tokens per second")
        if progress.get("sharing_saved"):
            w.figure(str(progress["sharing_saved"]), "saved by shared prefixes", MEANINGS["saved"])
        if tuning is not None and tuning.finish is not None:
            left = max(0.0, (tuning.finish - datetime.now(UTC)).total_seconds())
            w.figure(f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s", "left (estimate)")
    if job.status == "succeeded" and tuning is not None and tuning.result is not None:
        w.figure(f"{tuning.result['trained_tokens']:,}", "tokens trained on")
        with ui.element("div").classes("figure"):
            w.text(str(tuning.result["model"]), "model-name", "div")
            w.link("Try it in the Playground", "/playground")


def _show_comparison(context: PageContext, ran: Sequence[Job], current: Job) -> None:
    """Another run to look at beside the current one, on a click."""
    others = {one.id: f"{_name_job(one, None)}, {format_time(one.created)}" for one in ran[:SHOWN]}
    others.pop(current.id, None)
    if not others or current.started is None:
        return
    with w.section(
        "Compare runs",
        "A lower loss, or a higher reward, is better if both runs used the same examples.",
    ):
        chosen = w.field("Compare with", ui.select(others), name="Run to compare with")
        shown = ui.element("div").classes("split")

        newest = LatestRequest()

        async def show() -> None:
            def read(context: PageContext) -> list[tuple[Job, Figures]]:
                ids = (current.id, str(chosen.value))
                return [curves.look(context.workspace, id, Figures())[:2] for id in ids]

            is_latest = newest.start()
            two = await context.do(read)
            if not is_latest():
                return
            with w.refill(shown):
                for job, figures in two:
                    _show_run(context, job, figures)

        chosen.on_value_change(show)


def _show_run(context: PageContext, job: Job, figures: Figures) -> None:
    with ui.element("div").classes("stack run"):
        w.text(f"{_name_job(job, None)}, {format_time(job.created)}", tag="h3")
        with w.row("figures"):
            _show_numbers(job, figures, None)
            w.figure(format_duration(job), "total time")
        if figures.rewards:
            show_reward_charts(figures)
            show_answers(context, figures)
        elif figures.points:
            w.picture(loss_chart(figures))
        else:
            w.text("This run has no curve.", "soft note")


def _show_jobs(found: Sequence[Job], current: Job) -> None:
    with (
        w.card(),
        w.table("Job", "State", "Created", "Duration", "Result", label="All jobs"),
    ):
        for job in found[:SHOWN]:
            with w.text("", "chosen" if job.id == current.id else "", "tr"):
                with w.text("", tag="td"):
                    w.link(KINDS.get(job.kind, job.kind), f"/training?id={job.id}")
                with w.text("", tag="td"):
                    state_badge(job)
                w.text(format_time(job.created), tag="td")
                w.text(format_duration(job), "whole", "td")
                with w.text("", tag="td"):
                    _show_result(job)


def _show_result(job: Job) -> None:
    result = job.result or {}
    if job.error:
        w.text(job_error(job, 160), "note bad", "div")
    elif "comparison" in result:
        w.link("View the verdict", f"/compare?id={result['comparison'][:16]}")
    elif "model" in result:
        w.text(str(result["model"]), tag="div")


PAGE = Page("/training", "Training", "model_training", "Build", "viewer", build)
