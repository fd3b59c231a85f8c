"""The nearest answer as a candidate: when it abstains is chosen on validation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.candidates.test_distill import context_of
from tests.knowledge.wordy import Wordy

from assay.agent import runtime
from assay.agent.lineage import rows_held
from assay.candidates import nearest_answer, registry
from assay.candidates.building import Context
from assay.candidates.shared import extraction
from assay.errors import AssayError
from assay.example import Example, Message
from assay.generate import extraction as fields
from assay.generate import nearest

THINGS = ("anchor", "bottle", "candle", "drawer", "engine", "funnel", "garden", "hammer")
NO = "I cannot say."


@pytest.fixture(autouse=True)
def by_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (runtime, nearest, nearest_answer):
        monkeypatch.setattr(module, "get_embedder", lambda name: Wordy())


def context(folder: Path, strangers: int, **fields: Any) -> Context:
    train = [Example.of(f"where is the {thing}", f"in {thing} hall", id=thing) for thing in THINGS]
    near = [
        Example.of(f"so where is the {thing} {n}", f"in {thing} hall", id=f"{thing}{n}")
        for n, thing in enumerate(THINGS * 2)
    ]
    far = [Example.of(f"sing song number {n} loud", NO, id=f"song{n}") for n in range(strangers)]
    made = context_of(folder, {}, **fields)
    return replace(made, train=tuple(train), validation=(*near, *far))


def test_it_looks_answers_up_and_knows_its_rows(tmp_path: Path) -> None:
    made = context(tmp_path, 0)
    built = registry.build("nearest-answer", made)
    assert (built.baseline, built.floor) == (True, False)
    assert built.scores == (1.0,) * 16 == tuple(made.measure(built.agent).primary_scores)
    assert [trial.setting for trial in built.tried if trial.chosen] == ["always"]
    assert list(rows_held(built.agent, made.store)) == [row.content_hash() for row in made.train]
    assert registry.build("nearest-answer", made).agent == built.agent


@pytest.mark.parametrize("name", ["nearest-answer", "extract"])
def test_rows_are_found_by_the_embedder_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    asked: list[str] = []

    def get(named: str) -> Wordy:
        asked.append(named)
        return Wordy()

    for module in (runtime, nearest, nearest_answer, extraction, fields):
        monkeypatch.setattr(module, "get_embedder", get)
    task = {"task": "json"} if name == "extract" else {}
    made = context(tmp_path, 0, classifier={"embedder": "org/other"}, **task)
    if name == "extract":
        records = [
            Example.of(one.input, f'{{"place": "{one.output}"}}', id=one.id) for one in made.train
        ]
        made = replace(made, train=tuple(records), validation=tuple(records))
    registry.build(name, made)
    assert set(asked) == {"org/other"}


def test_it_abstains_where_validation_says_so(tmp_path: Path) -> None:
    documents = {"paths": ["docs"], "abstain": NO}
    made = context(tmp_path, 12, knowledge=documents)
    built = registry.build("nearest-answer", made)
    measured = made.measure(built.agent)
    assert tuple(measured.primary_scores) == built.scores == (1.0,) * 28
    probability = [math.exp(answer.logprob or 0) for answer in measured.answers]
    assert min(probability[:16]) > 0.5 > max(probability[16:])


@pytest.mark.parametrize("sentence", ["Ask us.", ""])
def test_what_was_never_right_gives_way_to_a_sentence_not_to_nothing(
    tmp_path: Path, sentence: str
) -> None:
    knowledge = {"knowledge": {"paths": ["docs"], "abstain": sentence}} if sentence else {}
    made = context(tmp_path, 12, **knowledge)
    built = registry.build("nearest-answer", made)
    answers = [answer.text for answer in made.measure(built.agent).answers]
    assert {answer == sentence for answer in answers[16:]} == {bool(sentence)}
    assert sum(built.scores) == 16


def test_where_no_answer_is_right_none_is_withheld(tmp_path: Path) -> None:
    made = context(tmp_path, 12, knowledge={"paths": ["docs"], "abstain": "Ask us."})
    wrong = tuple(
        replace(row, messages=(*row.messages[:-1], Message("assistant", "none of them")))
        for row in made.validation
    )
    built = registry.build("nearest-answer", replace(made, validation=wrong))
    assert [trial.setting for trial in built.tried if trial.chosen] == ["always"]


def test_a_threshold_needs_rows_below_it(tmp_path: Path) -> None:
    built = registry.build("nearest-answer", context(tmp_path, 9))
    assert [trial.setting for trial in built.tried] == ["always"]


def test_rows_beyond_what_is_kept_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_answer, "MOST_CHARACTERS", 60)
    built = registry.build("nearest-answer", context(tmp_path, 0))
    assert built.warnings == (
        "Only the first 4 of 8 rows are searched: their answers reach the limit of 60 characters.",
    )
    assert sum(built.scores) == 8


def test_without_rows_it_is_left_out(tmp_path: Path) -> None:
    made = context(tmp_path, 0)
    disliked = tuple(replace(row, desirable=False) for row in made.train)
    for train in ((), disliked):
        with pytest.raises(AssayError, match="no training rows") as caught:
            registry.build("nearest-answer", replace(made, train=train))
        assert type(caught.value) is AssayError  # others end a comparison
