"""Training: what trains, waits or has ended, with its curve as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from nicegui import ui

from assay.jobs.fine_tuning import FineTuning
from assay.jobs.queue import OVER, Job
from assay.project import comparisons, jobs
from assay.project.jobs import curves
from assay.project.jobs import training as training_jobs
from assay.project.jobs.curves import Figures
from assay.studio.dialogs import telling
from assay.studio.frame import Page
from assay.studio.pages.training.forms import starting_card
from assay.studio.pages.training.outcomes import outcome
from assay.studio.session import Newest, Visit
from assay.studio.shared.job_progress import (
    KINDS,
    LOOK_EVERY_S,
    SHOWN_EVENTS,
    controls,
    doing,
    share,
    state_badge,
    took,
)
from assay.studio.widgets import (
    bar,
    card,
    empty,
    field,
    figure,
    heading,
    link,
    moment,
    named,
    picture,
    row,
    set_bar,
    table,
    term,
    text,
    title,
)

SHOWN = 50
MEANINGS = {
    "loss": (
        "How surprised the model is by the right answers: lower is better. Train: the examples it "
        "learns from. Validation: examples it never learns from. Where that one rises again, the "
        "model begins to learn by heart; the version before is kept."
    ),
    "saved": (
        "Work that was done once instead of again and again, because examples begin alike (the "
        "same instructions in each)."
    ),
}


async def build(visit: Visit) -> None:
    """The job that `?id=` names, else the newest, and all others under it."""
    found = await visit.do(lambda v: jobs.listed(v.workspace))
    title(
        "Training",
        "Long work of this folder. A training that is paused, or whose machine went down, goes on "
        "from where it was.",
    )
    starting_card(visit)
    if not found:
        empty("model_training", "Nothing has been trained yet",
              "A version is trained here; a comparison trains one where you let it; programs can "
              "ask for a fine-tuning through the API.", act=("Compare", "/compare"))  # fmt: skip
        return
    wanted = ui.context.client.request.query_params.get("id")
    kinds = (*curves.KINDS, *training_jobs.KINDS)
    trainings = [job for job in found if job.kind in kinds] or found
    job = next((one for one in found if one.id == wanted), trainings[0])
    await Following(visit, job).begin()
    _beside(visit, [one for one in found if one.started is not None], job)
    _list(found, job)


class Following:
    """One job with its figures, kept fresh while it runs."""

    def __init__(self, visit: Visit, job: Job) -> None:
        self.visit, self.job = visit, job
        self.figures = Figures()
        self._drawn = self._told = -1
        self._timer: ui.timer | None = None
        self._state: tuple[str, str | None] | None = None

    async def begin(self) -> None:
        """Draw it, and look again as long as it is not over."""
        with card():
            with row("spread"):
                self._head, self._controls = ui.element("div"), ui.element("div")
                self._head.classes("flow")
                self._controls.classes("flow")
            self._doing = text("", "soft")
            self._bar = bar(0.0, "Progress")
            self._numbers = ui.element("div").classes("flow figures")
            self._curve = ui.element("div").classes("stack")
            self._said = ui.element("div").classes("stack events").props("role=log")
        self._outcome = ui.element("div").classes("stack gap")
        await self.look()
        if self.job.status not in OVER:
            self._timer = ui.timer(LOOK_EVERY_S, self.look)

    async def look(self) -> None:
        """Read and show."""

        with telling():
            id, before = self.job.id, self.figures
            self.job, self.figures, tuning = await self.visit.do(
                lambda visit: curves.look(visit.workspace, id, before)
            )
            self._show(tuning)
            if self.job.status in OVER and self._timer is not None:
                self._timer.cancel()

    def _show(self, tuning: FineTuning | None) -> None:
        job = self.job
        if self._state != (job.status, job.wish):
            self._state = job.status, job.wish
            self._head.clear()
            with self._head:
                text(_name(job, tuning), tag="h2")
                state_badge(job)
            self._controls.clear()
            with self._controls:
                controls(self.visit, job)
            self._outcome.clear()
            with self._outcome:
                outcome(self.visit, job)
        self._doing.text = doing(job)
        set_bar(self._bar, share(job))
        self._numbers.clear()
        with self._numbers:
            _numbers(job, self.figures, tuning)
        if len(self.figures.said) != self._told:
            self._told = len(self.figures.said)
            self._said.clear()
            with self._said:
                for line in self.figures.said[-SHOWN_EVENTS:]:
                    text(line, "soft note")
        if len(self.figures.points) != self._drawn:
            self._drawn = len(self.figures.points)
            self._curve.clear()
            if self.figures.points:
                with self._curve:
                    term("Loss", MEANINGS["loss"])
                    drawn = self.figures.drawn()
                    picture(comparisons.curve_chart(drawn, self.figures.best_step))


def _name(job: Job, tuning: FineTuning | None) -> str:
    if tuning is None:
        return KINDS.get(job.kind, job.kind)
    return f"Fine-tuning of {tuning.request.model}"


def _numbers(job: Job, figures: Figures, tuning: FineTuning | None) -> None:
    progress = job.progress or {}
    if figures.points:
        newest = figures.points[-1]
        total = f" of {figures.total:,}" if figures.total else ""
        figure(f"{newest['step']:,}{total}", "steps")
        loss = next((p["train_loss"] for p in figures.points[::-1] if p["train_loss"]), None)
        if loss is not None:
            figure(f"{loss:.3f}", "train loss")
        checked = [p["validation_loss"] for p in figures.points if p["validation_loss"] is not None]
        if checked:
            figure(f"{min(checked):.3f}", "best validation loss")
    if job.status == "running":
        speed = progress.get("effective_tokens_per_s") or progress.get("tokens_per_s")
        if speed:
            figure(f"{float(speed):,.0f}", "tokens a second")
        if progress.get("sharing_saved"):
            figure(str(progress["sharing_saved"]), "saved by shared beginnings", MEANINGS["saved"])
        if tuning is not None and tuning.finish is not None:
            left = max(0.0, (tuning.finish - datetime.now(UTC)).total_seconds())
            figure(f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s", "left, about")
    if job.status == "succeeded" and tuning is not None and tuning.result is not None:
        figure(f"{tuning.result['trained_tokens']:,}", "tokens trained on")
        with ui.element("div").classes("figure"):
            text(str(tuning.result["model"]), "model-name", "div")
            link("Ask it", "/playground")


def _beside(visit: Visit, ran: Sequence[Job], current: Job) -> None:
    """Another run to look at beside the current one, on a click."""
    others = {one.id: f"{_name(one, None)}, {moment(one.created)}" for one in ran[:SHOWN]}
    others.pop(current.id, None)
    if not others or current.started is None:
        return
    with card():
        heading("Compare runs", "Lower curves are better, where both learned the same examples.")
        with field("This one, and"):
            chosen = ui.select(others)
            named(chosen, "Compare with the run")
        shown = ui.element("div").classes("split")

        newest = Newest()

        async def show() -> None:
            def read(visit: Visit) -> list[tuple[Job, Figures]]:
                ids = (current.id, str(chosen.value))
                return [curves.look(visit.workspace, id, Figures())[:2] for id in ids]

            is_newest = newest.begun()
            with telling():
                two = await visit.do(read)
                if not is_newest():
                    return
                shown.clear()
                with shown:
                    for job, figures in two:
                        _run(job, figures)

        chosen.on_value_change(show)


def _run(job: Job, figures: Figures) -> None:
    with ui.element("div").classes("stack run"):
        text(f"{_name(job, None)}, {moment(job.created)}", tag="h3")
        with row("figures"):
            _numbers(job, figures, None)
            figure(took(job), "in all")
        if figures.points:
            picture(comparisons.curve_chart(figures.drawn(), figures.best_step))
        else:
            text("It has no curve.", "soft note")


def _list(found: Sequence[Job], current: Job) -> None:
    with (
        card(),
        table("Job", "State", "Begun", "Took", "What came of it", label="All long work"),
    ):
        for job in found[:SHOWN]:
            with text("", "chosen" if job.id == current.id else "", "tr"):
                with text("", tag="td"):
                    link(KINDS.get(job.kind, job.kind), f"/training?id={job.id}")
                with text("", tag="td"):
                    state_badge(job)
                text(f"{job.created:%d %b %Y, %H:%M}", tag="td")
                text(took(job), tag="td")
                with text("", tag="td"):
                    _result(job)


def _result(job: Job) -> None:
    result = job.result or {}
    if job.error:
        text(job.error[:160], "note bad", "div")
    elif "comparison" in result:
        link("the verdict", f"/compare?id={result['comparison'][:16]}")
    elif "model" in result:
        text(str(result["model"]), tag="div")


PAGE = Page("/training", "Training", "model_training", "Build", "viewer", build)
