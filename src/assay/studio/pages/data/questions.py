"""Drafted questions: read by a person, put into better words, approved or thrown away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from assay.project import questions
from assay.project.questions import Question, Standing, State
from assay.project.rows import project_of
from assay.studio.dialogs import say, telling
from assay.studio.session import Newest, Visit, action
from assay.studio.widgets import (
    bar,
    button,
    card,
    field,
    heading,
    labelled,
    named,
    row,
    set_bar,
    text,
)

AT_ONCE = 10


@action("viewer")
def standing(visit: Visit) -> Standing | None:
    """How far it is; None where examples were brought."""
    return questions.standing(project_of(visit.workspace))


@action("viewer")
def listed(visit: Visit, state: State) -> list[Question]:
    """Questions that wait, or were thrown away."""
    return questions.questions(project_of(visit.workspace), state)


@action("editor")
def decide(visit: Visit, id: str, state: State) -> Standing:
    """Approve a question, throw it away, or let it wait again."""
    return questions.decide(project_of(visit.workspace), [id], state, visit.workspace.who)


@action("editor")
def change(visit: Visit, id: str, question: str, answer: str) -> Question:
    """Put it into better words, which approves it."""
    project = project_of(visit.workspace)
    return questions.change(project, id, visit.workspace.who, question=question, answer=answer)


@action("editor")
def add(visit: Visit, question: str, answer: str | None, document: str) -> Question:
    """A question of one's own."""
    project = project_of(visit.workspace)
    return questions.add(project, question, visit.workspace.who, answer=answer, document=document)


class Questions:
    """The card of a project that began with documents.

    Args:
        measured: called when there are enough, or one more than there were enough.
    """

    def __init__(
        self, visit: Visit, now: Standing, measured: Callable[[], Awaitable[None]]
    ) -> None:
        self._visit, self._measured = visit, measured
        self._state: State = "waiting"
        self._shown: dict[str, ui.element] = {}
        self._newest = Newest()
        with card():
            heading(
                "Drafted questions",
                "Read each as a user would ask it, against your documents. What nobody has read "
                "measures nothing.",
            )
            self._standing = text("", "strong").props("role=status")
            self._bar = bar(0.0, "Questions approved")
            with row():
                self._chosen = ui.toggle(
                    {"waiting": "To be read", "rejected": "Thrown away"},
                    value="waiting",
                    on_change=self._other,
                ).props("no-caps unelevated")
            self._list = ui.element("div").classes("stack gap")
            self._rest = text("", "soft note")
            if visit.may("editor"):
                self._build_add()
        self._tell(now)
        ui.timer(0.05, self._show, once=True)

    def _tell(self, now: Standing) -> None:
        self._standing.text = now.sentence[:1].upper() + now.sentence[1:]
        set_bar(self._bar, min(1.0, now.approved / now.needed))

    async def _other(self) -> None:
        self._state = self._chosen.value
        self._list.clear()
        self._shown.clear()
        await self._show()

    async def _show(self) -> None:
        """Take away and add alone: what somebody is writing into the others stays."""
        is_newest = self._newest.begun()
        with telling():
            found = await self._visit.do(listed, self._state)
            if not is_newest() or self._list.is_deleted:
                return  # an older list may name what is decided
            there = {one.id for one in found}
            for id in [id for id in self._shown if id not in there]:
                self._shown.pop(id).delete()
            more = [one for one in found if one.id not in self._shown]
            room = max(0, AT_ONCE - len(self._shown))
            with self._list:
                for one in more[:room]:
                    self._shown[one.id] = self._question(one)
            left = len(more[room:])
            self._rest.text = f"And {left:,} more, which come up next." if left else "None."
            self._rest.set_visibility(bool(left) or not found)

    def _question(self, one: Question) -> ui.element:
        may = self._visit.may("editor")
        with ui.element("div").classes("shown-example") as shown:
            where = f"{one.id}, of {one.document}" if one.document else one.id
            text(where, "field-label", "span")
            with field("Question"):
                asked = ui.textarea(value=one.question).props("autogrow")
                named(asked, f"Question {one.id}")
            with field("Right answer"):
                answer = ui.textarea(value=one.answer).props("autogrow")
                named(answer, f"Right answer to {one.id}")
            for area in (asked, answer):
                area.set_enabled(may)
            if one.passage:
                text(f"Drafted from: “{one.passage}”", "soft note")
            if not may:
                return shown

            async def approve() -> None:
                same = (asked.value, answer.value) == (one.question, one.answer)
                with telling():
                    if same:
                        await self._visit.do(decide, one.id, "approved")
                    else:
                        await self._visit.do(change, one.id, asked.value, answer.value)
                    await self._after()

            async def discard() -> None:
                with telling():
                    await self._visit.do(decide, one.id, "rejected")
                    await self._after()

            with row():
                yes = button("Approve", approve, kind="primary", icon="check")
                labelled(yes, f"Approve {one.id}")
                if self._state == "waiting":
                    no = button("Throw away", discard, kind="danger")
                    labelled(no, f"Throw away {one.id}")
        return shown

    def _build_add(self) -> None:
        with ui.element("details"):
            text("Add a question of your own", tag="summary")
            with ui.element("div").classes("stack"):
                with field("Question"):
                    asked = ui.textarea().props("autogrow")
                    named(asked, "Question of your own")
                with field("Right answer", "Empty: no document holds one, and it should say so."):
                    answer = ui.textarea().props("autogrow")
                    named(answer, "Right answer to it")
                with field("Document", "That holds the answer."):
                    document = ui.input()
                    named(document, "Document that holds the answer")

                async def click() -> None:
                    with telling():
                        said = (answer.value or "").strip() or None
                        named_document = (document.value or "").strip()
                        await self._visit.do(add, asked.value or "", said, named_document)
                        for made in (asked, answer, document):
                            made.value = ""
                        say("It is approved.")
                        await self._after()

                with row():
                    button("Add it", click, icon="add")

    async def _after(self) -> None:
        now = await self._visit.do(standing)
        if now is None or self._list.is_deleted:
            return
        self._tell(now)
        await self._show()
        if now.measured:
            await self._measured()
