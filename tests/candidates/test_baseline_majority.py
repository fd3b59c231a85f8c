"""The floor takes part in every task, with the constant that is hardest to beat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.candidates.test_distill import context_of

from assay.candidates import registry
from assay.candidates.building import Candidate
from assay.example import Example


def floor(folder: Path, train: list[str], validation: list[str]) -> tuple[Candidate, str]:
    """The candidate that is built, and what it answers."""
    parts = [
        tuple(Example.of(f"{part} {n}", text, id=f"{part}{n}") for n, text in enumerate(texts))
        for part, texts in (("train", train), ("validation", validation))
    ]
    context = replace(context_of(folder, {}), train=parts[0], validation=parts[1])
    made = registry.build("baseline-majority", context)
    return made, context.measure(made.agent).answers[0].text


def test_the_most_frequent_answer_of_train_is_given_in_any_task(tmp_path: Path) -> None:
    made, answer = floor(tmp_path, ["no", "yes", "yes", "a", "a"], ["a", "no", "no", "no"])
    assert (answer, made.scores, made.floor) == ("a", (1.0, 0.0, 0.0, 0.0), True)


def test_where_all_answers_differ_validation_chooses_whether_to_answer(tmp_path: Path) -> None:
    train = ["one", "three 33", "a long answer, longer than all"]
    made, answer = floor(tmp_path / "a", train, ["three 33", "", "three 33"])
    assert (answer, made.scores) == ("three 33", (1.0, 0.0, 1.0))
    made, answer = floor(tmp_path / "b", train, ["", "three 33", ""])
    assert (answer, made.scores) == ("", (1.0, 0.0, 1.0))
    assert [trial.chosen for trial in made.tried] == [False, True]


def test_without_any_answer_the_empty_one_is_given(tmp_path: Path) -> None:
    made, answer = floor(tmp_path, [], ["a", ""])
    assert (answer, made.scores) == ("", (0.0, 1.0))
