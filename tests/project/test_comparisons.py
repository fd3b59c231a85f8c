"""Comparisons as pages look at them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.compare.sample import sample_result, sample_rows

from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.compare import records
from assay.compare.naming import in_words
from assay.compare.result import AnswerRow
from assay.errors import NotFoundError
from assay.project import comparisons
from assay.project.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    for letter in "cf":
        result = sample_result(60).model_copy(update={"comparison": letter * 64})
        folder = made.store.folder / "comparisons" / (letter * 16)
        records.save_plan(made.store, result.comparison, "d" * 64, result.plan, folder)
        records.save_result(made.store, result, sample_rows(60), folder)
    plan = sample_result(60).plan
    records.save_plan(made.store, "e" * 64, "d" * 64, plan, made.store.folder / "comparisons" / "e")
    return made


def test_what_has_not_ended_is_not_listed(workspace: Workspace) -> None:
    found = comparisons.summaries(workspace)
    assert {one.id[0] for one in found} == {"c", "f"}
    assert found[0].verdict == in_words(sample_result(60)).verdict
    assert found[0].candidates == 5
    with pytest.raises(NotFoundError):
        comparisons.result(workspace, "e" * 64)


def test_answers_come_with_those_that_differ_first(workspace: Workspace) -> None:
    rows = comparisons.answers(workspace, "c" * 64)
    assert len(rows) == 60
    assert len({row.id for row in rows}) == 60
    spreads = [max(row.scores.values()) - min(row.scores.values()) for row in rows]
    assert spreads == sorted(spreads, reverse=True)


def test_filters(workspace: Workspace) -> None:
    rows = comparisons.answers(workspace, "c" * 64)
    a, b = "fine-tune", "prompt"
    wins = comparisons.select_rows(rows, "a-wins", a, b)
    assert wins
    assert all(row.scores[a] > row.scores[b] for row in wins)
    assert comparisons.select_rows(rows, "b-wins", a, b) == comparisons.select_rows(
        rows, "a-wins", b, a
    )
    failed = comparisons.select_rows(rows, "all-fail")
    assert all(not any(row.scores.values()) for row in failed)
    assert len(comparisons.select_rows(rows, "differ")) + len(
        [row for row in rows if len(set(row.scores.values())) == 1]
    ) == len(rows)
    assert comparisons.select_rows(rows, "a-wins", a, "nobody") == []
    assert [row.id for row in comparisons.select_rows(rows, "all", words="MESSAGE 7:")] == ["row-7"]


def test_two_that_do_not_agree_are_those_that_were_chosen() -> None:
    def row(id: str, answers: str, scores: tuple[float, ...]) -> AnswerRow:
        names = ("a", "b", "c")
        return AnswerRow(
            id=id,
            input="?",
            reference="x",
            answers=dict(zip(names, answers, strict=True)),
            scores=dict(zip(names, scores, strict=True)),
        )

    rows = [
        row("all-right", "xxx", (1, 1, 1)),
        row("only-c-differs", "xxy", (1, 1, 0)),
        row("b-is-wrong", "xyx", (1, 0, 1)),
        row("wrong-in-two-ways", "yzx", (0, 0, 1)),
        row("wrong-in-one-way", "yyx", (0, 0, 1)),
        row("right-in-two-ways", "xXx", (1, 1, 1)),
    ]
    # Calls are searched as they are shown, of the two as well.
    call = '{"name": "find_ferry", "arguments": {"to": "Kiel"}}'
    called = row("called", "xyz", (1, 0, 0))
    called.answers["b"] = f"<tool_call>{call}</tool_call>"

    def holding(words: str, task: str, b: str = "b") -> int:
        return len(comparisons.select_rows([called], "all", "a", b, words, task=task))

    shown = 'FIND_FERRY(to: "Kiel")'
    assert [holding(shown, "tools"), holding(call, "tools"), holding(call, "text")] == [1, 0, 1]
    assert holding(shown, "tools", "c") == 0
    found = [one.id for one in comparisons.select_rows(rows, "differ", "a", "b")]
    assert found == ["b-is-wrong", "wrong-in-two-ways"]
    assert len(comparisons.select_rows(rows, "differ", "a", "a")) == 4


def test_only_one_of_two_is_right_as_often_as_the_table_counts() -> None:
    def row(id: str, a: float, b: float) -> AnswerRow:
        scores, answers = {"a": a, "b": b}, {"a": f"{a}", "b": f"{b}"}
        return AnswerRow(id=id, input="?", reference="x", answers=answers, scores=scores)

    rows = [row("both-wrong", 0.1, 0.4), row("one", 0.4, 0.5), row("both-right", 0.6, 1.0)]
    _, only_a, only_b, _ = comparisons.two_by_two(rows, "a", "b")
    found = comparisons.select_rows(rows, "one-right", "a", "b")
    assert [one.id for one in found] == ["one"]
    assert only_a + only_b == len(found)
    assert len(comparisons.select_rows(rows, "differ", "a", "b")) == 3, "scores differ in all"


def test_doubtful_labels_come_with_what_the_candidates_say(workspace: Workspace) -> None:
    review = comparisons.review_labels(workspace, "ccc")
    assert review.comparison == "c" * 64
    assert review.second_look is not None
    assert [row.id for row in review.rows] == review.second_look.ids
    assert review.advice
    rows = {row.id: row for row in sample_rows(60)}
    for row in review.rows:
        assert row.label == rows[row.id].reference
        (answer,) = row.said
        assert answer != row.label
        assert row.said[answer] == ["baseline-tfidf", "few-shot", "fine-tune"]
    everything = comparisons.answers(workspace, "c" * 64)
    ids = review.second_look.ids
    found = comparisons.select_rows(everything, "doubtful", doubtful=ids)
    assert {row.id for row in found} == set(ids)
    with pytest.raises(NotFoundError):
        comparisons.review_labels(workspace, "e")


def test_two_by_two_counts_every_row_once(workspace: Workspace) -> None:
    rows = comparisons.answers(workspace, "c" * 64)
    a, b = "fine-tune", "prompt"
    both, only_a, only_b, neither = comparisons.two_by_two(rows, a, b)
    assert both + only_a + only_b + neither == len(rows)
    assert both + only_a == sum(row.scores[a] >= comparisons.RIGHT for row in rows)
    assert (both, only_b, only_a, neither) == comparisons.two_by_two(rows, b, a)
    assert comparisons.two_by_two(rows, a, "nobody") == (0, 0, 0, 0)


def test_what_is_gone_is_a_sentence(workspace: Workspace) -> None:
    folder = workspace.store.folder / "comparisons" / ("c" * 16)
    assert comparisons.report(workspace, "c" * 64).exists()
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(NotFoundError):
        comparisons.answers(workspace, "c" * 64)
    with pytest.raises(NotFoundError):
        comparisons.report(workspace, "c" * 64)


def test_the_label_of_an_agent_is_its_last_save(workspace: Workspace) -> None:
    store = workspace.store
    one, other = Agent(model="a"), Agent(model="b")
    for agent in (one, other, one):
        save_agent(store, "prompt", agent, message="")
    found = comparisons.labels(workspace, [one.id, other.id, "x"])
    assert found == {one.id: "prompt@3", other.id: "prompt@2"}
