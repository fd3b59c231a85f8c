"""Compare: the verdict first, then what it rests on, down to single answers."""

from __future__ import annotations

from nicegui import ui

from assay.compare.report import wording
from assay.compare.result import Result
from assay.jobs.queue import OVER
from assay.project import comparisons, jobs
from assay.project.comparisons import Summary
from assay.studio.dialogs import telling
from assay.studio.frame import Page
from assay.studio.pages.compare.answers import answers_card
from assay.studio.pages.start.page import compare
from assay.studio.session import Visit
from assay.studio.shared.job_progress import Running
from assay.studio.shared.promotion import promotion
from assay.studio.shared.verdict import MEANINGS, candidates_table, ranked, verdict_card
from assay.studio.widgets import (
    badge,
    button,
    card,
    cells,
    empty,
    field,
    heading,
    line,
    named,
    picture,
    row,
    table,
    term,
    text,
    title,
)

OUTCOMES = {"recommend": "good", "none": "bad", "cannot_tell": "warn"}


async def build(visit: Visit) -> None:
    """The comparison that `?id=` names, else the newest."""
    query = ui.context.client.request.query_params

    def read(visit: Visit) -> tuple[list[Summary], Result | None]:
        found = comparisons.summaries(visit.workspace)
        wanted = query.get("id", "")
        id = next((s.id for s in found if wanted and s.id.startswith(wanted)), None)
        id = id or (found[0].id if found and not wanted else None)
        return found, comparisons.result(visit.workspace, id) if id else None

    found, result = await visit.do(read)
    title(
        "Compare",
        "All candidates on the same locked examples: what each is worth, and whether the "
        "difference is real.",
    )
    await _again(visit, bool(found))
    if result is None:
        if query.get("id"):
            empty("search_off", "There is no such comparison", "It may be of another folder.",
                  act=("See the newest", "/compare"))  # fmt: skip
        elif visit.workspace.project is None:
            empty("balance", "Nothing has been compared yet", "It begins with a file of examples.",
                  act=("Bring examples", "/"))  # fmt: skip
        else:
            why = "A comparison opens the locked examples once, and ends in a verdict."
            empty("balance", "Nothing has been compared yet", why)
        return
    _chooser(found, result)
    verdict_card(result)
    _tried(result)
    _pairs(result)
    _together(result)
    _costs(result)
    answers_card(visit, result)
    await _promote(visit, result)
    _openings(result)
    _export(visit, result)


async def _again(visit: Visit, before: bool) -> None:
    if visit.workspace.project is None:
        return
    found = await visit.do(lambda v: jobs.listed(v.workspace, jobs.COMPARE))
    going = [job for job in found if job.status not in OVER]
    if going:
        Running(visit, going[0], "Comparing", lambda _: ui.navigate.reload())
        return
    if found and found[0].status == "failed":
        with card("lost"):
            heading("The last comparison failed", str(found[0].error))
    if not visit.may("editor"):
        return

    async def click() -> None:
        with telling():
            await visit.do(compare)
            ui.navigate.to("/compare")

    with row():
        label = "Compare again" if before else "Start a comparison"
        button(label, click, kind="" if before else "primary", icon="play_arrow")
        if before:
            text("Where nothing has changed, the locked examples stay closed.", "soft note")


def _chooser(found: list[Summary], result: Result) -> None:
    if len(found) < 2:
        return

    def words(one: Summary) -> str:
        if one.verdict.outcome == "recommend":
            said = f"use {one.verdict.recommend}"
        else:
            said = "none" if one.verdict.outcome == "none" else "cannot tell"
        return f"{one.at:%d %b %Y, %H:%M} · {said} · {one.candidates} candidates"

    with field("Comparison"):
        chosen = ui.select({one.id: words(one) for one in found}, value=result.comparison)
        named(chosen, "Comparison")
        chosen.on_value_change(lambda event: ui.navigate.to(f"/compare?id={event.value[:16]}"))


def _tried(result: Result) -> None:
    with card():
        heading("What was tried", "The bar is where the truth probably lies; dashed: good enough.")
        picture(comparisons.score_chart(result))
        candidates_table(result)


def _pairs(result: Result) -> None:
    if not result.pairs:
        return
    points = f"{100 * result.margin:g}"
    with card():
        heading(
            "Who beats whom",
            f"Difference in right answers of 100. Within the band ({points} points) it does not "
            "matter to you.",
        )
        picture(comparisons.forest_chart(result.pairs, result.margin))
        with ui.element("details"):
            text("The figures", tag="summary")
            with table("Pair", "#Difference", "#Likely", "#p, corrected", "", "#Only the first",
                       "#Only the second", label="Pairs of candidates"):  # fmt: skip
                for p in result.pairs:
                    with cells(
                        f"{p.a} − {p.b}",
                        f"#{100 * p.difference:+.1f}",
                        f"#{100 * p.low:+.1f} to {100 * p.high:+.1f}",
                        f"#{p.p_adjusted:.2g}",
                    ):
                        with text("", tag="td"):
                            kind = {"better": "good", "worse": "bad"}.get(p.call, "")
                            badge(wording.CALLS[p.call], kind)
                        for count in (p.a_only, p.b_only):
                            text("–" if count is None else f"{count}", "number", "td")
        with row():
            effect = f"{100 * result.minimum_detectable_effect:.1f} points"
            term(f"This comparison could show differences of about {effect}.", MEANINGS["effect"])


def _together(result: Result) -> None:
    if not result.additions:
        return
    with card():
        heading(
            "What each adds to the other",
            "Points of 100, with their likely range. It explains; no verdict rests on it.",
        )
        for square in result.additions:
            adding = f"{square.a} and {square.b}"
            with table("Adding", "#Alone", "#On top of the other", label=adding):
                effects = (square.a_alone, square.a_beside), (square.b_alone, square.b_beside)
                for name, (alone, beside) in zip((square.a, square.b), effects, strict=True):
                    line(name, f"#{wording.effect(alone)}", f"#{wording.effect(beside)}")
            text(wording.together(square), "soft")


def _costs(result: Result) -> None:
    chart = comparisons.cost_chart(result)
    if not chart:
        return
    with card():
        heading("Cost against quality", f"At {result.monthly_requests:,} requests a month.")
        picture(chart)
        with ui.element("details"):
            text("What it is made of", tag="summary")
            with table("Candidate", "#Collecting", "#Training", "#Requests", "#Upkeep",
                       "#First year", label="Cost by part"):  # fmt: skip
                for one in ranked(result):
                    parts = one.cost
                    amounts = (
                        parts.curation_usd,
                        parts.training_usd,
                        parts.requests_usd,
                        parts.upkeep_usd,
                        one.yearly_cost,
                    )
                    line(one.name, *(f"#{wording.usd(amount)}" for amount in amounts))


async def _promote(visit: Visit, result: Result) -> None:
    if not visit.may("editor") or visit.workspace.config is None:
        return
    agents = [c for c in ranked(result) if c.kind != "outside"]
    found = await visit.do(lambda v: comparisons.labels(v.workspace, [c.agent for c in agents]))
    labels = {found[c.agent]: c.name for c in agents if c.agent in found}
    if not labels:
        return
    name = visit.workspace.config.name
    with card():
        heading("Put one to work")
        best = result.verdict.recommend or result.verdict.use_meanwhile
        first = next((label for label, c in labels.items() if c == best), next(iter(labels)))
        with field("Candidate"):
            chosen = ui.select(
                {label: f"{c} ({label})" for label, c in labels.items()}, value=first
            )
            named(chosen, "Candidate")
        form = ui.element("div").classes("stack")

        def show() -> None:
            form.clear()
            with form:
                promotion(visit, chosen.value, name, lambda _: ui.navigate.to("/releases"))

        chosen.on_value_change(show)
        show()


def _openings(result: Result) -> None:
    with card():
        heading(
            "How often the lock was opened",
            "Each opening makes the next verdict harder to reach, so that luck is not mistaken for "
            "progress.",
        )
        with table("#Opening", "When", "Why", "#Level", label="Openings of the holdout"):
            for one in result.openings:
                at = one.at[:16].replace("T", " ")
                line(f"#{one.number}", at, one.reason, f"#{one.alpha:.3g}")


def _export(visit: Visit, result: Result) -> None:
    with card():
        heading("Take it with you", "One file that opens in any browser, without a network.")
        hide = ui.checkbox("Leave out questions and answers")

        async def click() -> None:
            with telling():
                path = await visit.do(
                    lambda v: comparisons.report(v.workspace, result.comparison, redact=hide.value)
                )
                ui.download(path.read_bytes(), f"report-{result.comparison[:12]}.html")

        with row():
            button("Download the report", click, icon="download")


PAGE = Page("/compare", "Compare", "balance", "Prove", "viewer", build)
