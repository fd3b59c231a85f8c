"""Drafted questions: read by a person, put into better words, approved or thrown away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.validation_element import ValidationElement

from assay.project import questions
from assay.project.knowledge.documents import list_all as list_documents
from assay.project.questions import Question, QuestionError, ReviewState, State
from assay.project.workspace import project_of
from assay.studio import widgets as w
from assay.studio.browser import show_at_once
from assay.studio.dialogs import errors_at, notify
from assay.studio.session import LatestRequest, PageContext, action

AT_ONCE = 10


@action("viewer")
def read_standing(context: PageContext) -> ReviewState | None:
    """How many questions are approved; None where the project has examples of its own."""
    return questions.review(project_of(context.workspace))


@action("viewer")
def list_questions(context: PageContext, state: State) -> list[Question]:
    """Questions that wait, or were thrown away."""
    project = project_of(context.workspace)
    return questions.questions(project.store, project.owner, state)


@action("editor")
def decide_question(context: PageContext, id: str, state: State) -> ReviewState:
    """Approve a question, throw it away, or let it wait again."""
    return questions.decide(project_of(context.workspace), [id], state, context.workspace.who)


@action("editor")
def change_question(context: PageContext, id: str, question: str, answer: str) -> Question:
    """Put it into better words, which approves it."""
    project = project_of(context.workspace)
    return questions.change(project, id, context.workspace.who, question=question, answer=answer)


@action("editor")
def add_question(
    context: PageContext, question: str, answer: str | None, document: str
) -> Question:
    """A question of one's own."""
    workspace = context.workspace
    return questions.add(
        project_of(workspace),
        question,
        workspace.who,
        answer=answer,
        document=document,
        among=list_documents(workspace),
    )


@contextmanager
def _errors_at(**parts: ValidationElement[Any]) -> Iterator[None]:
    """Says what is wrong with a question at the field of that part."""
    for made in parts.values():
        made.error = None
    try:
        yield
    except QuestionError as error:
        with errors_at(parts[error.part]):
            raise


class QuestionsCard:
    """The card of a project that began with documents.

    Args:
        measured: called after each change, once enough questions are approved to measure by.
    """

    def __init__(
        self, context: PageContext, now: ReviewState, measured: Callable[[], Awaitable[None]]
    ) -> None:
        self._context, self._measured = context, measured
        self._state: State = "waiting"
        self._shown: dict[str, ui.element] = {}
        self._latest = LatestRequest()
        with w.section(
            "Drafted questions",
            "Check that users would ask each question and that your documents support its answer. "
            "Only questions that a person has approved are used for measuring.",
        ):
            self._standing = w.text("", "strong").props("role=status")
            self._bar = w.bar(0.0, "Approved questions")
            with w.row():
                self._chosen = ui.toggle(
                    {"waiting": "To review", "rejected": "Discarded"},
                    value="waiting",
                    on_change=self._change_state,
                ).props("no-caps unelevated")
                show_at_once(self._chosen)
            self._list = ui.element("div").classes("stack gap")
            self._rest = w.text("", "soft note")
            if context.may("editor"):
                self._build_add()
        self._show_standing(now)
        ui.timer(0.05, self._show, once=True)

    def _show_standing(self, now: ReviewState) -> None:
        self._standing.text = now.sentence[:1].upper() + now.sentence[1:]
        w.set_bar(self._bar, min(1.0, now.approved / now.needed))

    async def _change_state(self) -> None:
        self._state = self._chosen.value
        self._list.clear()
        self._shown.clear()
        await self._show()

    async def _show(self) -> None:
        """Take away and add alone: what somebody is writing into the others stays."""
        is_latest = self._latest.start()
        found = await self._context.do(list_questions, self._state)
        if not is_latest() or self._list.is_deleted:
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
        self._rest.text = f"{left:,} more will follow." if left else "None."
        self._rest.set_visibility(bool(left) or not found)

    def _question(self, one: Question) -> ui.element:
        may = self._context.may("editor")
        with ui.element("div").classes("shown-example") as shown:
            where = f"{one.id}, from {one.document}" if one.document else one.id
            w.text(where, "field-label", "span")
            question_input = w.field(
                "Question",
                ui.textarea(value=one.question).props("autogrow"),
                name=f"Question {one.id}",
            )
            answer_input = w.field(
                "Correct answer",
                ui.textarea(value=one.answer).props("autogrow"),
                name=f"Correct answer to {one.id}",
            )
            for area in (question_input, answer_input):
                area.set_enabled(may)
            if one.passage:
                w.text(f"Drafted from: “{one.passage}”", "soft note")
            if not may:
                return shown

            async def approve() -> None:
                same = (question_input.value, answer_input.value) == (one.question, one.answer)
                if same:
                    await self._context.do(decide_question, one.id, "approved")
                else:
                    with _errors_at(question=question_input, answer=answer_input):
                        await self._context.do(
                            change_question,
                            one.id,
                            question_input.value or "",
                            answer_input.value or "",
                        )
                await self._refresh()

            async def discard() -> None:
                await self._context.do(decide_question, one.id, "rejected")
                await self._refresh()

            with w.row():
                w.button("Approve", approve, kind="primary", icon="check", name=f"Approve {one.id}")
                if self._state == "waiting":
                    w.button("Discard", discard, kind="danger", name=f"Discard {one.id}")
        return shown

    def _build_add(self) -> None:
        with w.details("Add your own question"), ui.element("div").classes("stack"):
            question_input = w.field(
                "Question", ui.textarea().props("autogrow"), name="Your question"
            )
            answer_input = w.field(
                "Correct answer",
                ui.textarea().props("autogrow"),
                "Leave it empty if no document has the answer: the agent should then say so.",
                name="Correct answer to your question",
            )
            document = w.field(
                "Document",
                ui.input(),
                "The document that contains the answer.",
                name="Document that contains the answer",
            )

            async def click() -> None:
                answer_text = (answer_input.value or "").strip() or None
                named_document = (document.value or "").strip()
                with _errors_at(question=question_input, answer=answer_input, document=document):
                    await self._context.do(
                        add_question, question_input.value or "", answer_text, named_document
                    )
                for made in (question_input, answer_input, document):
                    made.value = ""
                notify("Question added and approved.")
                await self._refresh()

            with w.row():
                w.button("Add", click, icon="add")

    async def _refresh(self) -> None:
        now = await self._context.do(read_standing)
        if now is None or self._list.is_deleted:
            return
        self._show_standing(now)
        await self._show()
        if now.is_measured:
            await self._measured()
