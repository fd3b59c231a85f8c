"""Questions of a project that began with documents alone: drafted, then approved by a person.

    decide(project, ["q001", "q002"], "approved", "ann")
    review(project).sentence                # not measured: 2 of 50 questions are approved.

Nothing is measured on questions that nobody has read. With `NEEDED` approved ones they become the
project's data file, and every approval after that is added to it, until the holdout is opened.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from assay.close_names import find_close_name
from assay.config.names import check_text
from assay.data import drafting
from assay.data.formats.record import shorten
from assay.errors import NotFoundError, StateError, Step, UsageError
from assay.evaluate.documents import documents_by_name
from assay.store.erasure import overwrite
from assay.store.files import write_atomic_lines
from assay.store.store import Store
from assay.store.tables import DraftedQuestionRow, now

if TYPE_CHECKING:
    from assay.project.project import Project

State = Literal["waiting", "approved", "rejected"]
NEEDED = 50
"""Approved questions before anything is measured."""
MOST_A_DOCUMENT = 20
"""Drafts of one document, so that a long one does not crowd the others out."""
LONGEST = 20_000
"""Characters of a question, and of its answer."""
FILE = "data/questions.jsonl"
ABSTAIN = "I cannot find this in our documents."
"""The right answer where no document holds one, in projects that begin with documents."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question that waits for a person, or has had one.

    Attributes:
        document: that answers it; "" where none does, and `answer` says so.
        passage: the sentence it was drafted from; "" for one that a person wrote.
        who: said yes or no, or changed it last.
    """

    id: str
    question: str
    answer: str
    document: str
    passage: str
    state: str
    who: str | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ReviewState:
    """How far a project is from being measured."""

    approved: int
    waiting: int
    rejected: int
    needed: int = NEEDED

    @property
    def is_measured(self) -> bool:
        """Whether enough questions are approved."""
        return self.approved >= self.needed

    @property
    def sentence(self) -> str:
        """For every page that shows what the agent is worth."""
        said = f"{self.approved} of {self.needed} questions are approved"
        return f"{said} and used to measure." if self.is_measured else f"not measured: {said}."

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return {**asdict(self), "measured": self.is_measured, "sentence": self.sentence}


def draft_questions(project: Project, texts: Iterable[tuple[str, str]]) -> int:
    """Draft questions from documents; those that were drafted before stay as they are.

    Args:
        texts: (name, text) of each document.

    Returns:
        How many are new.
    """
    made = 0
    with project.store.session() as session:
        known = set(
            session.execute(
                select(DraftedQuestionRow.document, DraftedQuestionRow.passage).where(
                    DraftedQuestionRow.project == project.owner
                )
            ).tuples()
        )
        number = _last(session, project.owner)
        for document, text in texts:
            for count, found in enumerate(drafting.draft_questions(text)):
                if count == MOST_A_DOCUMENT:
                    break
                if (document, found.passage) in known:
                    continue
                made += 1
                session.add(
                    DraftedQuestionRow(
                        project=project.owner,
                        id=_id(number + made),
                        question=found.question,
                        answer=found.answer,
                        document=document,
                        passage=found.passage,
                        state="waiting",
                    )
                )
    return made


def questions(store: Store, owner: str, state: State | None = None) -> list[Question]:
    """Those in a state, or all, in the order in which they came."""
    query = select(DraftedQuestionRow).where(DraftedQuestionRow.project == owner)
    if state is not None:
        query = query.where(DraftedQuestionRow.state == state)
    with store.session() as session:
        return [
            row.convert(Question) for row in session.scalars(query.order_by(DraftedQuestionRow.key))
        ]


def review(project: Project) -> ReviewState | None:
    """How far a project is; None for one that brought examples of its own."""
    return _review(project.store, project.owner, project.root, project.config.data.file)


def _review(store: Store, owner: str, root: Path, file: str) -> ReviewState | None:
    counted = (
        select(DraftedQuestionRow.state, func.count())
        .where(DraftedQuestionRow.project == owner)
        .group_by(DraftedQuestionRow.state)
    )
    with store.session() as session:
        found = dict(session.execute(counted).tuples().all())
    if not found and (file != FILE or (root / FILE).exists()):
        return None
    return ReviewState(*(found.get(state, 0) for state in ("approved", "waiting", "rejected")))


def check_measurable(store: Store, owner: str, root: Path, file: str) -> None:
    """Refuse to measure on fewer questions than are needed.

    Args:
        root: the project's folder.
        file: the data file that its configuration names.

    Raises:
        StateError: the project began with documents, and too few questions are approved.
    """
    if file != FILE or (now := _review(store, owner, root, file)) is None:
        return
    if not now.is_measured:
        raise StateError(now.sentence, fix=f"{Step.APPROVE} lists those that are left.")
    if not (root / FILE).exists():  # killed between the approval and the file
        _write(store, owner, root)


def drafted_note(project: Project) -> list[str]:
    """What a comparison on drafted questions cannot say; nothing where people worded them all."""
    if project.config.data.file != FILE:
        return []
    approved = questions(project.store, project.owner, "approved")
    drafted = sum(  # behind the topic, which the passage itself does not have
        any(one.question.endswith(d.question) for d in drafting.draft_questions(one.passage))
        for one in approved
    )
    if not drafted:
        return []
    return [
        f"{drafted} of {len(approved)} questions are unchanged drafts in the words of the "
        "documents, which makes answers easier to find and quote than for questions of users. "
        "Rephrase them, or add real questions, before you rely on the result."
    ]


class QuestionError(UsageError):
    """A question cannot be as it was written.

    Attributes:
        part: that is wrong: `question`, `answer` or `document`.
    """

    def __init__(self, part: str, what: str, fix: str | None = None) -> None:
        super().__init__(what, fix=fix)
        self.part = part


def _check_part(part: str, text: str) -> str:
    try:
        return check_text(text, f"the {part}", LONGEST)
    except UsageError as error:
        raise QuestionError(part, error.what, error.fix) from None


def decide(project: Project, ids: Sequence[str], state: State, who: str) -> ReviewState:
    """Approve or reject questions, or put them back; all of them or none.

    Raises:
        NotFoundError: there is no such question.
        StateError: the holdout was opened.
    """
    _check_open(project)
    with project.store.session() as session:
        for id in ids:
            row = _row(session, project.owner, id)
            row.state, row.who, row.at = state, who, now()
    _write(project.store, project.owner, project.root)
    found = review(project)
    assert found is not None
    return found


def change(
    project: Project,
    id: str,
    who: str,
    *,
    question: str | None = None,
    answer: str | None = None,
) -> Question:
    """Put a question or its answer into better words; it is approved by that.

    Raises:
        NotFoundError: there is no such question.
        QuestionError: one of them would be empty, or is too long.
        StateError: the holdout was opened.
    """
    _check_open(project)
    question = None if question is None else _check_part("question", question)
    answer = None if answer is None else _check_part("answer", answer)
    with project.store.session() as session:
        row = _row(session, project.owner, id)
        row.question = row.question if question is None else question
        row.answer = row.answer if answer is None else answer
        row.state, row.who, row.at = "approved", who, now()
        changed = row.convert(Question)
    _write(project.store, project.owner, project.root)
    return changed


def add(
    project: Project,
    question: str,
    who: str,
    *,
    answer: str | None = None,
    document: str = "",
    among: Collection[str] | None = None,
) -> Question:
    """Add a question of one's own, approved.

    Args:
        answer: None where no document holds one: the agent should say so.
        document: that holds the answer.
        among: the names of all documents; None: they are not known.

    Raises:
        QuestionError: it is empty or too long, only one of answer and document is given, or there
            is no such document.
        StateError: the holdout was opened.
    """
    _check_open(project)
    question = _check_part("question", question)
    answer = None if answer is None else _check_part("answer", answer)
    if (answer is None) != (not document):
        raise QuestionError(
            "answer" if answer is None else "document",
            "an answer and its document must be given together.",
            "Give both, or neither if no document answers the question.",
        )
    if document and among is not None and document not in documents_by_name(among):
        what = f"there is no document {shorten(document)!r}."
        raise QuestionError("document", what, _name_near(document, among))
    with project.store.session() as session:
        row = DraftedQuestionRow(
            project=project.owner,
            id=_id(_last(session, project.owner) + 1),
            question=question,
            answer=ABSTAIN if answer is None else answer,
            document=document,
            passage="",
            state="approved",
            who=who,
            at=now(),
        )
        session.add(row)
        added = row.convert(Question)
    _write(project.store, project.owner, project.root)
    return added


def _name_near(document: str, among: Collection[str]) -> str:
    near = find_close_name(document, among)
    return f"Did you mean {near!r}?" if near else "Use the name of one on the page Knowledge."


def forget_all_but(store: Store, owner: str, documents: Collection[str]) -> None:
    """Erase what was drafted from other documents than these.

    Approved questions stay, since they are the project's examples; the sentence that they were
    drafted from goes.
    """
    drafted_from = (
        DraftedQuestionRow.project == owner,
        DraftedQuestionRow.document.not_in(documents),
        DraftedQuestionRow.passage != "",
    )
    with store.session() as session:
        overwrite(session)
        session.execute(
            delete(DraftedQuestionRow).where(*drafted_from, DraftedQuestionRow.state != "approved")
        )
        session.execute(update(DraftedQuestionRow).where(*drafted_from).values(passage=""))


def _check_open(project: Project) -> None:
    if project.openings():
        raise StateError(
            "the questions were used to measure and can no longer be changed.",
            where=FILE,
            fix="Start afresh with new questions in a file of the same format: "
            f"{Step.RENEW_HOLDOUT}.",
        )


def _write(store: Store, owner: str, root: Path) -> None:
    """Make the approved questions the project's data file, once there are enough."""
    approved = questions(store, owner, "approved")
    if len(approved) >= NEEDED or (root / FILE).exists():
        write_atomic_lines(root / FILE, [_line(question) for question in approved])


def _line(question: Question) -> str:
    kept = ("id", "question", "answer", "document")
    row = {name: getattr(question, name) for name in kept}
    return json.dumps(row, ensure_ascii=False) + "\n"


def _row(session: Session, owner: str, id: str) -> DraftedQuestionRow:
    row = session.scalar(
        select(DraftedQuestionRow).where(
            DraftedQuestionRow.project == owner, DraftedQuestionRow.id == id
        )
    )
    if row is None:
        raise NotFoundError(f"there is no question {id!r}.", fix=f"{Step.APPROVE} lists them.")
    return row


def _last(session: Session, owner: str) -> int:
    """The highest number that was given."""
    ids = session.scalars(select(DraftedQuestionRow.id).where(DraftedQuestionRow.project == owner))
    return max((int(id.removeprefix("q")) for id in ids), default=0)


def _id(number: int) -> str:
    return f"q{number:03d}"
