"""Every answer to every locked example, side by side, with what differs marked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import cast

from nicegui import ui

from assay.compare.result import AnswerRow, Result
from assay.errors import AssayError
from assay.project import comparisons
from assay.project.comparisons import RIGHT, Which
from assay.studio.dialogs import telling
from assay.studio.session import Newest, Visit
from assay.studio.shared.verdict import ranked
from assay.studio.widgets import (
    badge,
    button,
    card,
    field,
    heading,
    line,
    named,
    row,
    table,
    text,
    waiting,
)

SHOWN = 6
"""Rows at a time; a page of thousands of answers is read by nobody."""
LONGEST = 1500
FILTERS: dict[str, str] = {
    "differ": "they do not agree",
    "a-wins": "the first one wins",
    "b-wins": "the second one wins",
    "all-fail": "all fail",
    "all": "all examples",
}
_WORD = re.compile(r"\s+|[^\W_]+|.", re.DOTALL)


def answers_card(visit: Visit, result: Result) -> None:
    """A card that reads the answers once the page is there."""
    names = [c.name for c in ranked(result)]
    first = result.verdict.recommend or names[0]
    second = next((name for name in names if name != first), first)
    with card():
        heading("The answers, one by one", "Read some before you believe any figure.")
        with row("top-aligned"):
            with field("Show where"):
                which = ui.select(FILTERS, value="differ")
                named(which, "Show where")
            with field("First"):
                a = ui.select(names, value=first)
                named(a, "First")
            with field("Second"):
                b = ui.select(names, value=second)
                named(b, "Second")
            with field("With the words"):
                words = ui.input().props("debounce=300 clearable")
                named(words, "With the words")
        shown = ui.element("div").classes("stack")
        state = {"rows": SHOWN}
        newest = Newest()

        async def show() -> None:
            chosen, one, other = cast("Which", which.value), str(a.value), str(b.value)
            is_newest = newest.begun()

            def read(visit: Visit) -> tuple[Sequence[AnswerRow], Sequence[AnswerRow]]:
                everything = comparisons.answers(visit.workspace, result.comparison)
                fit = comparisons.chosen(everything, chosen, one, other, words.value or "")
                return fit, everything

            with telling():
                try:
                    fit, everything = await visit.do(read)
                except AssayError as error:
                    shown.clear()
                    with shown:
                        text(str(error), "soft")
                    return
                if not is_newest():
                    return
                shown.clear()
                with shown:
                    _two_by_two(everything, one, other)
                    of = f"{len(fit):,} of {len(everything):,} locked examples"
                    text(of, "soft note").props("role=status")
                    for answer in fit[: state["rows"]]:
                        _row(answer, one, other, names)
                    if len(fit) > state["rows"]:
                        button(f"Show {SHOWN} more", more)

        async def more() -> None:
            state["rows"] += SHOWN
            await show()

        async def again() -> None:
            state["rows"] = SHOWN
            await show()

        for control in (which, a, b, words):
            control.on_value_change(again)
        with shown:
            waiting("Reading the answers")
        ui.timer(0.1, show, once=True)


def _two_by_two(rows: Sequence[AnswerRow], a: str, b: str) -> None:
    """How often they are right together and alone: what the difference of two rests on."""
    if a == b:
        return
    both, only_a, only_b, neither = comparisons.two_by_two(rows, a, b)
    with table("", f"#{b} right", f"#{b} wrong", label=f"{a} against {b}"):
        line(f"{a} right", f"#{both:,}", f"#{only_a:,}")
        line(f"{a} wrong", f"#{only_b:,}", f"#{neither:,}")


def _row(answer: AnswerRow, a: str, b: str, names: Sequence[str]) -> None:
    with card("tight answer-row"):
        with row("spread"):
            text(f"Example {answer.id}", "soft note")
            with row():
                for name in names:
                    if name in answer.scores:
                        right = answer.scores[name] >= RIGHT
                        badge(f"{name} {'✓' if right else '✗'}", "good" if right else "bad")
        text(_cut(answer.input), "pre")
        with ui.element("div").classes("side-by-side"):
            _answer("Should be", answer.reference, answer.reference, None)
            for name in dict.fromkeys((a, b)):
                said = answer.answers.get(name)
                if said is None:
                    _answer(name, "(no answer)", answer.reference, 0.0)
                else:
                    _answer(name, said, answer.reference, answer.scores.get(name))


def _answer(name: str, said: str, reference: str, score: float | None) -> None:
    with ui.element("div").classes("answer"):
        label = name if score is None else f"{name} · {100 * score:.0f}"
        text(label, "soft note", "div")
        with ui.element("div").classes("pre"):
            for part, same in marked(_cut(said), _cut(reference)):
                text(part, "" if same or score is None else "differs", "span")


def marked(said: str, reference: str) -> list[tuple[str, bool]]:
    """The parts of an answer, and whether each stands in the reference at that place."""
    a, b = _WORD.findall(reference), _WORD.findall(said)
    parts: list[tuple[str, bool]] = []
    for tag, _, _, start, end in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if end > start:
            parts.append(("".join(b[start:end]), tag == "equal"))
    return parts


def _cut(content: str) -> str:
    return content if len(content) <= LONGEST else content[:LONGEST] + " […]"
