"""Start: from a file of examples to something that answers, step by step.

Where a newcomer is follows from the folder alone (a file, a project, a job, a result, a release),
so that a reload, another browser or the command line never lose the place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from fastapi.responses import RedirectResponse
from nicegui import app as pages_app
from nicegui import ui
from nicegui.element import Element

from assay.compare.findings import LEAST_UNITS
from assay.compare.naming import in_words
from assay.compare.report import wording
from assay.compare.report.detectable import ASSUMPTION
from assay.compare.result import Result
from assay.errors import StateError, on_page
from assay.jobs.queue import OVER, Job
from assay.project import comparisons, jobs, releases
from assay.project.estimate import Estimate
from assay.project.fingerprint import fingerprint
from assay.project.forecast import recent_pace
from assay.project.knowledge.searching import has_other_documents
from assay.project.provider_costs import describe_costs, total_usd
from assay.project.releases.scores import find_scores
from assay.project.start.example_file import find_file
from assay.project.start.running_creation import Creation, read_creation
from assay.project.workspace import Workspace
from assay.release.releases import find_promotion
from assay.studio import widgets as w
from assay.studio.access import PREFIX
from assay.studio.browser import lead_to
from assay.studio.dialogs import show_error
from assay.studio.frame import Page
from assay.studio.pages.start.creation import creation_card
from assay.studio.pages.start.example_file import file_step
from assay.studio.pages.start.new_project import ProposalStep
from assay.studio.session import PageContext, Refresh
from assay.studio.shared.another_project import another_project
from assay.studio.shared.changes import changes_line
from assay.studio.shared.chat import chat_card, snippets_card
from assay.studio.shared.job_progress import JobCard, job_error, start_comparison
from assay.studio.shared.names import exact_label, plain_label
from assay.studio.shared.promotion import promotion_form
from assay.studio.shared.unused_labels import show_unused_labels
from assay.studio.shared.verdict import (
    MEANINGS,
    candidates_table,
    find_recommended,
    verdict_card,
    warn_of_other_documents,
)

Step = Literal["file", "proposal", "comparison", "verdict", "work"]
STEPS: dict[Step, str] = {
    "file": "Examples",
    "proposal": "Project",
    "comparison": "Comparison",
    "verdict": "Verdict",
    "work": "Release",
}
LONG_S = 600
"""An estimate that is longer says which candidates take the time, `MOST_SLOW` of them at most."""
MOST_SLOW = 3
CANDIDATES = "/settings?setting=candidates"
LEFT_OUT = "Rows that cannot be used, such as those whose label is not in Settings. See Data."


@dataclass(frozen=True, slots=True)
class Stage:
    """How far the folder is.

    Attributes:
        older: the agent that the release serves, the one that the verdict says to use in its
            place, and what the former scored ("" where it was not measured).
        promoted: what the release serves and why, where that took a reason and `older` is None.
        other_documents: the comparison was made with other documents than the present ones.
        creation: of the project, which runs or has failed.
    """

    step: Step
    job: Job | None = None
    result: Result | None = None
    release: str | None = None
    older: tuple[str, str, str] | None = None
    promoted: str = ""
    other_documents: bool = False
    creation: Creation | None = None


def read_stage(context: PageContext) -> Stage:
    """Find how far the folder is, from what is in it."""
    workspace = context.workspace
    creation = read_creation(workspace)  # before the project, which may come meanwhile
    if creation is not None and creation.error is None:
        return Stage("proposal", creation=creation)
    if workspace.project is None:
        return Stage("proposal" if find_file(workspace) else "file", creation=creation)
    found = jobs.list_jobs(workspace, jobs.COMPARE)
    job = found[0] if found else None
    if job is not None and job.status not in OVER:
        return Stage("comparison", job)
    result = comparisons.newest(workspace)
    if result is None:
        return Stage("comparison", job)
    served = releases.list_releases(workspace)
    other = has_other_documents(workspace, (one.agent for one in result.candidates))
    if served:
        older = _find_older(context, result, served[0])
        promoted = "" if older else say_why_promoted(workspace, served[0])
        return Stage("work", job, in_words(result), served[0]["name"], older, promoted, other)
    return Stage("verdict", job, in_words(result), other_documents=other)


def _find_older(
    context: PageContext, result: Result, served: dict[str, Any]
) -> tuple[str, str, str] | None:
    best, label = find_recommended(result), str(served["agent"])
    if best is None or best.agent == served["agent_id"]:
        return None
    named = comparisons.labels(context.workspace, [best.agent])[best.agent]
    found = find_scores(context.workspace, served["agent_id"], served["comparison"])
    return label, named, found.phrase


def say_why_promoted(workspace: Workspace, served: dict[str, Any]) -> str:
    """Which agent a release serves and for what reason it was promoted; "" where the comparison
    was reason enough.

    Args:
        served: the release as `list_releases` has it.
    """
    changes = releases.history(workspace, served["name"])
    if not find_promotion(changes).reason:
        return ""
    said = releases.describe_promotion(workspace, changes)
    return f"{served['name']} runs {exact_label(served['agent'])}. {said}"


async def build(context: PageContext) -> None:
    """The whole way; what is behind is short, what is next is open."""
    shown = ui.element("div").classes("stack gap")
    before: Step | None = None

    async def refresh() -> None:
        nonlocal before
        with w.refill(shown):
            now = await context.do(read_stage)
            current = _show_steps(now.step)
            await _BUILD[now.step](context, now, refresh)
            if context.workspace.project is not None:
                another_project(context)
        if before not in (None, now.step):
            lead_to(current)  # what had the focus is gone, and the keyboard would begin at the top
        before = now.step

    w.title(
        "Find out which approach is worth its cost",
        "Upload examples of one task: inputs and expected outputs. Assay builds several candidates "
        "for it, measures them on a locked holdout, and says which one to use.",
    )
    shown.move(target_index=-1)
    await refresh()


def _show_steps(now: Step) -> Element:
    """The list of steps; returned is the current one."""
    items: dict[Step, Element] = {}
    with w.text("", "steps", "ol"):
        for step, label in STEPS.items():
            items[step] = item = w.text(label, tag="li")
            if now not in items:
                item.classes("past")
    items[now].props("aria-current=step tabindex=-1")
    return items[now]


async def _show_project(context: PageContext, now: Stage, refresh: Refresh) -> None:
    failed = ""
    if now.creation is not None:
        if now.creation.error is None:
            creation_card(context, now.creation)
            return
        failed = f"The last try to create the project failed: {on_page(now.creation.error)}"
    await ProposalStep(context, refresh, failed).show()


async def _show_comparison(context: PageContext, now: Stage, refresh: Refresh) -> None:
    if now.job is not None and now.job.status not in OVER:
        JobCard(context, now.job, "Comparing", lambda _: ui.navigate.reload())
        w.text("You can close this page: a running job continues, a paused one waits.", "soft note")
        return
    with w.section(
        "Compare the candidates",
        "Candidates learn from one part of your examples; their settings are chosen on a second. "
        "The verdict is based on a third, the holdout, which is locked and which none of them has "
        "seen.",
    ):
        if now.job is not None and now.job.status == "failed":
            w.sentence(f"The last comparison failed. {job_error(now.job)}", "bad")
        estimated = ui.element("div").classes("stack gap")

        async def click() -> None:
            agreed = await context.read(fingerprint)
            try:
                await context.do(start_comparison, reason="started in the studio", agreed=agreed)
            except StateError as error:  # somebody else has started one: it is shown
                show_error(error)
            await refresh()

        async def show() -> None:
            with estimated:
                is_known = await _show_estimate(context)
                if is_known:
                    show_unused_labels(context, refresh)
            if start is not None and not start.is_deleted:
                start.set_enabled(is_known)  # what has no estimate would end in the same error

        start = None
        is_begun = now.job is not None and now.job.status == "cancelled"
        label = "Continue the comparison" if is_begun else "Start the comparison"
        if context.may("editor"):
            with w.row():
                start = w.button(label, click, kind="primary", icon="play_arrow")
                start.disable()
        else:
            w.text("An editor can start it.", "soft")
        ui.timer(0.05, show, once=True)


async def _show_estimate(context: PageContext) -> bool:
    """What a comparison will take and can show; False: why there is none is shown instead."""

    def estimate(context: PageContext) -> tuple[list[tuple[str, str, str]], bool, str]:
        project = context.workspace.project
        assert project is not None
        found, sizes = project.estimate(pace=recent_pace()), project.sizes()
        rejected = project.split().rejected
        minutes = found.seconds / 60
        effect = 100 * found.minimum_detectable_effect
        costs, total = found.provider_costs, total_usd(found.provider_costs)
        paid = "cost unknown" if total is None else f"at most {wording.usd(total)}"
        can_tell = sizes.holdout >= LEAST_UNITS
        figures = [
            (f"{sizes.train:,}", "for training", "Shown to models or used to train them."),
            (f"{sizes.validation:,}", "for validation", "Used to choose settings."),
            (f"{sizes.holdout:,}", "in the holdout", "The verdict is based on these alone."),
            *([(f"{rejected:,}", "left out", LEFT_OUT)] if rejected else []),
            (
                f"about {minutes:.0f} min" if minutes >= 1 else "under 1 min",
                "on this machine",
                "As fast as this machine is now, beside other work.",
            ),
            *(
                [(paid, "for models at providers", " ".join(describe_costs(costs)))]
                if costs
                else []
            ),
        ]
        if can_tell:
            smallest = "of 100: so large a lead is noticed in 8 of 10 comparisons"
            meaning = f"{MEANINGS['effect']} This holds {ASSUMPTION}."
            figures.append((f"about {effect:.0f} points", smallest, meaning))
        return figures, can_tell, say_slowest(found)

    config = context.workspace.config
    found = await w.load(
        "Counting examples and estimating how long it will take",
        context.do(estimate),
        failed="The comparison cannot be started yet",
    )
    if found is None:
        if not context.may("editor"):
            return False
        with w.row():
            w.link_button("Correct the examples", "/data", kind="")
            of_columns = config is not None and config.data.columns is not None
            setting = "data.columns.input" if of_columns else "data.file"
            w.link_button("Change columns or labels", f"/settings?setting={setting}", kind="")
        return False
    figures, can_tell, slowest = found
    with w.row("figures"):
        for one in figures:
            w.figure(*one)
    if slowest:
        w.text(slowest, "soft note")
    more = "Add examples on the page Data, or raise “Holdout” on the page Settings."
    enlarge = ("Raise the share of the holdout", "/settings?setting=data.split.holdout")
    if config is not None and config.data.holdout is not None:
        more = f"Add examples to {config.data.holdout}, or name a larger file on the page Settings."
        enlarge = ("Name another holdout file", "/settings?setting=data.holdout")
    if not can_tell:
        w.text(
            f"This cannot end in a verdict: it needs at least {LEAST_UNITS} examples in the "
            f"holdout. {more}",
            "warn",
        )
    if context.may("editor"):
        if can_tell:
            w.link("Leave candidates out, or change other settings", CANDIDATES)
        else:
            w.link(*enlarge)
    return True


def say_slowest(found: Estimate) -> str:
    """Which candidates take most of the time, where it is long."""
    if found.seconds < LONG_S:
        return ""
    slowest = sorted(found.parts, key=lambda part: -part[1])[:MOST_SLOW]
    said = [
        f"{plain_label(name)} about {seconds / 60:.0f} min"
        for name, seconds in slowest
        if name and seconds > found.seconds / 10
    ]
    return f"Most of the time is for: {', '.join(said)}." if said else ""


def _show_card(context: PageContext, result: Result, *, other_documents: bool) -> None:
    changes_line(context, shown_last=True, link=True)
    verdict_card(result)
    if other_documents:
        warn_of_other_documents()


async def _show_verdict(context: PageContext, now: Stage, refresh: Refresh) -> None:
    assert now.result is not None
    _show_card(context, now.result, other_documents=now.other_documents)
    with w.section("All candidates"):
        candidates_table(now.result)
        w.link("View individual answers", f"/compare?id={now.result.comparison[:16]}")
    best = find_recommended(now.result)
    if best is None and context.may("editor"):
        with w.row():
            w.link("Let other candidates take part, or change other settings", CANDIDATES)
            w.link("Compare again", "/compare")
    if best is None or best.kind == "outside" or not context.may("editor"):
        return
    labels = await context.read(comparisons.labels, [best.agent])
    with w.section("Create a release", "Programs can then call it with any OpenAI client."):
        config = context.workspace.config
        name = config.name if config is not None else best.name
        await promotion_form(context, labels[best.agent], name, lambda _: refresh())


async def _show_release(context: PageContext, now: Stage, refresh: Refresh) -> None:
    assert now.result is not None
    assert now.release is not None
    _show_card(context, now.result, other_documents=now.other_documents)
    if now.older is not None:
        _show_older(context, now.release, *now.older)
    if now.promoted:
        with w.card("open"):
            w.text(now.promoted)
    await chat_card(context, now.release)
    snippets_card(context, now.release)
    with w.row():
        w.link("Releases and their history", "/releases")
        w.link("Try several side by side", "/playground")


def _show_older(context: PageContext, release: str, label: str, named: str, score: str) -> None:
    if label == named:
        return
    if label.partition("@")[0] == named.partition("@")[0]:
        other = f"The verdict above is about {exact_label(named)}, which the newer comparison built"
    else:
        other = f"The verdict above names another agent, {exact_label(named)}"
    scored = f", which scored {score}" if score else ""
    said = f"{release} runs {exact_label(label)}{scored}. {other}"
    with w.card("open"), w.row("spread"):
        if not context.may("editor"):
            w.text(f"{said}.")
            return
        w.text(f"{said}; to have that one answer, promote it.")
        w.link("Change the agent", f"/releases?name={release}")


_BUILD: dict[Step, Callable[[PageContext, Stage, Refresh], Awaitable[None]]] = {
    "file": lambda context, _, refresh: file_step(context, refresh),
    "proposal": _show_project,
    "comparison": _show_comparison,
    "verdict": _show_verdict,
    "work": _show_release,
}


@pages_app.get("/start", include_in_schema=False)
def lead_to_start() -> RedirectResponse:
    """The page lies at the root of the studio; people type its name."""
    return RedirectResponse(f"{PREFIX}/")


PAGE = Page("/", "Start", "flag", "Build", "viewer", build)
