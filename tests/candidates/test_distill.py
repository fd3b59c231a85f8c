"""Distillation: whose answers are learned, with what weight, and what is left out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.scripted import ScriptedEngine
from tests.small import write_model
from tests.train.test_sft import Watcher

from assay.agent.engines import Engines
from assay.candidates import distill
from assay.candidates.building import Context
from assay.candidates.distill import taught, with_answer
from assay.candidates.fine_tune import train_version
from assay.config import Config
from assay.errors import ConfigError, DataError, ModelError
from assay.evaluate.measure import Bench
from assay.evaluate.run import run
from assay.example import Example, Message, ToolCall
from assay.generate.engine import Answer, Request
from assay.models.versions import load_version
from assay.store.store import Store

TRAIN = tuple(
    Example.of(text, "the old target", id=text, references=("another",), weight=2.0)
    for text in ("one", "two", "three")
)


def _context(folder: Path, fine_tune: dict[str, Any], **fields: Any) -> Context:
    config = Config.model_validate(
        {
            "name": "pets",
            "task": "text",
            "data": {"file": "pets.csv"},
            "system_prompt": "Answer.",
            "graders": [{"name": "exact"}],
            "primary": "exact",
            "candidates": ["fine-tune"],
            "fine_tune": fine_tune,
            **fields,
        }
    )
    store = Store(folder / ".assay")
    bench = Bench(config, folder, store, Engines(store, dtype="float32"), Watcher())
    return Context(TRAIN, TRAIN[:2], bench)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ScriptedEngine]:
    """Puts a teacher that answers by rule in the place of every engine."""

    def put(rule: Callable[[Request, int], Answer]) -> ScriptedEngine:
        engine = ScriptedEngine(rule)
        monkeypatch.setattr(distill.Engines, "for_agent", lambda self, agent: engine)
        return engine

    return put


def test_the_teachers_answers_are_the_targets(
    tmp_path: Path, scripted: Callable[..., ScriptedEngine]
) -> None:
    asked: list[Request] = []

    def rule(request: Request, _: int) -> Answer:
        asked.append(request)
        return Answer(f"as {request.messages[-1].content}")

    engine = scripted(rule)
    context = _context(tmp_path, {"teacher": "large"})
    learned = taught(context)
    assert [(e.id, e.input, e.output) for e in learned] == [
        (text, text, f"as {text}") for text in ("one", "two", "three")
    ]
    assert {(e.weight, e.references) for e in learned} == {(2.0, ())}
    assert {r.messages[0] for r in asked} == {Message("system", "Answer.")}
    assert taught(context) == learned
    assert len(engine.calls) == 1  # the second time nothing was asked


def test_an_answer_weighs_by_the_mean_probability_of_its_tokens() -> None:
    answer = Answer("x", completion_tokens=4, logprob=4 * math.log(0.5))
    assert with_answer(TRAIN[0], answer).weight == pytest.approx(2.0 * 0.5)
    assert with_answer(TRAIN[0], Answer("x")).weight == 2.0
    judged = replace(TRAIN[0], rejected=(Message("assistant", "no"),), desirable=False)
    learned = with_answer(judged, Answer("x"))
    assert (learned.rejected, learned.desirable) == ((), None)


def test_without_a_teacher_nothing_changes(tmp_path: Path) -> None:
    assert taught(_context(tmp_path, {})) is TRAIN


def test_what_is_not_fit_to_be_learned_is_left_out_and_counted(
    tmp_path: Path, scripted: Callable[..., ScriptedEngine]
) -> None:
    answers = {"one": Answer("cut", finish="length"), "two": Answer(" "), "three": Answer("3")}
    scripted(lambda request, _: answers[request.messages[-1].content])
    context = _context(tmp_path, {"teacher": "large"})
    assert [e.output for e in taught(context)] == ["3"]
    (line,) = context.progress.lines  # type: ignore[attr-defined]
    assert line.endswith("3 answers: 1 cut at generate.max_new_tokens; 1 empty.")
    calls = replace(
        TRAIN[2],
        messages=(
            *TRAIN[2].prompt,
            Message("assistant", "", tool_calls=(ToolCall("1", "look", "{}"),)),
        ),
    )
    with pytest.raises(DataError, match=r"no answer fit.*1 whose target calls tools"):
        taught(replace(context, train=(*TRAIN[:2], calls)))


def test_an_outage_stops_it_and_only_what_is_missing_is_asked_again(
    tmp_path: Path, scripted: Callable[..., ScriptedEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill, "run", partial(run, sleep=lambda _: None))
    up = False

    def rule(request: Request, _: int) -> Answer:
        if request.messages[-1].content == "two" and not up:
            return Answer("", finish="error", error="HTTP 503")
        return Answer("fine")

    engine = scripted(rule)
    context = _context(tmp_path, {"teacher": "large"})
    with pytest.raises(ModelError, match=r"1 of 3 inputs unanswered \(HTTP 503\)"):
        taught(context)
    up, before = True, len(engine.calls)
    assert len(taught(context)) == 3
    assert engine.calls[before:] == [["two"]]


def test_a_teacher_and_a_preference_method_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="learns from judgements"):
        taught(_context(tmp_path, {"teacher": "large", "method": "dpo"}))


@pytest.mark.slow
def test_a_student_is_trained_on_what_a_local_teacher_says(tmp_path: Path) -> None:
    """A random teacher, constrained to the labels; the version's data is the teacher's."""
    student, teacher = write_model(tmp_path / "student"), write_model(tmp_path / "teacher")
    fine_tune = {"epochs": 1, "rank": 2, "learning_rate": 1e-2, "rows_per_step": 2}
    fields = {"task": "label", "labels": ["cat", "dog"], "model": str(student)}
    context = _context(tmp_path, {**fine_tune, "teacher": str(teacher)}, **fields)
    learned = taught(context)
    assert {example.output for example in learned} <= {"cat", "dog"}
    assert all(0 < example.weight < 2 for example in learned)
    version, result = train_version(context)
    assert result.steps == 2
    plain = train_version(_context(tmp_path, fine_tune, **fields))[0]
    records = [load_version(context.store.folder, name).record for name in (version, plain)]
    assert records[0].data["train"] != records[1].data["train"]
    assert records[0].data["validation"] == records[1].data["validation"]
    assert records[0].settings["teacher"] == str(teacher)
    assert json.dumps(records[0].settings)
