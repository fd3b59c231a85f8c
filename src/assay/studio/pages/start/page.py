"""Start: from a file of examples to something that answers, step by step.

Where a newcomer is follows from the folder alone (a file, a project, a job, a result, a release),
so that a reload, another browser or the command line never lose the place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from nicegui import ui

from assay.compare.result import Result
from assay.jobs.queue import OVER, Job
from assay.project import comparisons, jobs, releases
from assay.project.start.from_file import kept_file
from assay.studio.dialogs import telling
from assay.studio.frame import Page
from assay.studio.pages.start.new_project import choose_file, look_at_file
from assay.studio.session import Visit, action
from assay.studio.shared.chat import call_it, chat
from assay.studio.shared.job_progress import Running
from assay.studio.shared.promotion import promotion
from assay.studio.shared.verdict import MEANINGS, candidates_table, named, verdict_card
from assay.studio.widgets import button, card, figure, heading, link, row, text, title, waiting

Step = Literal["file", "proposal", "comparison", "verdict", "work"]
STEPS: dict[Step, str] = {
    "file": "Your examples",
    "proposal": "What was found",
    "comparison": "Compare",
    "verdict": "Verdict",
    "work": "At work",
}


@dataclass(frozen=True, slots=True)
class Place:
    """How far the folder is."""

    step: Step
    job: Job | None = None
    result: Result | None = None
    release: str | None = None


def place(visit: Visit) -> Place:
    """Find out."""
    workspace = visit.workspace
    if workspace.project is None:
        return Place("proposal" if kept_file(workspace) else "file")
    found = jobs.listed(workspace, jobs.COMPARE)
    job = found[0] if found else None
    if job is not None and job.status not in OVER:
        return Place("comparison", job)
    result = comparisons.newest(workspace)
    if result is None:
        return Place("comparison", job)
    served = releases.listed(workspace)
    if served:
        return Place("work", job, result, served[0]["name"])
    return Place("verdict", job, result)


@action("editor")
def compare(visit: Visit) -> Job:
    """Queue a comparison."""
    return jobs.compare(visit.workspace, reason="the studio")


async def build(visit: Visit) -> None:
    """The whole way; what is behind is short, what is next is open."""
    shown = ui.element("div").classes("stack gap")

    async def refresh() -> None:
        shown.clear()
        with shown, telling():
            now = await visit.do(place)
            _steps(now.step)
            await _BUILD[now.step](visit, now, refresh)

    title(
        "Find out what is worth it",
        "Bring examples of one job: what comes in, and what should come out. Assay builds several "
        "specialists for it, measures them on examples it has locked away, and says which to use.",
    )
    shown.move(target_index=-1)
    await refresh()


Refresh = Callable[[], Awaitable[None]]


def _steps(now: Step) -> None:
    with text("", "steps", "ol"):
        past = True
        for step, label in STEPS.items():
            item = text(label, tag="li")
            if step == now:
                item.props("aria-current=step")
                past = False
            elif past:
                item.classes("past")


async def _file(visit: Visit, now: Place, refresh: Refresh) -> None:
    choose_file(visit, refresh)


async def _proposal(visit: Visit, now: Place, refresh: Refresh) -> None:
    await look_at_file(visit, refresh)


async def _comparison(visit: Visit, now: Place, refresh: Refresh) -> None:
    if now.job is not None and now.job.status not in OVER:
        Running(visit, now.job, "Comparing", lambda _: ui.navigate.reload())
        text("You may close this page; the work goes on.", "soft note")
        return
    with card():
        heading(
            "Compare the candidates",
            "Everything that can be chosen is chosen on one part of your examples. The verdict is "
            "drawn on another, which stays locked until then.",
        )
        if now.job is not None and now.job.status == "failed":
            text(f"The last comparison failed. {now.job.error}", "bad")
        estimated = waiting("Counting examples and estimating how long it will take")
        ui.timer(0.05, lambda: _estimate(visit, estimated), once=True)
        if visit.may("editor"):

            async def click() -> None:
                with telling():
                    await visit.do(compare)
                    await refresh()

            with row():
                button("Start the comparison", click, kind="primary", icon="play_arrow")
        else:
            text("An editor can start it.", "soft")


async def _estimate(visit: Visit, place_of: ui.element) -> None:
    def estimate(visit: Visit) -> list[tuple[str, str, str]]:
        project = visit.workspace.project
        assert project is not None
        found, sizes = project.estimate(), project.sizes()
        minutes = found.seconds / 60
        effect = 100 * found.minimum_detectable_effect
        return [
            (f"{sizes.train:,}", "to learn from", "Shown to models or trained on."),
            (f"{sizes.validation:,}", "to choose by", "Settings are chosen on these."),
            (f"{sizes.holdout:,}", "locked away", "The verdict is drawn on these alone."),
            (f"about {minutes:.0f} min" if minutes >= 1 else "a minute", "of this machine", ""),
            (f"{effect:.0f} in 100", "can be told apart", MEANINGS["effect"]),
        ]

    with telling():
        figures = await visit.do(estimate)
        place_of.clear()
        place_of.classes("flow figures", remove="waiting")
        with place_of:
            for one in figures:
                figure(*one)


async def _verdict(visit: Visit, now: Place, refresh: Refresh) -> None:
    assert now.result is not None
    verdict_card(now.result)
    with card():
        heading("All that was tried")
        candidates_table(now.result)
        link("Look at the answers, one by one", f"/compare?id={now.result.comparison[:16]}")
    best = named(now.result)
    if best is None or not visit.may("editor"):
        return
    labels = await visit.do(lambda v: comparisons.labels(v.workspace, [best.agent]))
    with card():
        heading("Put it to work", "From then on programs can call it, as they would call OpenAI.")
        config = visit.workspace.config
        name = config.name if config is not None else best.name
        promotion(visit, labels[best.agent], name, lambda _: refresh())


async def _work(visit: Visit, now: Place, refresh: Refresh) -> None:
    assert now.result is not None
    assert now.release is not None
    verdict_card(now.result)
    chat(visit, now.release)
    call_it(visit, now.release)
    with row():
        link("What runs, and its history", "/releases")
        link("Try several side by side", "/playground")


_BUILD: dict[Step, Callable[[Visit, Place, Refresh], Awaitable[None]]] = {
    "file": _file,
    "proposal": _proposal,
    "comparison": _comparison,
    "verdict": _verdict,
    "work": _work,
}

PAGE = Page("/", "Start", "flag", "Build", "viewer", build)
