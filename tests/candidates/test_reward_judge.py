"""A judge whose replies are rewards: what it costs, what is kept, and what is asked again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from assay.candidates.shared.reward_judge import RewardJudge
from assay.config import Provider
from assay.config.reinforcement import Reinforcement
from assay.errors import ConfigError, ModelError, OutageError
from assay.evaluate import rewards
from assay.generate.batch import Answer, Request
from assay.progress import Silent

GRADER = rewards.GRADER.validate_python(
    {
        "type": "label_model",
        "name": "kind",
        "model": "remote:far/judge",
        "labels": ["good", "bad"],
        "passing_labels": ["good"],
        "input": [{"role": "user", "content": "{{sample.output_text}}"}],
    }
)
PRICED = {
    "far": Provider.model_validate(
        {
            "base_url": "https://far.example/v1",
            "consent": True,
            "prices": {"judge": {"input": 1e6, "output": 1e6}},
        }
    )
}
GOOD = json.dumps({"result": "good"})
REFUSED = Answer("", "refused", error="400 no such model")


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


TOLD = Told()


class Model:
    """What is asked, and the replies to it: of each text, or the same to all."""

    def __init__(self, reply: Answer | dict[str, Answer]) -> None:
        self.reply, self.asked = reply, list[str]()

    def __call__(self, model: str, requests: Sequence[Request]) -> list[Answer]:
        texts = [one.messages[0].content for one in requests]
        self.asked += texts
        return [self.reply[t] if isinstance(self.reply, dict) else self.reply for t in texts]


def judge(folder: Path, model: Model, **limits: Any) -> RewardJudge:
    own = Reinforcement(**{"judge_usd": None} | limits)
    return RewardJudge(GRADER, own, folder, model, PRICED, progress=TOLD)


def names(*texts: str) -> list[dict[str, Any]]:
    return [{"item": {}, "sample": {"output_text": text}} for text in texts]


def test_a_reply_whose_tokens_are_not_told_costs_what_it_may_at_most(tmp_path: Path) -> None:
    model = Model(Answer(GOOD))
    asker = judge(tmp_path, model, judge_usd=500)
    asker.ask(names("abcd"))
    assert asker.usd == 2 + 256, "four characters, and a reply of REPLY_TOKENS"
    with pytest.raises(ConfigError, match="beyond 500 USD"):
        asker.ask(names("more"))


def test_a_refusal_is_asked_again_once_its_cause_is_mended(tmp_path: Path) -> None:
    asked = names("a", "b")
    with pytest.raises(ModelError, match="refuses every question"):
        judge(tmp_path, Model(REFUSED)).ask(asked)
    part = judge(tmp_path, Model({"a": REFUSED, "b": Answer(GOOD)}))
    TOLD.lines.clear()
    part.ask(asked)
    [said] = TOLD.lines
    assert "no score for 1 of 2 new answers" in said
    assert [part(GRADER, one) for one in asked] == [None, 1.0], "one of several is worth 0"
    mended = judge(tmp_path, model := Model(Answer(GOOD)))
    mended.ask(asked)
    assert model.asked == ["a"]
    assert [mended(GRADER, one) for one in asked] == [1.0, 1.0]
    late = judge(tmp_path, Model(REFUSED))
    late.ask(names("a", "b", "c"))
    with pytest.raises(ModelError, match="refuses every question"):
        late.ask(names(*"defghijk"))


def test_trainings_at_once_keep_one_limit_and_ask_nothing_twice(tmp_path: Path) -> None:
    models = [Model(Answer(GOOD)) for _ in range(3)]
    first, second = (judge(tmp_path, model, judge_calls=4) for model in models[:2])
    first.ask(names("a", "b", "c"))
    second.ask(names("b", "c", "d"))
    assert [model.asked for model in models] == [["a", "b", "c"], ["d"], []]
    with pytest.raises(ConfigError, match="was asked 4 questions"):
        first.ask(names("d", "e"))
    [kept] = tmp_path.glob("*.jsonl")
    lines = kept.read_bytes().splitlines(keepends=True)
    kept.write_bytes(lines[0] + lines[1][:30] + lines[2] + lines[3][:9])
    third = judge(tmp_path, models[2])
    third.ask(names(*"abcd"))
    assert models[2].asked == ["b", "c", "d"], "broken lines are asked again, at the end or not"
    judge(tmp_path, unasked := Model(REFUSED)).ask(names(*"abcd"))
    assert not unasked.asked


def test_who_asks_says_where_and_what_to_do(tmp_path: Path) -> None:
    model, slept = Model(Answer("", "error", error="no line")), list[float]()
    unlimited = Reinforcement(judge_usd=None)
    words = {"where": "method.grader", "again": "Create the job again."}
    asker = RewardJudge(GRADER, unlimited, tmp_path, model, PRICED, slept.append, **words)
    with pytest.raises(OutageError, match="unanswered") as away:
        asker.ask(names("a"))
    assert (away.value.fix, slept) == (words["again"], [5.0, 30.0])
    model.reply = REFUSED
    with pytest.raises(ModelError) as refused:
        asker.ask(names("a"))
    assert refused.value.where == words["where"]


def test_answers_that_cannot_be_asked_about_as_they_are(tmp_path: Path) -> None:
    asker = judge(tmp_path, model := Model(Answer(GOOD)))
    asked = names("half \ud83d", "x" * 100_001)
    asker.ask(asked)
    assert model.asked == ["half \\ud83d"]
    found = [rewards.run_on_drawn(GRADER, one, judge=asker) for one in asked]
    assert [(one.reward, one.errors) for one in found] == [(1.0, set()), (0.0, {"other_error"})]
