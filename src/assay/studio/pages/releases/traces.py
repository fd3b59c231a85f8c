"""Traces of a release: looked through, judged, corrected, made into training data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui
from nicegui.element import Element

from assay.chat.plain_calls import say_turn
from assay.errors import UsageError
from assay.example import Message
from assay.project import releases, row_forecast
from assay.project.releases.correction_check import CorrectionError
from assay.project.releases.kept import KeptTraces
from assay.quantities import say_count
from assay.release.policies import DAYS, MOST, MOST_DAYS, SAMPLE
from assay.release.traces import MOST_BYTES, Thumb, Trace
from assay.studio import widgets as w
from assay.studio.dialogs import (
    add_choices,
    advise,
    confirm,
    errors_at,
    notify,
    open_dialog,
    read_choice,
)
from assay.studio.pages.releases.answer_field import answer_field
from assay.studio.pages.releases.correction_additions import CorrectionAdditions
from assay.studio.session import LatestRequest, PageContext, workspace_action
from assay.studio.shared.numbers import NO_NUMBER, are_valid, number_input, to_share
from assay.studio.shared.turns import show_turn, show_turns
from assay.studio.words import format_day, format_time

SHOWN = 20
MASKED = (
    "Keys, card and bank numbers, e-mail addresses and phone numbers are masked first; names and "
    "postal addresses are not."
)
SAME = "This is the answer that was given. Choose the right one, or mark it as good."
OTHER = "Another answer stands here. Save it as the correction, or put the given one back."

start_keeping = workspace_action("editor", releases.traces_on)
stop_keeping = workspace_action("editor", releases.traces_off)
give_feedback = workspace_action("editor", releases.give_feedback)

TRACE = "A trace is one request with its answer, kept on this machine because you said so."


def traces_card(
    context: PageContext, name: str, kept: KeptTraces
) -> Callable[[str], Awaitable[None]]:
    """A card that reads the traces once the page is there.

    Returns:
        What shows a trace anew, by its id, after it was judged elsewhere on the page.
    """
    boxes: dict[str, Element] = {}

    async def show_anew(id: str) -> None:
        if id in boxes:
            trace = await context.read(releases.show_trace, id)
            with w.refill(boxes[id]):
                _show_trace(context, trace, additions)
        await additions.look()

    with w.card():
        with w.row("spread"):
            w.heading("Traces", describe_kept(kept))
            if context.may("editor"):
                with w.row():
                    if kept.count and not kept.active:
                        _show_deletion(context, name, kept)
                    _show_switch(context, name, kept.active)
        additions = CorrectionAdditions(context, name)
        shown = ui.element("div").classes("stack")
        latest = LatestRequest()

        async def show(count: int = SHOWN, corrected: bool = False) -> None:
            is_latest = latest.start()
            found = await context.read(
                releases.list_traces, name, count=count + 1, corrected=corrected
            )
            if not is_latest():
                return
            boxes.clear()
            with w.refill(shown):
                if not found and not corrected:
                    if kept.active:
                        w.text("There are no traces yet.", "soft")
                        w.button("Look again", look_again, icon="refresh")
                    return
                with w.row():
                    box = w.checkbox("Corrected only", corrected)
                    box.on_value_change(lambda event: show(corrected=event.value))
                    if context.may("editor"):
                        w.button("Save corrections as training data", additions.save, icon="school")
                for trace in found[:count]:
                    with ui.element("div").classes("trace-box") as boxes[trace.id]:
                        _show_trace(context, trace, additions)
                if len(found) > count:
                    w.button("Show more", lambda: show(count + SHOWN, corrected))

        async def look_again() -> None:
            # All of the page speaks of the first traces: their number, traffic, what to judge.
            if await context.read(releases.list_traces, name, count=1, corrected=False):
                ui.navigate.reload()
            else:
                notify("There are still no traces.")

        async def start() -> None:
            await show()
            await additions.look()

        with shown:
            w.waiting("Reading traces")
        ui.timer(0.1, start, once=True)
    return show_anew


def describe_kept(kept: KeptTraces) -> str:
    """Whether new traces are kept, and what becomes of those that were kept before."""
    if kept.active:
        return (
            "Every new request is kept with its answer, as a trace, unless both together are "
            f"longer than {MOST_BYTES // 1024} KiB. {MASKED}"
        )
    if not kept.count:
        return (
            "None are kept. A trace is one request with its answer, which may contain anything "
            "that callers write: decide with care."
        )
    end = "" if kept.last_day is None else f", the last of them on {format_day(kept.last_day)}"
    if kept.count == 1:
        end = "" if kept.last_day is None else f", on {format_day(kept.last_day)}"
        return f"No new traces are kept. 1 kept earlier is deleted when its days are over{end}."
    return (
        f"No new traces are kept. {kept.count:,} kept earlier are deleted when their days are "
        f"over{end}."
    )


def _show_deletion(context: PageContext, name: str, kept: KeptTraces) -> None:
    async def click() -> None:
        question = f"Delete {say_count(kept.count, 'trace')}?"
        lost = (
            "They are deleted at once, with their corrections, and cannot be brought back. Labels "
            "of the random sample, which hold no text, stay."
        )
        if await confirm(question, lost, "Delete them"):
            gone = await context.do(stop_keeping, name, delete=True)
            notify(f"{say_count(gone, 'trace was', 'traces were')} deleted.")
            ui.navigate.reload()

    w.button("Delete traces", click, kind="danger", icon="delete")


def _show_switch(context: PageContext, name: str, kept: bool) -> None:
    async def off() -> None:
        await context.do(stop_keeping, name, delete=False)
        ui.navigate.reload()

    if kept:
        w.button("Stop keeping traces", off, icon="visibility_off")
        return

    async def on() -> None:
        with open_dialog(
            "Keep traces from now on?",
            "Requests and their answers are kept on this machine, so that answers can be judged "
            f"and corrected. {MASKED}",
        ) as dialog:
            days = w.field(
                "Days to keep them",
                number_input(DAYS, least=1, most=MOST_DAYS, whole=True, missing=NO_NUMBER),
            )
            sample = w.field(
                "Share sampled for judging (%)",
                number_input(100 * SAMPLE, least=0, most=100, unit=" %", missing=NO_NUMBER),
                "A random sample shows whether the release is still as good.",
            )
            add_choices(dialog, "Start keeping", is_ready=lambda: are_valid(days, sample))
        if await read_choice(dialog):
            share = to_share(sample.value)
            kept_days = int(days.value)
            await context.do(start_keeping, name, sample=share, days=kept_days, most=MOST)
            ui.navigate.reload()

    w.button("Keep traces", on, icon="visibility")


def _show_trace(context: PageContext, trace: Trace, additions: CorrectionAdditions) -> None:
    turns = [Message.from_dict(message) for message in trace.messages]
    question = say_turn(turns[-1]) if turns else ""
    given = Message.from_dict(trace.answer)
    content = given.text  # a call is corrected as a model writes it
    with ui.element("details").classes("trace"):
        with w.text("", tag="summary"):
            asked = question[:110] if question.strip() else "(no text)"
            w.text(asked, "asked", "span")
            marks = ui.element("span").classes("flow")
            _mark(marks, trace)
            w.text(f"Answer: {say_turn(given)[:110].strip() or '(no text)'}", "answered", "span")
        with ui.element("div").classes("stack trace-body"):
            show_turns(turns)
            w.text("Answer", "soft note", "div")
            show_turn(given, "strong")
            usage = trace.usage or {}
            took = f" · {usage['seconds']:.2f} s" if usage.get("seconds") is not None else ""
            hidden = f" · {trace.masked} masked" if trace.masked else ""
            w.text(f"{format_time(trace.at)}{took}{hidden}", "soft note", "div")
            if context.may("editor"):
                _show_feedback(context, trace, content, marks, additions)


def _mark(marks: Element, trace: Trace) -> None:
    """Say in its line how a request was judged."""
    with w.refill(marks):
        if trace.thumb:
            word = "good" if trace.thumb == "up" else "bad"
            w.badge(word, word)
        if trace.corrected is not None:
            w.badge("corrected", "warn")


def _show_feedback(
    context: PageContext,
    trace: Trace,
    content: str,
    marks: Element,
    additions: CorrectionAdditions,
) -> None:
    shown = trace.corrected if trace.corrected is not None else content
    right = answer_field(context, shown, content)

    async def judge(thumb: Thumb | None, corrected: str | None, words: str) -> None:
        nonlocal shown
        right.error = None
        if corrected == content:
            right.error = SAME
            return
        if thumb == "up" and right.value not in (content, shown):
            right.error = OTHER
            return
        with errors_at(right, UsageError, CorrectionError):
            given = await context.do(give_feedback, trace.id, thumb=thumb, corrected=corrected)
        _mark(marks, given)
        if thumb == "up":
            if shown != content:
                words = f"{words} The correction was withdrawn."
            shown = right.value = content
        elif corrected is not None:
            shown = corrected
        odd = None
        if corrected is not None:
            odd = await context.read(row_forecast.warn_of_spelling, corrected)
        if odd is None:
            notify(words)
        else:
            advise(f"{words} But look at it again: {odd}")
        await additions.look()

    with w.row():
        w.button("Good", lambda: judge("up", None, "Marked as good."), icon="thumb_up")
        w.button("Bad", lambda: judge("down", None, "Marked as bad."), icon="thumb_down")
        w.button(
            "Save correction",
            lambda: judge("down", right.value or "", "The correction was saved."),
            kind="primary",
        )
