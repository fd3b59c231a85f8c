"""Whether a release still answers as well as when it was promoted: what is known, and the next
answer of the random sample to be judged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from assay.errors import AssayError
from assay.project import releases
from assay.release.traces import Trace
from assay.studio.dialogs import telling
from assay.studio.session import Visit, action
from assay.studio.widgets import button, card, field, heading, named, row, text

CARDS = {"stale": "lost", "holds": "accent"}


@action("viewer")
def standing(visit: Visit, name: str) -> tuple[str, str]:
    """What is known, as a sentence and as `stale`, `holds` or `open`."""
    try:
        watched = releases.watch_release(visit.workspace, name)
    except AssayError as error:
        return error.what, "open"
    return watched.sentence, watched.outcome


@action("viewer")
def to_judge(visit: Visit, name: str) -> Trace | None:
    """The next of the sample; None: all are judged."""
    return releases.next_to_label(visit.workspace, name)


@action("editor")
def judge(visit: Visit, id: str, right: bool, answer: str | None, skip: bool) -> float | None:
    """Say what it is worth."""
    return releases.label_trace(visit.workspace, id, right=right, answer=answer, skip=skip)


def staleness_card(visit: Visit, name: str, known: tuple[str, str]) -> None:
    """What is known, and for editors the way to know more."""
    with card(CARDS.get(known[1], "open")):
        heading("Is it still as good?", "Fresh answers of a random sample, judged by people.")
        sentence = text(known[0]).props("role=status")
        if not visit.may("editor"):
            return
        shown = ui.element("div").classes("stack")

        async def go_on() -> None:
            with telling():
                trace = await visit.do(to_judge, name)
                shown.clear()
                with shown:
                    if trace is None:
                        text("Every answer of the sample is judged.", "soft")
                    else:
                        _one(visit, trace, judged)

        async def judged() -> None:
            sentence.text = (await visit.do(standing, name))[0]
            await go_on()

        with shown, row():
            button("Judge the next answer", go_on, icon="rule")


def _one(visit: Visit, trace: Trace, judged: Callable[[], Awaitable[None]]) -> None:
    said = str(trace.answer.get("content") or "")
    for message in trace.messages:
        text(str(message.get("content") or ""), "pre")
    text("was answered", "soft note")
    text(said, "pre strong")
    with field("What it should have been"):
        right = ui.textarea(value=said).props("autogrow")
        named(right, "What the sampled answer should have been")

    async def tell(*, skip: bool = False) -> None:
        words = str(right.value or "")
        is_right = not skip and words == said
        answer = None if skip or is_right else words
        with telling():
            await visit.do(judge, trace.id, is_right, answer, skip)
            await judged()

    with row():
        keep = button("It is right", tell, kind="primary", icon="check")
        right.on_value_change(
            lambda: keep.set_text("It is right" if right.value == said else "This is right")
        )
        button("Cannot tell", lambda: tell(skip=True))
