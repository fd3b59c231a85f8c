"""Every answer to every locked example, side by side, with what differs marked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import cast

from nicegui import ui

from assay.chat.plain_calls import read_answer, say_call
from assay.compare.naming import rows_in_words
from assay.compare.report import wording
from assay.compare.result import AnswerRow, Result
from assay.config import GraderSpec
from assay.errors import AssayError
from assay.example import Message
from assay.project import comparisons
from assay.project.comparisons import RIGHT, Which
from assay.quantities import say_count
from assay.studio import widgets as w
from assay.studio.session import LatestRequest, PageContext
from assay.studio.shared.chat import EMPTY
from assay.studio.shared.grading import (
    explain_grading,
    explain_length,
    explain_likeness,
    find_primary,
)
from assay.studio.words import stand_alone

SHOWN = 6
"""Rows at a time; a page of thousands of answers is read by nobody."""
LONGEST = 1500
FILTERS: dict[str, str] = {
    "differ": "Different, not both fully right",
    "one-right": "Only one of the two is right",
    "a-wins": "The first candidate scores higher",
    "b-wins": "The second candidate scores higher",
    "all-fail": "All candidates fail",
    "doubtful": "The label is worth a second look",
    "all": "All examples",
}
_WORD = re.compile(r"\s+|[^\W_]+|.", re.DOTALL)


def answers_card(context: PageContext, result: Result) -> None:
    """A card that reads the answers once the page is there.

    Args:
        result: in words.
    """
    names = [c.name for c in wording.rank(result)]
    doubtful = set(result.second_look.ids) if result.second_look else set()
    first = result.verdict.recommend or names[0]
    second = next((name for name in names if name != first), first)
    spec = find_primary(result)
    with w.section("Individual answers", "Read some before you trust the figures."):
        if spec is not None:
            w.text(explain_grading(spec), "soft note")
        advice = ui.element("div").classes("stack")
        with w.row("top-aligned answer-filter"):
            offered = {key: text for key, text in FILTERS.items() if doubtful or key != "doubtful"}
            which = w.field("Show", ui.select(offered, value="differ"))
            a = w.field("First candidate", ui.select(names, value=first))
            b = w.field("Second candidate", ui.select(names, value=second))
            words = w.field("Containing", ui.input().props("debounce=300 clearable"))
        shown = ui.element("div").classes("stack")
        latest = LatestRequest()

        async def show(rows: int = SHOWN) -> None:
            chosen, one, other = cast("Which", which.value), str(a.value), str(b.value)
            is_latest = latest.start()

            def read(context: PageContext) -> tuple[Sequence[AnswerRow], Sequence[AnswerRow]]:
                answers = comparisons.answers(context.workspace, result.comparison)
                everything = rows_in_words(answers, result.names)
                wanted = words.value or ""
                fit = comparisons.select_rows(
                    everything, chosen, one, other, wanted, doubtful, result.task
                )
                return fit, everything

            try:
                fit, everything = await context.do(read)
            except AssayError as error:
                if is_latest():
                    with w.refill(shown):
                        w.text(stand_alone(error), "soft")
                return
            if not is_latest():
                return
            if spec is not None and not advice.default_slot.children:
                with advice:
                    _advise(context, spec, everything, result)
            with w.refill(shown):
                _show_counts(everything, one, other)
                of = f"{len(fit):,} of {say_count(len(everything), 'holdout example')}"
                w.text(of, "soft note").props("role=status")
                for answer in fit[:rows]:
                    _show_row(answer, one, other, names, spec, result.task)
                if len(fit) > rows:
                    more = min(SHOWN, len(fit) - rows)
                    w.button(f"Show {more} more", lambda: show(rows + SHOWN))

        for control in (which, a, b, words):
            control.on_value_change(lambda: show())
        with shown:
            w.waiting("Reading the answers")
        ui.timer(0.1, show, once=True)


def _advise(
    context: PageContext, spec: GraderSpec, rows: Sequence[AnswerRow], result: Result
) -> None:
    """Which grader to let decide, where the one that did tells little of such answers."""
    said = explain_likeness(spec, [row.reference for row in rows], result.good_enough)
    if not said:
        return
    w.text(said[0], "warn")
    with ui.element("ul"):
        for line in said[1:]:
            w.sentence(line, tag="li")
    if context.may("editor"):
        with w.row():
            w.link("Choose the primary grader", "/settings?setting=primary")
            w.link("Replace the holdout", "/data")


def _show_counts(rows: Sequence[AnswerRow], a: str, b: str) -> None:
    """How often they are right together and alone: what the difference of two rests on."""
    if a == b:
        return
    both, only_a, only_b, neither = comparisons.two_by_two(rows, a, b)
    with w.table("", w.Number(f"{b} right"), w.Number(f"{b} wrong"), label=f"{a} against {b}"):
        w.line(f"{a} right", w.Number(f"{both:,}"), w.Number(f"{only_a:,}"))
        w.line(f"{a} wrong", w.Number(f"{only_b:,}"), w.Number(f"{neither:,}"))
    if any(0 < score < 1 for row in rows for score in row.scores.values()):
        w.text(
            f"Right: a score of {100 * RIGHT:.0f} of 100 or more, also in the marks ✓ and ✗ below. "
            "Answers that differ can both be right or both be wrong.",
            "soft note",
        )


def _show_row(
    answer: AnswerRow,
    a: str,
    b: str,
    names: Sequence[str],
    spec: GraderSpec | None,
    task: str,
) -> None:
    reference = read_answer(answer.reference, task)
    with w.card("tight answer-row"):
        with w.row("spread"):
            w.text(wording.place(answer.id, answer.line), "soft note")
            with w.row():
                for name in names:
                    if name in answer.scores:
                        right = answer.scores[name] >= RIGHT
                        w.badge(f"{name} {'✓' if right else '✗'}", "good" if right else "bad")
        w.text(_shorten(answer.input), "pre")
        with ui.element("div").classes("side-by-side"):
            _show_answer("Expected output", reference, reference, None)
            for name in dict.fromkeys((a, b)):
                content = answer.answers.get(name)
                if content is None:
                    _show_answer(name, Message("assistant", "(no answer)"), reference, 0.0)
                else:
                    score, long = answer.scores.get(name), explain_length(spec, content)
                    _show_answer(name, read_answer(content, task), reference, score, long)


def _show_answer(
    name: str, answer: Message, reference: Message, score: float | None, why: str | None = None
) -> None:
    """Words and calls, each beside those that are expected."""
    with ui.element("div").classes("answer"):
        label = name if score is None else f"{name} · {100 * score:.0f}"
        w.text(label if why is None else f"{label} ({why})", "soft note", "div")
        if score is not None and not (answer.content.strip() or answer.tool_calls):
            w.text(EMPTY, "soft note", "div")
        for style, content, right in (
            ("pre", answer.content, reference.content),
            ("calls", _say_calls(answer), _say_calls(reference)),
        ):
            if not content:
                continue
            with ui.element("div").classes(style):
                for part, differs in mark_differences(_shorten(content), _shorten(right), score):
                    w.text(part, "differs" if differs else "", "span")


def mark_differences(content: str, reference: str, score: float | None) -> list[tuple[str, bool]]:
    """The parts of an answer, and whether each is marked: it does not stand in the reference at
    that place. Of what is fully right, or has no score, nothing is: other words are no mistake."""
    if score is None or score >= 1:
        return [(content, False)]
    a, b = _WORD.findall(reference), _WORD.findall(content)
    parts: list[tuple[str, bool]] = []
    for tag, _, _, start, end in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if end > start:
            parts.append(("".join(b[start:end]), tag != "equal"))
    return parts


def _say_calls(answer: Message) -> str:
    return "\n".join(map(say_call, answer.tool_calls))


def _shorten(content: str) -> str:
    return content if len(content) <= LONGEST else content[:LONGEST] + " […]"
