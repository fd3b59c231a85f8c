"""Releases: what runs where, how it came there, how it does, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from assay.project import releases
from assay.project.answer import playground
from assay.project.releases import traffic
from assay.project.releases.traffic import Day
from assay.release.evidence import UnprovenError
from assay.release.releases import Release
from assay.studio.dialogs import say, telling
from assay.studio.frame import Page
from assay.studio.pages.releases.chart import columns_chart
from assay.studio.pages.releases.staleness import staleness_card, standing
from assay.studio.pages.releases.traces import traces_card
from assay.studio.session import Visit, action
from assay.studio.shared.chat import call_it
from assay.studio.shared.promotion import agreed_first, canary, promotion
from assay.studio.widgets import (
    badge,
    button,
    card,
    empty,
    field,
    figure,
    heading,
    line,
    link,
    named,
    picture,
    row,
    table,
    text,
    title,
)

ACTIONS = {"promote": "put to work", "rollback": "taken back", "canary": "trial share"}


@action("editor")
def rollback(visit: Visit, name: str) -> Release:
    """Take the last change back."""
    return releases.rollback(visit.workspace, name)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page needs of one release."""

    now: Release
    history: list[Release]
    days: list[Day]
    agents: list[str]
    stale: tuple[str, str]


def read(visit: Visit, name: str) -> Shown:
    """All of it, in one go."""
    workspace = visit.workspace
    history = releases.history(workspace, name)
    agents = [one.name for one in playground.answering(workspace) if one.kind == "agent"]
    days = traffic.traffic(workspace, name)
    return Shown(history[0], history, days, agents[::-1], standing(visit, name))


async def build(visit: Visit) -> None:
    """All releases, and the one that `?name=` names (else the first) in full."""
    found = await visit.do(lambda v: releases.listed(v.workspace))
    title(
        "Releases",
        "A release is a name that programs ask for. What answers behind it can change, be tried on "
        "a share of the callers, and be taken back.",
    )
    if not found:
        empty("rocket_launch", "Nothing is at work yet",
              "Once a comparison has a verdict, put its winner to work under a name.",
              act=("See the verdict", "/compare"))  # fmt: skip
        return
    wanted = ui.context.client.request.query_params.get("name", found[0]["name"])
    if len(found) > 1:
        _list(found, wanted)
    shown = await visit.do(read, wanted)
    _now(visit, shown)
    _traffic(shown.days)
    traces_card(
        visit, wanted, kept=next((r["traces"] for r in found if r["name"] == wanted), False)
    )
    staleness_card(visit, wanted, shown.stale)
    if visit.may("editor"):
        _change(visit, shown)
    _history(shown.history)
    call_it(visit, wanted)


def _list(found: Sequence[dict[str, Any]], wanted: str) -> None:
    with card(), table("Release", "Answered by", "On trial", "Since", label="Releases"):
        for one in found:
            with text("", "chosen" if one["name"] == wanted else "", "tr"):
                with text("", tag="td"):
                    link(one["name"], f"/releases?name={one['name']}")
                trial = f"{one['canary']}, {100 * one['share']:g} %" if one["canary"] else "–"
                for value in (one["agent"], trial, one["at"][:10]):
                    text(value, tag="td")


def _now(visit: Visit, shown: Shown) -> None:
    now = shown.now
    with card("accent"):
        with row("spread"):
            with row():
                text(now.name, tag="h2")
                badge("at work", "good")
                if now.canary:
                    badge(f"trial: {100 * now.share:g} %", "warn")
            if visit.may("editor") and (now.canary or now.previous):
                _rollback(visit, shown)
        with row("figures"):
            figure(now.label, "answers")
            if now.canary:
                figure(str(now.canary_label), f"answers {100 * now.share:g} % of the callers")
            figure(f"{now.at:%d %b %Y}", f"since, by {now.who.partition(':')[2] or now.who}")
            figure(
                f"{sum(day.requests for day in shown.days):,}",
                f"kept requests, {len(shown.days)} days",
            )
        if now.comparison:
            with row():
                text("A comparison has shown that it is fit.", "soft")
                link("See it", f"/compare?id={now.comparison[:16]}")
        else:
            text(f"It was put to work without a comparison: {now.reason}", "warn")


def _rollback(visit: Visit, shown: Shown) -> None:
    now = shown.now
    before = next((r for r in shown.history if r.number == now.previous), None)
    what = "the trial ends" if now.canary else f"{before.label if before else '?'} answers again"
    with ui.dialog() as ask, ui.card().props("role=document"):
        text("Take the last change back?", tag="h2")
        text(f"At once {what}. Requests under way are answered to their end.")
        with row():

            async def click() -> None:
                ask.close()
                with telling():
                    done = await visit.do(rollback, now.name)
                    say(f"{done.name} is at {done.label} again.")
                    ui.navigate.reload()

            button("Take it back", click, kind="primary")
            button("Leave it", ask.close)
    button("Roll back", ask.open, icon="undo")


def _traffic(days: list[Day]) -> None:
    kept = [day for day in days if day.requests]
    if not kept:
        return
    with card():
        heading("Traffic", "Of requests that were kept, day by day.")
        with ui.element("div").classes("split thirds"):
            for label, values, words in (
                ("Requests a day", [float(day.requests) for day in days], "{:,.0f}"),
                ("Seconds an answer", [day.seconds for day in days], "{:.2f} s"),
                ("Cost of 1,000 answers", [_thousand(day.usd) for day in days], "${:,.3f}"),
            ):
                with ui.element("div"):
                    text(label, "soft note")
                    picture(columns_chart(label, [f"{d.day:%d %b}" for d in days], values, words))


def _thousand(usd: float | None) -> float | None:
    return None if usd is None else 1000 * usd


def _change(visit: Visit, shown: Shown) -> None:
    now = shown.now
    others = [label for label in shown.agents if label != now.label]
    if not others:
        return
    with card():
        heading("Change what answers")
        with field("Agent", "Newest last in each name; a comparison makes them."):
            chosen = ui.select(others, value=others[0])
            named(chosen, "Agent")
        form = ui.element("div").classes("stack gap")

        def show() -> None:
            form.clear()
            with form:
                promotion(visit, chosen.value, now.name, lambda _: ui.navigate.reload(), fixed=True)
                _trial(visit, now, chosen.value)

        chosen.on_value_change(show)
        show()


def _trial(visit: Visit, now: Release, label: str) -> None:
    with ui.element("details"):
        text("Or try it on a share of the callers first", tag="summary")
        with row("top-aligned"):
            with field("Share of the callers, in 100", "Each caller keeps to one agent."):
                share = ui.number(value=10, min=0, max=99, precision=0)
                named(share, "Share of the callers, in 100")
            with field("Reason", "Only where no comparison speaks for it."):
                reason = ui.input()
                named(reason, "Reason for the trial")

        async def click() -> None:
            with telling():
                try:
                    force = (reason.value or "").strip() or None
                    part = float(share.value or 0) / 100
                    done = await agreed_first(
                        visit, lambda: visit.do(canary, now.name, part, label, force)
                    )
                except UnprovenError as error:
                    say(f"{error.what} Give a reason to try it all the same.")
                    return
                if done is None:
                    return
                say(f"{done.canary_label} answers {100 * done.share:g} % of the callers.")
                ui.navigate.reload()

        button("Start the trial", click, icon="science")


def _history(history: list[Release]) -> None:
    with card():
        heading("History")
        with table("#", "What", "Answers", "On the word of", "By", "When", label="History"):
            for one in history:
                trial = f", {one.canary_label} {100 * one.share:g} %" if one.canary else ""
                word = f"comparison {one.comparison[:12]}" if one.comparison else ""
                line(
                    f"{one.number}",
                    ACTIONS.get(one.action, one.action),
                    f"{one.label}{trial}",
                    f"“{one.reason}”" if one.reason else word,
                    one.who.partition(":")[2] or one.who,
                    f"{one.at:%d %b %Y, %H:%M}",
                )


PAGE = Page("/releases", "Releases", "rocket_launch", "Run", "viewer", build)
