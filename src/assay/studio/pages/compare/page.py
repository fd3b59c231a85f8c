"""Compare: the verdict first, then what it rests on, down to single answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from urllib.parse import quote

from markupsafe import Markup
from nicegui import ui

from assay.compare.naming import in_words
from assay.compare.reasons import signed
from assay.compare.report import charts, detectable, differences, powered, second_look, wording
from assay.compare.result import Result
from assay.errors import on_page
from assay.jobs.queue import OVER
from assay.project import comparisons, jobs
from assay.project.comparisons import Summary
from assay.project.fingerprint import fingerprint
from assay.project.knowledge.searching import has_other_documents
from assay.quantities import say_count, say_number, say_share
from assay.release.releases import Release
from assay.studio import widgets as w
from assay.studio.dialogs import confirm
from assay.studio.frame import Page
from assay.studio.pages.compare.answers import answers_card
from assay.studio.pages.compare.dialogues import dialogues_card
from assay.studio.session import PageContext
from assay.studio.shared.changes import changes_line, describe_changes, list_changes
from assay.studio.shared.job_progress import JobCard, job_error, start_comparison
from assay.studio.shared.promotion import promotion_chooser
from assay.studio.shared.verdict import (
    MEANINGS,
    candidates_table,
    fields_table,
    verdict_card,
    warn_of_other_documents,
)
from assay.studio.words import format_time


async def build(context: PageContext) -> None:
    """The comparison that `?id=` names, else the newest."""
    query = ui.context.client.request.query_params

    def read(context: PageContext) -> tuple[list[Summary], Result | None, bool]:
        found = comparisons.summaries(context.workspace)
        wanted = query.get("id", "")
        id = next((s.id for s in found if wanted and s.id.startswith(wanted)), None)
        id = id or (found[0].id if found and not wanted else None)
        if id is None:
            return found, None, False
        result = comparisons.result(context.workspace, id)
        agents = (one.agent for one in result.candidates)
        return found, in_words(result), has_other_documents(context.workspace, agents)

    found, result, other_documents = await context.do(read)
    w.title(
        "Compare",
        "All candidates measured on the same holdout: how good each one is, and whether the "
        "differences are real.",
    )
    shown_last = result is not None and result.comparison == found[0].id
    if await _show_start(context, bool(found), shown_last) and result is None:
        return
    if result is None:
        none_yet = "No comparisons yet"
        if query.get("id"):
            newest = ("View the newest", "/compare")
            why = "It may belong to another folder."
            w.empty("search_off", "There is no such comparison", why, act=newest)
        elif context.workspace.project is None:
            act = ("Add examples", "/") if context.may("editor") else None
            w.empty("balance", none_yet, "A comparison needs a file of examples.", act=act)
        else:
            why = "A comparison opens the holdout once and ends with a verdict."
            w.empty("balance", none_yet, why)
        return
    _show_chooser(found, result)
    verdict_card(result)
    if other_documents:
        warn_of_other_documents()
    _show_candidates(result)
    _show_pairs(result)
    _show_powered(result)
    dialogues_card(result)
    _show_additions(result)
    _show_costs(result)
    _show_second_look(result)
    answers_card(context, result)
    await _show_promotion(context, result)
    _show_openings(result)
    _show_export(context, result)


async def _show_start(context: PageContext, before: bool, shown_last: bool) -> bool:
    """How a comparison is started; True where it says what becomes, or became, of the last one.

    Args:
        before: there is a finished comparison; `shown_last`: the newest one is shown.
    """
    if context.workspace.project is None:
        return False
    found = await context.read(jobs.list_jobs, jobs.COMPARE)
    going = [job for job in found if job.status not in OVER]
    if going:
        JobCard(context, going[0], "Comparing", lambda _: ui.navigate.reload())
        return True
    last = found[0].status if found else ""
    if last == "cancelled":
        with w.card():
            w.heading(
                "The last comparison was cancelled",
                "What had been built and answered is kept: another run with the same examples and "
                "settings goes on from there.",
            )
    if found and found[0].status == "failed":
        with w.card("lost"):
            w.heading("The last comparison failed", job_error(found[0]))
    if before:
        changes_line(context, shown_last=shown_last)
    if not context.may("editor"):
        return last == "cancelled"

    async def click() -> None:
        start.props("loading")
        try:
            agreed = await context.read(fingerprint)  # first, then what it is asked about
            if before and not await _agree_to_open(context):
                return
            await context.do(start_comparison, reason="started in the studio", agreed=agreed)
        finally:
            start.props(remove="loading")
        ui.navigate.to("/compare")

    with w.row():
        label = "Compare again" if before else "Start a comparison"
        label = "Continue the comparison" if last == "cancelled" else label
        start = w.button(label, click, kind="" if before else "primary", icon="play_arrow")
        if before:
            w.text("You are asked first wherever the holdout would be opened again.", "soft note")
    return last == "cancelled"


async def _agree_to_open(context: PageContext) -> bool:
    """Whether the holdout may be opened once more, where comparing again would need that."""
    found = await context.read(comparisons.changes)
    coming = found.opening
    if coming is None:
        return True
    perhaps = (f"perhaps {one}" for one in found.perhaps)
    what = describe_changes([*list_changes(found), *perhaps])
    if coming.number == 1:
        return await confirm(
            "Compare on the new holdout?", f"{what} It is opened for the first time.", "Compare"
        )
    return await confirm(
        f"Open the holdout for the {wording.ordinal(coming.number)} time?",
        f"{what} If that changes a candidate, or what the verdict needs (minimum score, margin, "
        "grader), the holdout is used once more. So that luck is not mistaken for progress, the "
        f"verdict then requires stronger proof: a chance of error of {say_share(coming.level, 2)} "
        f"instead of {say_share(coming.first_level, 2)} the first time. With a new holdout "
        "(“Replace the holdout” on the page Data) this starts again from the first time.",
        "Compare again",
    )


def _show_chooser(found: list[Summary], result: Result) -> None:
    if len(found) < 2:
        return

    def words(one: Summary) -> str:
        said = wording.headline(one.verdict)
        return f"{format_time(one.at)} · {said} · {say_count(one.candidates, 'candidate')}"

    chosen = w.field(
        "Comparison", ui.select({one.id: words(one) for one in found}, value=result.comparison)
    )
    chosen.on_value_change(lambda event: ui.navigate.to(f"/compare?id={event.value[:16]}"))


def _show_candidates(result: Result) -> None:
    needed = result.good_enough
    line = "" if needed is None else f"; the dashed line marks “good enough” ({100 * needed:g})"
    with w.section("Candidates", f"Dots show the score, bars its likely range{line}."):
        _show_chart(partial(charts.scores, result))
        candidates_table(result)
        if known := wording.known_answers(result):
            w.text(known, "soft note")
        fields_table(result)


def _show_pairs(result: Result) -> None:
    if not result.pairs:
        return
    points = f"{100 * result.margin:g}"
    with w.section(
        "Differences between candidates",
        "Dot: points of 100 by which the first candidate scores higher than the second. Line: its "
        f"likely range. A difference within the band (±{points}) counts as none.",
    ):
        named_pairs, others = differences.divided_pairs(result)
        _show_chart(partial(charts.forest, named_pairs, result.margin))
        if explained := differences.intervals(result, named_pairs):
            w.text(explained, "note soft")
        if why := differences.why_recommended(result):
            w.sentence(why, "note soft")
        columns = (
            "Pair",
            w.Number("Difference"),
            w.Number("Likely range"),
            w.Number("Corrected p"),
            "Result",
            w.Number("Only first right"),
        )
        with w.details("Figures of all pairs" if others else "Figures"):
            if not explained and (starred := differences.intervals(result, others)):
                w.text(starred, "note soft")
            with w.table(*columns, w.Number("Only second right"), label="Pairs of candidates"):
                for p in named_pairs + others:
                    with w.cells(
                        f"{p.a} − {p.b}",
                        w.Number(signed(p.difference)),
                        w.Number(f"{signed(p.low)} to {signed(p.high)}"),
                        w.Number(wording.probability(p.p_adjusted)),
                    ):
                        with w.text("", tag="td"):
                            kind = {"better": "good", "worse": "bad"}.get(p.call, "")
                            w.badge(differences.call(p), kind)
                        for count in (p.a_only, p.b_only):
                            w.text("–" if count is None else f"{count}", "number", "td")
        with w.row():
            w.term(detectable.effect(result), MEANINGS["effect"])
        for said in (detectable.needed_of_pairs(result), detectable.why_not_as_stated(result)):
            if said:
                w.text(said, "note soft")


def _show_additions(result: Result) -> None:
    if not result.additions:
        return
    with w.section(
        "What each candidate adds to the other",
        "Points of 100, with their likely range. For explanation only: no verdict depends on them.",
    ):
        for square in result.additions:
            adding = f"{square.a} and {square.b}"
            with w.table(
                "Adding", w.Number("Alone"), w.Number("On top of the other"), label=adding
            ):
                effects = (square.a_alone, square.a_beside), (square.b_alone, square.b_beside)
                for name, (alone, beside) in zip((square.a, square.b), effects, strict=True):
                    w.line(name, *map(w.Number, map(wording.effect, (alone, beside))))
            w.text(wording.together(square), "soft")


def _show_costs(result: Result) -> None:
    draw = partial(charts.cost_against_quality, result.candidates, result.verdict.named)
    if not draw():
        return
    with w.section(
        "Cost against quality",
        f"What each costs in the first year at {result.monthly_requests:,} requests per month. "
        "Higher is more right, further left is cheaper.",
    ):
        _show_chart(draw)
        parts = ("People's work", "Training", "Answering", "Waiting machine")
        columns = ("Candidate", *map(w.Number, (*parts, "Retraining, upkeep", "First year")))
        with w.details("Cost by part"), w.table(*columns, label="Cost by part"):
            for one in wording.rank(result):
                cost = one.cost
                amounts = (
                    *(cost.curation_usd, cost.training_usd, cost.requests_usd, cost.idle_usd),
                    *(cost.upkeep_usd, one.yearly_cost),
                )
                w.line(one.name, *(w.Number(wording.usd(amount)) for amount in amounts))


def _show_powered(result: Result) -> None:
    if result.prediction_powered is None:
        return
    with w.section("With unlabelled inputs", powered.summary(result.prediction_powered)):
        if lines := powered.lines(result):
            first, *numbers = powered.COLUMNS
            columns = (first, *(w.Number(name) for name in numbers))
            with w.table(*columns, label="Figures with unlabelled inputs"):
                for line in lines:
                    w.line(line.what, *(w.Number(figure) for figure in line[1:]))


def _show_second_look(result: Result) -> None:
    if result.second_look is None:
        return
    found = second_look.found(result.second_look, result.good_enough)
    with w.section("Labels worth a second look", found):
        if advice := second_look.advice(result.second_look):
            w.text(
                "To see them, choose “The label is worth a second look” in the answers below. "
                f"{on_page(advice)}",
                "soft",
            )


async def _show_promotion(context: PageContext, result: Result) -> None:
    if not context.may("editor") or context.workspace.config is None:
        return
    agents = [c for c in wording.rank(result) if c.kind != "outside"]
    found = await context.read(comparisons.labels, [c.agent for c in agents])
    labels = {found[c.agent]: c.name for c in agents if c.agent in found}
    if not labels:
        return
    name = context.workspace.config.name
    with w.section("Promote a candidate"):
        best = result.verdict.named
        first = next((label for label, c in labels.items() if c == best), next(iter(labels)))
        chosen = w.field(
            "Candidate",
            ui.select(labels, value=first),
        )

        def show(release: Release) -> None:
            ui.navigate.to(f"/releases?name={quote(release.name)}")

        await promotion_chooser(context, chosen, name, show, plain=labels)


def _show_openings(result: Result) -> None:
    with (
        w.section(
            "Openings of the holdout",
            "Each opening makes the next verdict harder to reach, so that luck is not mistaken for "
            "progress: a lead counts where chance alone would bring it with at most the "
            "probability below (significance level).",
        ),
        w.table(
            w.Number("Opening"),
            "When",
            "Reason",
            w.Number("Significance level"),
            label="Openings of the holdout",
        ),
    ):
        for one in result.openings:
            at = format_time(datetime.fromisoformat(one.at))
            w.line(w.Number(f"{one.number}"), at, one.reason, w.Number(say_number(one.alpha, 3)))


def _show_export(context: PageContext, result: Result) -> None:
    with w.section("Report", "A single file that opens in any browser, even offline."):
        hide = w.checkbox("Leave out inputs and answers")

        async def click() -> None:
            path = await context.read(comparisons.report, result.comparison, redact=hide.value)
            ui.download(path.read_bytes(), f"report-{result.comparison[:12]}.html")

        with w.row():
            w.button("Download the report", click, icon="download")


def _show_chart(draw: Callable[..., Markup]) -> None:
    """A chart that has a drawing of its own for a phone, where the other would be cut off.

    Args:
        draw: makes it; takes `phone`.
    """
    w.picture(draw(phone=False)).classes("for-wide")
    # Drawn to fit, so that it has nothing to scroll to.
    w.picture(draw(phone=True)).classes("for-phone").props(remove="tabindex")


PAGE = Page("/compare", "Compare", "balance", "Prove", "viewer", build)
