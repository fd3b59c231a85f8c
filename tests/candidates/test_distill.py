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
from tests.generate.remote.provider import Reply, said, serving
from tests.small import write_model
from tests.train.test_session import Watcher
from tests.train.tiny import SETTINGS

from assay.agent.agent import Agent
from assay.agent.engines import BatchEngines
from assay.candidates import registry
from assay.candidates.building import Candidate, Context
from assay.candidates.shared import distill, tuning
from assay.candidates.shared.distill import with_answer
from assay.candidates.shared.training import TrainingSetup, train_version, training_targets
from assay.config import Config
from assay.errors import AssayError, ConfigError, DataError, ModelError
from assay.evaluate.measure import Bench
from assay.evaluate.run import run
from assay.example import Example, Message, ToolCall
from assay.generate.batch import Answer, Request
from assay.generate.recorded import RecordedAnswer, input_sha256
from assay.models.versions import load_version
from assay.store.store import Store

TRAIN = tuple(
    Example.of(text, "the old target", id=text, references=("another",), weight=2.0)
    for text in ("one", "two", "three")
)


def context_of(folder: Path, fine_tune: dict[str, Any], **fields: Any) -> Context:
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
    engines = BatchEngines(store, dtype="float32", providers=config.providers)
    bench = Bench(config, folder, store, engines, Watcher())
    return Context(TRAIN, TRAIN[:2], bench)


def taught(context: Context) -> tuple[Example, ...]:
    return training_targets(context).examples


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ScriptedEngine]:
    """Puts a teacher that answers by rule in the place of every engine."""

    def put(rule: Callable[[Request, int], Answer]) -> ScriptedEngine:
        engine = ScriptedEngine(rule)
        monkeypatch.setattr(distill.BatchEngines, "for_agent", lambda self, agent: engine)
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
    context = context_of(tmp_path, {"teacher": "large"})
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
    assert taught(context_of(tmp_path, {})) is TRAIN


def test_what_is_not_fit_to_be_learned_is_left_out_and_counted(
    tmp_path: Path, scripted: Callable[..., ScriptedEngine]
) -> None:
    answers = {"one": Answer("cut", finish="length"), "two": Answer(" "), "three": Answer("3")}
    scripted(lambda request, _: answers[request.messages[-1].content])
    context = context_of(tmp_path, {"teacher": "large"})
    assert [e.output for e in taught(context)] == ["3"]
    assert context.progress.lines[0].endswith(  # type: ignore[attr-defined]
        "3 answers: 1 cut at generate.max_new_tokens; 1 empty."
    )
    with pytest.raises(DataError, match=r"no answer that can be learned: 1 cut.*1 empty"):
        taught(replace(context, train=TRAIN[:2]))


def test_a_teachers_calls_are_learned_as_calls(
    tmp_path: Path, scripted: Callable[..., ScriptedEngine]
) -> None:
    parameters = {
        "type": "object",
        "properties": {"at": {"type": "string"}},
        "required": ["at"],
    }
    tools = ({"type": "function", "function": {"name": "look", "parameters": parameters}},)
    train = tuple(replace(one, tools=tools, possible=({"optional": ["at"]},)) for one in TRAIN)
    call = '<tool_call>\n{"name": "look", "arguments": %s}\n</tool_call>'
    answers = {"one": call % '{"at": "it"}', "two": call % '{"by": "it"}', "three": "Where?"}
    scripted(lambda request, _: Answer(answers[request.messages[-1].content]))
    context = replace(context_of(tmp_path, {"teacher": "large"}), train=train)
    called, said = taught(context)
    assert called.target.tool_calls == (ToolCall("call00000", "look", '{"at": "it"}'),)
    assert (called.target.content, called.possible) == ("", ())
    assert (said.target.tool_calls, said.output) == ((), "Where?")
    assert taught(context) == (called, said)  # the same, so that no version is trained twice
    assert context.progress.lines[0].endswith(  # type: ignore[attr-defined]
        "3 answers: 1 with a call that does not fit its tools."
    )


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
    context = context_of(tmp_path, {"teacher": "large"})
    with pytest.raises(ModelError, match=r"1 of 3 inputs unanswered \(HTTP 503\)"):
        taught(context)
    up, before = True, len(engine.calls)
    assert len(taught(context)) == 3
    assert engine.calls[before:] == [["two"]]


def test_a_teacher_that_is_gone_has_left_its_answers(tmp_path: Path) -> None:
    def line(example: Example, answer: Answer) -> str:
        kept = RecordedAnswer(
            *("r", "train", input_sha256(example), "asked", "ft:m", "https://x/v1"), answer, 1.0
        )
        return json.dumps(kept.to_dict()) + "\n"

    sure = Answer("ONE", completion_tokens=2, logprob=2 * math.log(0.5))
    cut = Answer("TW", finish="length")
    (tmp_path / "gone.jsonl").write_text(line(TRAIN[0], sure) + line(TRAIN[1], cut))
    context = context_of(tmp_path, {"recorded": "gone.jsonl"})
    (learned,) = taught(context)
    assert (learned.id, learned.output, learned.references) == ("one", "ONE", ())
    assert learned.weight == pytest.approx(2.0 * 0.5)
    assert context.progress.lines[0].endswith(  # type: ignore[attr-defined]
        "3 answers: 1 cut at generate.max_new_tokens; 1 not recorded."
    )
    (tmp_path / "other.jsonl").write_text(line(Example.of("four", "4", id="four"), sure))
    with pytest.raises(DataError, match="3 not recorded") as nothing:
        taught(context_of(tmp_path, {"recorded": "other.jsonl"}))
    assert nothing.value.fix is not None
    assert "assay rescue record" in nothing.value.fix
    with pytest.raises(ConfigError, match=r"of gone\.jsonl cannot be learned"):
        taught(context_of(tmp_path, {"recorded": "gone.jsonl", "distill": "logprobs"}))
    with pytest.raises(ConfigError, match="remove recorded"):
        taught(context_of(tmp_path, {"recorded": "gone.jsonl", "method": "dpo"}))
    with pytest.raises(ValueError, match="cannot be used together"):
        context_of(tmp_path, {"recorded": "gone.jsonl", "teacher": "large"})


def test_recorded_answers_are_learned_beside_the_rows_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tuned(context: Context, _: object) -> Candidate:
        return Candidate(Agent(model="m"), (), (), warnings=[e.output for e in taught(context)])  # type: ignore[arg-type]

    monkeypatch.setattr(tuning, "tune", tuned)
    fields = {"recorded": "gone.jsonl", "candidates": ["fine-tune", "distill"]}
    context = context_of(tmp_path, {"method": "dpo"}, **fields)
    registry.check_needs(context.config)
    with pytest.raises(AssayError, match="0 to 3 training rows") as left_out:
        registry.build("distill", context)
    assert type(left_out.value) is AssayError  # a comparison goes on without it

    def keep(*answers: Answer) -> None:
        lines = [
            RecordedAnswer(
                *("r", "train", input_sha256(row), "asked", "ft:m", "https://x/v1"), one, 1.0
            )
            for row, one in zip(TRAIN, answers, strict=False)
        ]
        text = "".join(json.dumps(one.to_dict()) + "\n" for one in lines)
        (tmp_path / "gone.jsonl").write_text(text)

    # Answers that are unfit, or fewer than half of the rows', leave it out, too.
    keep(Answer("ONE"), Answer("TW", finish="length"), Answer(" "))
    with pytest.raises(AssayError, match="3 to 3 training rows; 1 are fit") as left_out:
        registry.build("distill", context)
    assert type(left_out.value) is AssayError
    keep(Answer("ONE"), Answer("TWO"))
    assert list(registry.build("distill", context).warnings) == ["ONE", "TWO"]
    own = context_of(tmp_path, {}, **fields)
    assert list(registry.build("fine-tune", own).warnings) == ["the old target"] * 3


def test_a_teacher_and_a_preference_method_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="learns from judgements"):
        taught(context_of(tmp_path, {"teacher": "large", "method": "dpo"}))


def test_what_is_none_of_the_labels_or_not_of_the_schema_is_left_out(
    tmp_path: Path, scripted: Callable[..., ScriptedEngine]
) -> None:
    answers = {"one": Answer("cat"), "two": Answer("a cat"), "three": Answer("dog")}
    scripted(lambda request, _: answers[request.messages[-1].content])
    labels = context_of(tmp_path, {"teacher": "large"}, task="label", labels=["cat", "dog"])
    assert [e.output for e in taught(labels)] == ["cat", "dog"]
    answers = {"one": Answer('{"a": 1}'), "two": Answer('{"a": "b"}'), "three": Answer("{")}
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    records = context_of(tmp_path, {"teacher": "large"}, task="json", output_schema=schema)
    assert [e.output for e in taught(records)] == ['{"a": 1}']


def test_distill_without_a_teacher_is_a_slip(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none is set.*fine_tune\.teacher"):
        taught(context_of(tmp_path, {"distill": "logprobs"}))


def test_log_probabilities_that_cannot_be_had_are_an_error_if_they_were_asked_for(
    tmp_path: Path, scripted: Callable[..., ScriptedEngine]
) -> None:
    scripted(lambda request, _: Answer("fine"))
    with pytest.raises(ConfigError, match="cannot be learned: it returned no log-probabilities"):
        taught(context_of(tmp_path, {"teacher": "large", "distill": "logprobs"}))
    context = context_of(tmp_path, {"teacher": "large"})
    taught(context)
    assert context.progress.lines == [  # type: ignore[attr-defined]
        "The student learns only the teacher's answers: it returned no log-probabilities."
    ]


def _speller(logprob: float, top: float) -> Callable[[dict[str, Any], int], Reply]:
    """A provider whose model always says `ok`, one byte a token."""

    def rule(body: dict[str, Any], _: int) -> Reply:
        content = [
            {
                "token": letter,
                "logprob": math.log(logprob),
                "bytes": [ord(letter)],
                "top_logprobs": [
                    {"token": letter, "logprob": math.log(logprob), "bytes": [ord(letter)]},
                    {"token": "z", "logprob": math.log(top), "bytes": [ord("z")]},
                ],
            }
            for letter in "ok"
        ]
        return said("ok", logprobs={"content": content} if body.get("logprobs") else None)

    return rule


@pytest.mark.slow
@pytest.mark.parametrize("distill", ["auto", "answers"])
def test_a_student_is_trained_on_what_a_provider_says(tmp_path: Path, distill: str) -> None:
    model = str(write_model(tmp_path / "student"))
    fine_tune = {"epochs": 1, "rank": 2, "learning_rate": 1e-2, "rows_per_step": 2}
    with serving(_speller(0.5, 0.25)) as served:
        context = context_of(
            tmp_path,
            {**fine_tune, "teacher": "remote:far/big-1", "distill": distill},
            model=model,
            providers={"far": served.provider().model_dump()},
        )
        lesson = training_targets(context)
        version, result = train_version(context)
        assert len(served.asked) == 3
    assert [e.output for e in lesson.examples] == ["ok"] * 3
    record = load_version(context.store, version).record
    assert result.preparation_seconds == pytest.approx(lesson.seconds)
    assert lesson.seconds > 0
    lines = context.progress.lines  # type: ignore[attr-defined]
    assert lines[0] == (
        f"Sending 3 rows to the provider far (http://127.0.0.1:{served.port}/v1); secrets and "
        "personal data found in them: none."
    )
    if distill == "answers":
        assert not any(lesson.taught)
        assert {e.weight for e in lesson.examples} == {1.0}  # half of 2, as sure as it was
        assert "learns only the teacher's answers" in lines[1]
        assert "teacher" not in record.data
    else:
        ((taught_row,), *_) = lesson.taught
        assert sorted(taught_row.probs[0].tolist())[-2:] == pytest.approx([0.25, 0.5])
        assert {e.weight for e in lesson.examples} == {2.0}
        assert lines[1].startswith("The student learns the teacher's log-probabilities")
        assert record.data["teacher"] == lesson.digest


def test_rows_leave_the_machine_only_if_the_project_has_agreed(tmp_path: Path) -> None:
    train = (*TRAIN[:2], Example.of("Write to ann.lee@mail.org or +44 20 7946 0958", "x", id="p"))
    with serving(_speller(0.5, 0.25)) as served:
        context = context_of(
            tmp_path,
            {"teacher": "remote:far/big-1"},
            providers={"far": served.provider(consent=False).model_dump()},
        )
        with pytest.raises(ConfigError) as caught:
            taught(replace(context, train=train))
        assert served.asked == []
    told = str(caught.value)
    assert "3 rows to the provider far" in told
    assert "e-mail address: 1, phone number: 1" in told
    assert "providers.far.consent" in told
    assert "ann.lee" not in told
    with pytest.raises(ConfigError, match=r"no provider 'near'\. The providers are: far"):
        taught(
            context_of(
                tmp_path,
                {"teacher": "remote:near/x"},
                providers={"far": served.provider().model_dump()},
            )
        )


@pytest.mark.slow
def test_a_student_is_trained_on_what_a_local_teacher_says(tmp_path: Path) -> None:
    """A random teacher, constrained to the labels; the version's data is the teacher's."""
    student, teacher = write_model(tmp_path / "student"), write_model(tmp_path / "teacher")
    fine_tune = {"epochs": 1, "rank": 2, "learning_rate": 1e-2, "rows_per_step": 2}
    fields = {"task": "label", "labels": ["cat", "dog"], "model": str(student)}
    context = context_of(tmp_path, {**fine_tune, "teacher": str(teacher)}, **fields)
    lesson = training_targets(context)
    assert {example.output for example in lesson.examples} <= {"cat", "dog"}
    assert {example.weight for example in lesson.examples} == {2.0}
    for (one,) in lesson.taught:
        sums = one.probs.sum(axis=1)  # all that the labels allow is among the likeliest
        assert sums.tolist() == pytest.approx([1.0] * len(sums))
    answers = context_of(tmp_path, {"teacher": str(teacher), "distill": "answers"}, **fields)
    alone = training_targets(answers)
    assert all(0 < example.weight < 2 for example in alone.examples)
    assert not any(alone.taught)
    assert TrainingSetup.of(context).name(context, SETTINGS) != TrainingSetup.of(answers).name(
        answers, SETTINGS
    )
    version, result = train_version(context)
    assert result.steps == 2
    plain = train_version(context_of(tmp_path, fine_tune, **fields))[0]
    records = [load_version(context.store, name).record for name in (version, plain)]
    assert records[0].data["train"] != records[1].data["train"]
    assert records[0].data["validation"] == records[1].data["validation"]
    assert records[0].settings["teacher"] == str(teacher)
    assert result.preparation_seconds > 0
    assert json.dumps(records[0].settings)
