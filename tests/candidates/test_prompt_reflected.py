"""A prompt that evolves: by what went wrong, within its budgets, and the same when it goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.candidates.test_distill import context_of
from tests.evaluate.scripted import ScriptedEngine
from tests.small import ANIMALS, small_project

from assay.agent.engines import BatchEngines
from assay.agent.versions import load_agent
from assay.candidates import prompt_reflected
from assay.candidates.building import Context
from assay.candidates.spec import Sizes
from assay.errors import ConfigError, OutageError
from assay.example import Example
from assay.generate.batch import Answer, Request
from assay.project import open_workspace, releases

ROWS = tuple(
    Example.of(f"case {number}", ("yes", "no")[number % 2], id=str(number)) for number in range(80)
)
REMOTE = "remote:far/writer"
FIELD = (
    "  - baseline-tfidf\n  - classifier\n  - nearest-answer\n"
    "  - prompt\n  - few-shot\n  - few-shot-nearest\n  - encoder\n  - fine-tune\n"
)
"""Candidates of a small project."""
PRICED = {
    "base_url": "https://far.example/v1",
    "consent": True,
    "prices": {"writer": {"input": 10.0, "output": 10.0}},
}


def context(folder: Path, **search: Any) -> Context:
    made = context_of(
        folder,
        {},
        task="label",
        labels=["yes", "no"],
        graders=[{"name": "exact"}, {"name": "label-accuracy"}],
        generate={"constrained": "off"},
        candidates=["prompt-reflected"],
        providers={"far": PRICED},
        prompt_search={"proposer": REMOTE, **search},
    )
    return replace(made, train=ROWS[:60], validation=ROWS[60:])


def is_proposal(request: Request) -> bool:
    return "Your task is to write a new instruction" in request.messages[0].content


def play(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[Request], Answer | str]
) -> list[Request]:
    asked: list[Request] = []

    def give(request: Request, _: int) -> Answer:
        asked.append(request)
        found = answer(request)
        return found if isinstance(found, Answer) else Answer(found, "stop", 1000, 1000)

    engine = ScriptedEngine(give)
    monkeypatch.setattr(BatchEngines, "for_agent", lambda self, agent: engine)
    return asked


def by_steps(request: Request) -> str:
    """A model that needs to be told of even cases, then of odd ones; a proposer that reads."""
    system = request.messages[0].content
    if is_proposal(request):
        assert "Right would have been" in system
        # What a grader says beside its score.
        assert ("(not a label of the set)" in system) == ("maybe" in system)
        told = "Even cases are yes." if "Even cases are yes." not in system else "Odd ones are no."
        before = "Even cases are yes. " if told.startswith("Odd") else ""
        return f"So:\n```\n{before}{told}\n```"
    even = int(request.messages[-1].content.split()[-1]) % 2 == 0
    if even:
        return "yes" if "Even" in system else "maybe"
    return "no" if "Odd" in system else "maybe"


def test_a_prompt_grows_by_what_went_wrong_and_a_second_search_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = play(monkeypatch, by_steps)
    made = prompt_reflected.build(context(tmp_path))
    assert made.agent.system_prompt == "Even cases are yes. Odd ones are no."
    assert set(made.scores) == {1.0}
    assert {one.setting for one in made.tried if not one.chosen} >= {"own prompt"}
    assert 2 <= sum(map(is_proposal, asked)) <= 8
    sent = [r.messages[0].content for r in asked if is_proposal(r)]
    sizes = Sizes(60, 20, 10, 2.0, 3.0, 1.0, 1e6, 2048)
    [told] = prompt_reflected.SPEC.estimate(context(tmp_path).config, sizes).requests
    assert told.count >= len(sent)
    assert max(map(len, sent)) / 4 < told.prompt_tokens
    shown = " ".join(sent)
    assert not any(f"case {n}\n" in shown for n in range(60, 80)), "validation is never shown"
    count = len(asked)
    assert prompt_reflected.build(context(tmp_path)).agent == made.agent
    assert len(asked) == count, "a search goes on where it was, and nothing is paid twice"
    assert "litellm" not in sys.modules


def test_a_prompt_that_was_found_is_recommended_and_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: Request) -> str:
        if is_proposal(request):
            return "```\nName the animal. Look twice.\n```"
        looks = "Look twice" in request.messages[0].content
        return next(a for a in ANIMALS if not looks or a in request.messages[-1].content)

    found = {"providers": {"far": PRICED}, "prompt_search": {"proposer": REMOTE, "proposals": 1}}
    config = "".join(f"{name}: {json.dumps(value)}\n" for name, value in found.items())
    edit = {
        FIELD: "  - prompt-reflected\n",
        "margin: 0.02": f"baselines: false\n{config}margin: 0.02",
    }
    made = small_project(tmp_path, edit=edit)
    with monkeypatch.context() as scripted:
        play(scripted, answer)
        assert made.compare().result.verdict.recommend == "prompt-reflected"
    workspace = open_workspace(made.root)
    done = releases.promote(workspace, "pets", "prompt-reflected@1")
    assert load_agent(made.store, done.agent).system_prompt == "Name the animal. Look twice."


def test_where_nothing_helps_the_own_prompt_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, lambda r: "```\nSay maybe.\n```" if is_proposal(r) else "yes")
    made = prompt_reflected.build(context(tmp_path))
    assert made.agent.system_prompt == "Answer."


@pytest.mark.parametrize(
    ("search", "proposals", "answers"),
    [
        ({"proposals": 3}, 3, 600),
        ({"answers": 60}, 8, 60 + prompt_reflected.PARETO_ROWS + prompt_reflected.MINIBATCH),
        ({"budget_usd": 0.05}, 2, 600),
    ],
)
def test_the_search_ends_with_its_budget(
    search: dict[str, Any],
    proposals: int,
    answers: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = iter(range(1000))

    def rule(request: Request) -> str:
        if is_proposal(request):
            return f"```\nAttempt {next(number)}.\n```"
        return "yes"

    asked = play(monkeypatch, rule)
    made = prompt_reflected.build(context(tmp_path, **search))
    proposed = sum(map(is_proposal, asked))
    assert 1 <= proposed <= proposals
    validation = len([r for r in asked if not is_proposal(r)])
    assert validation <= answers + 3 * 20
    assert ("USD" in " ".join(made.warnings)) == ("budget_usd" in search)


def test_an_unknown_price_beside_a_budget_and_an_outage_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, lambda r: "yes")
    made = context(tmp_path, budget_usd=1.0)
    unpriced = {"far": {"base_url": "https://far.example/v1", "consent": True}}
    other = context_of(
        tmp_path,
        {},
        task="label",
        labels=["yes", "no"],
        generate={"constrained": "off"},
        candidates=["prompt-reflected"],
        providers=unpriced,
        prompt_search={"proposer": REMOTE, "budget_usd": 1.0},
    )
    with pytest.raises(ConfigError, match="price of remote:far/writer is not known"):
        prompt_reflected.build(replace(other, train=made.train, validation=made.validation))
    play(monkeypatch, lambda r: Answer("", "error", error="down") if is_proposal(r) else "maybe")
    with pytest.raises(OutageError, match="did not answer"):
        prompt_reflected.build(context(tmp_path))
