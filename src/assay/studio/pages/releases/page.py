"""Releases: what runs where, how it came there, how it does, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape
from nicegui import ui

from assay.accounts.authors import format_author
from assay.compare.report import wording
from assay.project import comparisons, releases
from assay.project.answer import playground
from assay.project.knowledge.searching import has_other_documents
from assay.project.releases import traffic
from assay.project.releases.kept import KeptTraces, kept_traces
from assay.project.releases.scores import (
    AgentScores,
    LatestScore,
    find_latest_scores,
    find_scores,
)
from assay.project.releases.traffic import Day
from assay.quantities import say_count, say_share
from assay.release.evidence import UnprovenError
from assay.release.releases import Release, find_promotion
from assay.studio import widgets as w
from assay.studio.dialogs import confirm, notify
from assay.studio.frame import Page
from assay.studio.pages.releases.proposals import proposals_card
from assay.studio.pages.releases.staleness import read_staleness, staleness_card
from assay.studio.pages.releases.traces import TRACE, traces_card
from assay.studio.session import PageContext, workspace_action
from assay.studio.shared.chat import snippets_card
from assay.studio.shared.names import exact_label, plain_labels, typed_term, typed_text
from assay.studio.shared.numbers import NO_NUMBER, are_valid, number_input, to_share
from assay.studio.shared.promotion import ReasonField, promotion_chooser, with_consent
from assay.studio.shared.verdict import find_recommended, warn_of_other_documents
from assay.studio.words import format_day, format_time

WIDTH, HEIGHT, BASE = 280.0, 110.0, 20.0
"""Of a chart of columns, and of the line under it."""

roll_back = workspace_action("editor", releases.rollback)
start_canary = workspace_action("editor", releases.canary)


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """What the page needs of one release.

    Attributes:
        said: what its agent was promoted on, in a sentence.
        measured: its scores when it was promoted and since.
        other_documents: its agent was built on other documents than the present ones.
        scores: of agents that were measured, in the order in which they are offered.
        recommended: the agent that the newest comparison says to use, where it is one of `agents`.
    """

    now: Release
    history: list[Release]
    days: list[Day]
    agents: list[str]
    said: str
    measured: AgentScores
    other_documents: bool
    stale: tuple[str, str]
    scores: dict[str, LatestScore]
    recommended: str | None
    kept: KeptTraces
    is_next: bool

    @property
    def labels(self) -> list[str]:
        """All agents that the page names, to be called beside one another."""
        changes = [(one.label, one.canary_label) for one in self.history]
        return [*self.agents, *(label for pair in changes for label in pair if label)]


def read(context: PageContext, name: str) -> ReleaseView:
    """All of it, in one go."""
    workspace = context.workspace
    history = releases.history(workspace, name)
    agents = [one.name for one in playground.answerable_models(workspace) if one.kind == "agent"]
    days = traffic.traffic(workspace, name)
    now, stale = history[0], read_staleness(context, name)
    said = releases.describe_promotion(workspace, history)
    scores, recommended = find_latest_scores(workspace, agents), _find_recommended(context)
    kept, other = kept_traces(workspace, name), has_other_documents(workspace, (now.agent,))
    measured = find_scores(workspace, now.agent, now.comparison)
    return ReleaseView(
        now=now,
        history=history,
        days=days,
        agents=agents[::-1],
        said=said,
        measured=measured,
        other_documents=other,
        stale=stale,
        scores=scores,
        recommended=recommended,
        kept=kept,
        is_next=releases.next_to_label(workspace, name) is not None,
    )


def _find_recommended(context: PageContext) -> str | None:
    result = comparisons.newest(context.workspace)
    best = None if result is None else find_recommended(result)
    return (
        None
        if best is None
        else comparisons.labels(context.workspace, [best.agent]).get(best.agent)
    )


async def build(context: PageContext) -> None:
    """All releases, and the one that `?name=` names (else the first) in full."""
    found = await context.read(releases.list_releases)
    w.title(
        "Releases",
        "A release is a name that programs request. The agent behind it can be changed, tried on a "
        "share of the callers first, and rolled back.",
    )
    await proposals_card(context)
    if not found:
        is_compared = await context.read(comparisons.newest) is not None
        w.empty("rocket_launch", "No releases yet",
              "Once a comparison has a verdict, promote its winner under a name.",
              act=("View the verdict", "/compare") if is_compared else None)  # fmt: skip
        return
    wanted = ui.context.client.request.query_params.get("name", found[0]["name"])
    shown = await context.do(read, wanted)
    plain = plain_labels([*shown.labels, *_answering(found)])
    if len(found) > 1:
        _show_releases(found, wanted, plain)
    _show_current(context, shown, plain)
    _show_traffic(shown.days)
    show_trace = traces_card(context, wanted, shown.kept)
    nothing = None if shown.is_next else shown.kept
    staleness_card(context, wanted, shown.stale, shown.measured, nothing, show_trace)
    if context.may("editor"):
        await _show_change(context, shown, plain)
    _show_history(shown.history, plain)
    snippets_card(context, wanted)


def _answering(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    for one in found:
        yield one["agent"]
        if one["canary"]:
            yield one["canary"]


def _show_releases(found: Sequence[dict[str, Any]], wanted: str, plain: Mapping[str, str]) -> None:
    with w.card(), w.table("Release", "Agent", "Canary", "Since", label="Releases"):
        for one in found:
            with w.text("", "chosen" if one["name"] == wanted else "", "tr"):
                with w.text("", tag="td"):
                    w.link(one["name"], f"/releases?name={one['name']}")
                with ui.element("td"):
                    typed_term(plain[one["agent"]], one["agent"])
                with ui.element("td"):
                    if one["canary"]:
                        share = say_share(one["share"])
                        typed_term(f"{plain[one['canary']]}, {share}", one["canary"])
                w.text(format_day(datetime.fromisoformat(one["at"])), tag="td")


def _show_current(context: PageContext, shown: ReleaseView, plain: Mapping[str, str]) -> None:
    now = shown.now
    with w.card("accent"):
        with w.row("spread"):
            with w.row():
                w.text(now.name, tag="h2")
                w.badge("active", "good")
                if now.canary:
                    w.badge(f"canary: {say_share(now.share)}", "warn")
            if context.may("editor") and (now.canary or now.previous):
                _show_rollback(context, shown)
        with w.row("figures"):
            w.figure(plain[now.label], "agent", typed_text(now.label))
            if now.canary:
                trial = str(now.canary_label)
                w.figure(
                    plain[trial],
                    f"canary, answers {say_share(now.share)} of the callers",
                    typed_text(trial),
                )
            w.figure(format_day(now.at), f"last changed, by {format_author(now.who)}")
            w.figure(
                f"{sum(day.requests for day in shown.days):,}",
                f"traces in {say_count(len(shown.days), 'day')}",
                TRACE,
            )
        promoted = find_promotion(shown.history)
        with w.row():
            w.text(shown.said, "warn" if promoted.reason or not promoted.comparison else "soft")
            if promoted.comparison:
                w.link("View the comparison", f"/compare?id={promoted.comparison[:16]}")
        if shown.other_documents and promoted.comparison:
            warn_of_other_documents()


def _show_rollback(context: PageContext, shown: ReleaseView) -> None:
    now = shown.now
    before = next((r for r in shown.history if r.number == now.previous), None)
    if now.canary:
        what = "The canary ends"
    else:
        what = f"{exact_label(before.label) if before else 'The agent before'} answers again"

    async def click() -> None:
        why = f"{what} immediately. Requests in progress are completed."
        if await confirm("Roll back the last change?", why, "Roll back now"):
            done = await context.do(roll_back, now.name, seen=now.number)
            notify(f"{done.name} was rolled back to {exact_label(done.label)}.")
            ui.navigate.reload()

    w.button("Roll back", click, icon="undo")


def _show_traffic(days: list[Day]) -> None:
    kept = [day for day in days if day.requests]
    if not kept:
        return
    thousands = [None if day.usd is None else 1000 * day.usd for day in days]
    with (
        w.section(
            "Traffic",
            "Traces, by day. Cost: while answering alone, not of a machine that waits; the "
            "report of a comparison includes that.",
        ),
        ui.element("div").classes("split thirds"),
    ):
        for label, values, words in (
            ("Requests per day", [float(day.requests) for day in days], "{:,.0f}".format),
            ("Seconds per answer", [day.seconds for day in days], "{:.2f} s".format),
            ("Cost of answering, per 1,000", thousands, wording.usd),
        ):
            with ui.element("div"):
                w.text(label, "soft note")
                if all(value is None for value in values):
                    w.text("Unknown")
                    continue
                w.picture(_draw_columns(label, [f"{d.day:%-d %b}" for d in days], values, words))


def _draw_columns(
    label: str,
    names: Sequence[str],
    values: Sequence[float | None],
    say: Callable[[float], str],
) -> Markup:
    """One column a value; None leaves its place empty.

    Args:
        say: writes a value.
    """
    most = max((value for value in values if value is not None), default=0.0)
    step = WIDTH / max(1, len(values))
    body = []
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        if value is None:
            continue
        height = max(1.5 if value else 0.0, (HEIGHT - BASE - 16) * value / (most or 1.0))
        body.append(
            f'<rect x="{i * step + step * 0.14:.1f}" y="{HEIGHT - BASE - height:.1f}" '
            f'width="{step * 0.72:.1f}" height="{height:.1f}" rx="2" class="column">'
            f"<title>{escape(name)}: {escape(say(value))}</title></rect>"
        )
    edge = HEIGHT - 4
    body.append(f'<text x="0" y="{edge}" class="tick">{escape(names[0])}</text>')
    body.append(
        f'<text x="{WIDTH}" y="{edge}" text-anchor="end" class="tick">{escape(names[-1])}</text>'
    )
    body.append(f'<text x="0" y="11" class="value">max. {escape(say(most))}</text>')
    days = say_count(len(values), "day")
    return Markup(
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" class="small" '
        f'aria-label="{escape(label)} over {days}">' + "".join(body) + "</svg>"
    )


async def _show_change(context: PageContext, shown: ReleaseView, plain: Mapping[str, str]) -> None:
    now = shown.now
    ordered = dict.fromkeys((*shown.scores, *shown.agents))
    others = [label for label in ordered if label != now.label]
    if not others:
        return
    with w.section("Change the agent"):
        await promotion_chooser(
            context,
            w.field(
                "Agent",
                ui.select(
                    {label: with_score(plain[label], shown.scores.get(label)) for label in others},
                    value=shown.recommended if shown.recommended in others else None,
                ),
                "Those of the newest comparison first, the best of each first. Comparisons create "
                "agents.",
            ),
            now.name,
            lambda _: ui.navigate.reload(),
            plain=plain,
            more=lambda label, reason: _show_canary(context, now, label, reason),
        )


def with_score(plain: str, latest: LatestScore | None) -> str:
    """An agent, by its name, with its score."""
    if latest is None:
        return f"{plain}: not measured"
    earlier = " in an earlier comparison" if latest.age else ""
    return f"{plain}: {wording.in_100(latest.score)} of 100{earlier}"


def _show_canary(context: PageContext, now: Release, label: str, reason: ReasonField) -> None:
    with w.details("Or start a canary on a share of the callers first"):
        share = w.field(
            "Share of the callers (%)",
            number_input(10, least=1, most=99, unit=" %", missing=NO_NUMBER),
            "Each caller is always answered by the same agent.",
        )

        async def click() -> None:
            if not are_valid(share):
                return
            if await reason.is_refused(lambda: context.read(releases.find_doubt, now.name, label)):
                return
            try:
                part = to_share(share.value)
                with reason.errors():
                    done = await with_consent(
                        context,
                        lambda: context.do(start_canary, now.name, part, label, force=reason.text),
                    )
            except UnprovenError as error:
                reason.ask(error.in_words)
                reason.refuse()
                return
            if done is None:
                return
            trial = exact_label(str(done.canary_label))
            notify(f"{trial} now answers {say_share(done.share)} of the callers.")
            ui.navigate.reload()

        w.button("Start the canary", click, icon="science")


def _show_history(history: list[Release], plain: Mapping[str, str]) -> None:
    with (
        w.section("History"),
        w.table("#", "Change", "Agent", "Evidence", "By", "Time", label="History"),
    ):
        for one in history:
            with w.cells(f"{one.number}", one.done):
                with ui.element("td"):
                    typed_term(plain[one.label], one.label)
                    if one.canary_label:
                        share = f"canary {say_share(one.share)}"
                        with ui.element("div"):
                            typed_term(f"{plain[one.canary_label]}, {share}", one.canary_label)
                with ui.element("td"):
                    if one.reason:
                        w.text(f"“{one.reason}” ", tag="span")
                    if one.comparison:
                        w.link("comparison", f"/compare?id={one.comparison[:16]}")
                w.text(format_author(one.who), tag="td")
                w.text(format_time(one.at), tag="td")


PAGE = Page("/releases", "Releases", "rocket_launch", "Run", "viewer", build)
