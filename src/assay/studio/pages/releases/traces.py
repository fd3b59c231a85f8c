"""Kept requests of a release: looked through, judged, corrected, made into training data."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from nicegui import ui

from assay.project import releases
from assay.release.examples import Written
from assay.release.policies import DAYS, MOST, SAMPLE, Policy
from assay.release.traces import Thumb, Trace
from assay.studio.dialogs import say, telling
from assay.studio.session import Newest, Visit, action
from assay.studio.widgets import (
    badge,
    button,
    card,
    field,
    heading,
    named,
    row,
    text,
    waiting,
)

SHOWN = 20


@action("editor")
def switch_on(visit: Visit, name: str, sample: float, days: int) -> Policy:
    """Keep requests from now on."""
    return releases.traces_on(visit.workspace, name, sample=sample, days=days, most=MOST)


@action("editor")
def switch_off(visit: Visit, name: str) -> int:
    """Keep no more requests; those that are kept stay until their time is over."""
    return releases.traces_off(visit.workspace, name, delete=False)


@action("editor")
def feedback(visit: Visit, id: str, thumb: Thumb | None, corrected: str | None) -> Trace:
    """Judge or correct an answer."""
    return releases.give_feedback(visit.workspace, id, thumb=thumb, corrected=corrected)


@action("editor")
def to_data(visit: Visit, name: str) -> Written:
    """Write corrected requests as examples."""
    folder = visit.workspace.root / "data"
    target, number = folder / f"traces-{date.today():%Y-%m-%d}.jsonl", 1
    while target.exists():
        number += 1
        target = folder / f"traces-{date.today():%Y-%m-%d}-{number}.jsonl"
    return releases.traces_to_data(visit.workspace, target, name)


def traces_card(visit: Visit, name: str, *, kept: bool) -> None:
    """A card that reads the requests once the page is there."""
    with card():
        with row("spread"):
            heading(
                "Requests",
                "Kept from now on; secrets and personal data are masked before."
                if kept
                else "None are kept. They may hold what your callers write: decide knowingly.",
            )
            if visit.may("editor"):
                _switch(visit, name, kept)
        shown = ui.element("div").classes("stack")
        only = {"corrected": False, "count": SHOWN}
        newest = Newest()

        async def show() -> None:
            is_newest = newest.begun()
            found = await visit.do(
                lambda v: releases.list_traces(
                    v.workspace, name, count=only["count"] + 1, corrected=bool(only["corrected"])
                )
            )
            if not is_newest():
                return
            shown.clear()
            with shown:
                if not found and not only["corrected"]:
                    if kept:
                        text("Nobody has asked since.", "soft")
                    return
                with row():
                    box = ui.checkbox("Corrected only", value=bool(only["corrected"]))
                    box.on_value_change(lambda event: again(event.value))
                    if visit.may("editor"):
                        button("Make corrections into training data", data, icon="school")
                for trace in found[: only["count"]]:
                    _line(visit, trace)
                if len(found) > only["count"]:
                    button("Show more", more)

        async def again(corrected: bool) -> None:
            only["corrected"] = corrected
            await show()

        async def more() -> None:
            only["count"] += SHOWN
            await show()

        async def data() -> None:
            with telling():
                written = await visit.do(to_data, name)
                if written.file is None:
                    say("No request has a correction that could be used yet.")
                    return
                left = f"; {written.rejected} could not be used" if written.rejected else ""
                say(f"{written.written} examples are in data/{Path(written.file).name}{left}.")

        async def first() -> None:
            with telling():
                await show()

        with shown:
            waiting("Reading requests")
        ui.timer(0.1, first, once=True)


def _switch(visit: Visit, name: str, kept: bool) -> None:
    async def off() -> None:
        with telling():
            await visit.do(switch_off, name)
            ui.navigate.reload()

    if kept:
        button("Stop keeping", off, icon="visibility_off")
        return
    with ui.dialog() as ask, ui.card().classes("studio"):
        text("Keep requests from now on?", tag="h2")
        text(
            "They are kept on this machine, so that answers can be judged and corrected. Keys, "
            "card and bank numbers, e-mail addresses and phone numbers are masked before.",
            "soft",
        )
        with field("For so many days"):
            days = ui.number(value=DAYS, min=1, max=3650, precision=0)
            named(days, "For so many days")
        with field("Share drawn to be judged, in 100", "A random sample tells whether it holds."):
            sample = ui.number(value=100 * SAMPLE, min=0, max=100)
            named(sample, "Share drawn to be judged, in 100")

        async def on() -> None:
            ask.close()
            with telling():
                share = float(sample.value or 0) / 100
                await visit.do(switch_on, name, share, int(days.value or DAYS))
                ui.navigate.reload()

        with row():
            button("Keep them", on, kind="primary")
            button("Do not", ask.close)
    button("Keep requests", ask.open, icon="visibility")


def _line(visit: Visit, trace: Trace) -> None:
    said = str(trace.answer.get("content") or "")
    asked = str(trace.messages[-1].get("content") or "") if trace.messages else ""
    with ui.element("details").classes("trace"):
        with text("", tag="summary"):
            text(asked[:110], "asked", "span")
            if trace.thumb:
                word = "good" if trace.thumb == "up" else "bad"
                badge(word, word)
            if trace.corrected is not None:
                badge("corrected", "warn")
        with ui.element("div").classes("stack trace-body"):
            for message in trace.messages:
                text(str(message.get("role")), "soft note", "div")
                text(str(message.get("content") or ""), "pre", "div")
            text("answer", "soft note", "div")
            text(said, "pre strong", "div")
            usage = trace.usage or {}
            took = f" · {usage['seconds']:.2f} s" if usage.get("seconds") is not None else ""
            hidden = f" · {trace.masked} masked" if trace.masked else ""
            text(f"{trace.at:%d %b %Y, %H:%M:%S}{took}{hidden}", "soft note", "div")
            if visit.may("editor"):
                _judge(visit, trace, said)


def _judge(visit: Visit, trace: Trace, said: str) -> None:
    with field("What it should have been"):
        right = ui.textarea(value=trace.corrected if trace.corrected is not None else said)
        right.props("autogrow")
        named(right, "What it should have been")

    async def judge(thumb: Thumb | None, corrected: str | None, words: str) -> None:
        with telling():
            await visit.do(feedback, trace.id, thumb, corrected)
            say(words)

    with row():
        button("Good", lambda: judge("up", None, "Noted as good."), icon="thumb_up")
        button("Bad", lambda: judge("down", None, "Noted as bad."), icon="thumb_down")
        button(
            "Save the correction",
            lambda: judge("down", right.value or "", "The correction is kept."),
            kind="primary",
        )
