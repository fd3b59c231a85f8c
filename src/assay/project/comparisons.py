"""Finished comparisons of a workspace, as pages look at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select

from assay.agent.engines import BatchEngines
from assay.chat.plain_calls import say_answer
from assay.compare import records
from assay.compare.identity import costs_open, was_served
from assay.compare.naming import verdict_in_words
from assay.compare.planning import ALPHA, dump_settings
from assay.compare.report import second_look
from assay.compare.report.html import disagreements, read_answers, write_report
from assay.compare.result import AnswerRow, Result, Verdict
from assay.compare.shared_results import folder_of
from assay.config import Config
from assay.data.split import VALIDATION
from assay.errors import NotFoundError, Step
from assay.evaluate.graders.registry import grader_files
from assay.evaluate.label_noise import SecondLook
from assay.evaluate.stats import opening_alpha
from assay.project.answer_lines import with_present_lines
from assay.project.knowledge.searching import has_other_documents
from assay.project.settings.effects import differing, is_cost
from assay.project.workspace import Workspace, project_of
from assay.store.tables import AgentVersionRow, ComparisonRow
from assay.version import VERSION

Which = Literal["differ", "one-right", "a-wins", "b-wins", "all-fail", "doubtful", "all"]
"""`differ`: a and b answer differently, and not both wholly right; of all candidates, where a and b
are the same. `one-right`: one of the two is right and the other is not, as `two_by_two` counts.
`a-wins`: their scores differ, to a's favour; `doubtful`: the label deserves a second
look."""
RIGHT = 0.5
"""An answer with a lower score counts as wrong where that is asked."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of the list; the verdict is in words."""

    id: str
    at: datetime
    verdict: Verdict
    opening: int
    candidates: int


@dataclass(frozen=True, slots=True)
class DoubtfulRow:
    """A row whose label a person should look at again.

    Attributes:
        said: the candidates that know the job, by what they answered.
    """

    id: str
    input: str
    label: str
    said: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class LabelReview:
    """What a comparison found of the labels of its holdout.

    Attributes:
        task: of the comparison.
        second_look: None where nobody could doubt a label.
        advice: what to do about `rows`; None where there are none.
    """

    comparison: str
    task: str
    second_look: SecondLook | None
    sentence: str
    advice: str | None
    rows: list[DoubtfulRow]

    def to_dict(self) -> dict[str, Any]:
        """The review as one JSON object."""
        look = None if self.second_look is None else self.second_look.model_dump(mode="json")
        return {**asdict(replace(self, second_look=None)), "second_look": look}


def summaries(workspace: Workspace) -> list[Summary]:
    """All comparisons that ended, the newest first, without reading their results whole."""
    query = (
        select(
            ComparisonRow.id,
            ComparisonRow.at,
            ComparisonRow.plan,
            ComparisonRow.result["verdict"],
            ComparisonRow.result["names"],
        )
        .where(ComparisonRow.result.is_not(None))
        .order_by(ComparisonRow.at.desc(), ComparisonRow.id)
    )
    with workspace.store.session() as session:
        rows = session.execute(query).all()
    return [
        Summary(
            id,
            at,
            verdict_in_words(Verdict.model_validate(verdict), names or {}),
            plan["opening"],
            len(plan["candidates"]),
        )
        for id, at, plan, verdict, names in rows
        if verdict is not None
    ]


def result(workspace: Workspace, id: str) -> Result:
    """One comparison's result.

    Raises:
        NotFoundError: there is none of that id, or it has not ended.
    """
    found = records.load_result(workspace.store, id)
    if found is None:
        raise NotFoundError(f"there is no finished comparison {id[:16]!r}.")
    return found


def newest(workspace: Workspace) -> Result | None:
    """The result of the comparison begun last, of those that ended."""
    return next(records.load_results(workspace.store), None)


@dataclass(frozen=True, slots=True)
class NextOpening:
    """The opening of the holdout that another comparison would need.

    Attributes:
        number: from 1.
        level: at which its verdict would be reached; the first has `first_level`.
    """

    number: int
    level: float
    first_level: float


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs from the newest comparison.

    Attributes:
        changed: such as "settings", but for those that have a field of their own.
        documents: those that would be searched.
        costs: what says which candidate is the cheapest, and decides no answer and no test.
        perhaps: what a result does not say, so that it counts as changed.
        opening: None where comparing again would not open the holdout.
    """

    changed: list[str]
    documents: bool
    costs: bool
    perhaps: list[str]
    opening: NextOpening | None


def changes(workspace: Workspace) -> Changes:
    """What has changed since the newest comparison, and the opening that comparing again would
    need. Examples that changed are divided anew for it. A result does not say what files graders
    read, nor which unlabelled inputs there were: these count as changed.

    Raises:
        DataError, HoldoutError: the examples cannot be divided.
    """
    project, before = project_of(workspace), newest(workspace)
    manifest = project.split()
    changed: list[str] = []
    perhaps: list[str] = []
    documents = costs = False
    if before is not None:
        if manifest.holdout_sha256 != before.data.holdout_sha256:
            changed.append("the holdout")
        if manifest.train_sha256 != before.data.train_sha256:
            changed.append("examples")
        chosen_on = before.data.validation_sha256  # not in older results
        if chosen_on is not None and manifest.files[VALIDATION] != chosen_on:
            changed.append("validation rows")
        now = dump_settings(project.config)
        known = now.keys() & before.config.keys()  # an older result does not have all
        earlier, later = ({name: one[name] for name in known} for one in (before.config, now))
        paths = differing(earlier, later)
        if of_server := {"vllm", "vllm.base_url"} & set(paths):
            store, providers = project.store, project.providers
            if not was_served(
                before, BatchEngines.of(project.config, store, providers, project.owner)
            ):
                paths = [path for path in paths if path not in of_server]
        of_cost = [is_cost(path, project.config) for path in paths]
        costs = any(of_cost) and _shares_opening(before, project.config)
        if not (costs and all(of_cost)) and paths:
            changed.append("settings")
        documents = has_other_documents(workspace, (one.agent for one in before.candidates))
        if grader_files(project.config, project.root):
            perhaps.append("files of graders")
        if project.config.unlabelled is not None:
            perhaps.append("unlabelled inputs")
        if before.assay_version != VERSION:
            changed.append("the version of Assay")
        if not changed and not perhaps and not documents:
            return Changes(changed, documents, costs, perhaps, None)
    number = len(project.openings()) + 1
    level, first = (opening_alpha(ALPHA, one) for one in (number, 1))
    return Changes(changed, documents, costs, perhaps, NextOpening(number, level, first))


def _shares_opening(before: Result, config: Config) -> bool:
    """Whether a comparison in which only costs differ is judged in the same opening
    (`compare.identity`)."""
    return not costs_open(config) and before.plan.tests is not None


def report(workspace: Workspace, id: str, *, redact: bool = False) -> Path:
    """The report's one file, written afresh.

    Raises:
        NotFoundError: the comparison's folder is not there.
    """
    folder = folder_of(workspace.store, id)
    if not (folder / records.RESULT_FILE).exists():
        raise NotFoundError(
            "the files of this comparison are missing, so its report cannot be written.",
            where=str(folder),
        )
    return write_report(folder, redact=redact)


def review_labels(workspace: Workspace, id: str = "") -> LabelReview:
    """The rows of an opened holdout whose label is doubtful, with what the candidates say.

    Args:
        id: how the comparison's id begins; the newest when not given.

    Raises:
        NotFoundError: there is no such comparison, or its answers are not kept any more.
    """
    found = next(
        (one for one in records.load_results(workspace.store) if one.comparison.startswith(id)),
        None,
    )
    if found is None:
        raise NotFoundError(
            f"there is no finished comparison {id[:16]!r}."
            if id
            else "there is no comparison yet.",
            fix=f"{Step.COMPARE} finds doubtful labels.",
        )
    look = found.second_look
    if look is None:
        return LabelReview(found.comparison, found.task, None, second_look.NOBODY, None, [])
    by_id = {row.id: row for row in answers(workspace, found.comparison)} if look.ids else {}
    rows = [
        DoubtfulRow(row.id, row.input, row.reference, second_look.said(row, look))
        for row in (by_id[id] for id in look.ids)
    ]
    sentence, advice = second_look.found(look, found.good_enough), second_look.advice(look)
    return LabelReview(found.comparison, found.task, look, sentence, advice, rows)


def answers(workspace: Workspace, id: str) -> tuple[AnswerRow, ...]:
    """Every holdout example with all answers and the line that it has in its file now, those on
    which candidates differ most first.

    Raises:
        NotFoundError: the answers are not kept any more.
    """
    path = folder_of(workspace.store, id) / records.ANSWERS_FILE
    try:
        rows = _answers(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise NotFoundError(
            "the answers of this comparison are missing.", where=str(path)
        ) from None
    return with_present_lines(workspace, rows)


def select_rows(
    rows: Sequence[AnswerRow],
    which: Which,
    a: str = "",
    b: str = "",
    words: str = "",
    doubtful: Collection[str] = (),
    task: str = "",
) -> list[AnswerRow]:
    """The rows that are looked for; an answer that is missing has no score and wins nothing.

    Args:
        words: that stand in input, reference, or an answer of `a` or `b`, as these are shown.
        doubtful: ids of the rows whose label is.
        task: which says how answers are shown.
    """
    wanted = words.casefold()

    def fits(row: AnswerRow) -> bool:
        scores = row.scores
        if which == "differ" and a != b:
            return _is_disputed(row, a, b)
        if which == "differ":
            return len(set(scores.values())) > 1
        if which == "one-right":
            return {a, b} <= scores.keys() and (scores[a] >= RIGHT) != (scores[b] >= RIGHT)
        if which == "doubtful":
            return row.id in doubtful
        if which == "all-fail":
            return all(score < RIGHT for score in scores.values())
        if which in ("a-wins", "b-wins"):
            if a not in scores or b not in scores:
                return False
            better, other = (a, b) if which == "a-wins" else (b, a)
            return scores[better] > scores[other]
        return True

    def contains(row: AnswerRow) -> bool:
        answers = (row.answers[name] for name in (a, b) if name in row.answers)
        said = (say_answer(text, task) for text in (row.reference, *answers))
        return any(wanted in text.casefold() for text in (row.input, *said))

    return [row for row in rows if fits(row) and (not wanted or contains(row))]


def _is_disputed(row: AnswerRow, a: str, b: str) -> bool:
    """Whether two candidates do not agree: two ways to write what is right are agreement."""
    one, other = row.scores.get(a), row.scores.get(b)
    if one != other:
        return True
    texts = [row.answers.get(name, "").strip() for name in (a, b)]
    return texts[0] != texts[1] and (one is None or one < 1)


def two_by_two(rows: Sequence[AnswerRow], a: str, b: str) -> tuple[int, int, int, int]:
    """Rows where both are right, a alone, b alone, and neither, of those that both have a score."""
    both = [(row.scores[a], row.scores[b]) for row in rows if {a, b} <= row.scores.keys()]
    found = Counter((one >= RIGHT, other >= RIGHT) for one, other in both)
    return found[True, True], found[True, False], found[False, True], found[False, False]


def labels(workspace: Workspace, agents: Sequence[str]) -> dict[str, str]:
    """`NAME@VERSION` of agents by their ids; of several saves the last."""
    query = (
        select(AgentVersionRow)
        .where(AgentVersionRow.agent.in_(agents))
        .order_by(AgentVersionRow.key)
    )
    with workspace.store.session() as session:
        return {row.agent: f"{row.name}@{row.version}" for row in session.scalars(query)}


@lru_cache(maxsize=4)
def _answers(path: Path, _changed: int) -> tuple[AnswerRow, ...]:
    rows = list(read_answers(path))
    first = disagreements(rows)
    shown = {row.id for row in first}
    return (*first, *(row for row in rows if row.id not in shown))
