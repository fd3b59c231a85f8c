"""The search for a better system prompt, with and without a model that proposes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.candidates.test_distill import context_of
from tests.evaluate.scripted import ScriptedEngine

from assay.agent.engines import BatchEngines
from assay.candidates import prompt_optimised
from assay.candidates.building import Context
from assay.candidates.prompt_optimised import halve, variants
from assay.errors import ConfigError
from assay.example import Example
from assay.generate.batch import Answer, Request

ROWS = tuple(
    Example.of(f"case {number}", ("yes", "no")[number % 2], id=str(number)) for number in range(60)
)
REMOTE = "remote:far/writer"


def context(folder: Path, **fields: Any) -> Context:
    made = context_of(
        folder,
        {},
        task="label",
        labels=["yes", "no"],
        generate={"constrained": "off"},
        candidates=["prompt-optimised"],
        **fields,
    )
    return replace(made, train=ROWS[:40], validation=ROWS[40:])


def play(monkeypatch: pytest.MonkeyPatch, rule: Callable[[Request], str]) -> list[Request]:
    asked: list[Request] = []

    def answer(request: Request, _: int) -> Answer:
        asked.append(request)
        return Answer(rule(request), prompt_tokens=1, completion_tokens=1)

    engine = ScriptedEngine(answer)
    monkeypatch.setattr(BatchEngines, "for_agent", lambda self, agent: engine)
    return asked


def right(request: Request) -> str:
    return ("yes", "no")[int(request.messages[-1].content.split()[-1]) % 2]


def test_a_variant_that_helps_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rule(request: Request) -> str:
        helped = "one of these labels and nothing else" in request.messages[0].content
        return right(request) if helped else "yes"

    play(monkeypatch, rule)
    made = prompt_optimised.build(context(tmp_path))
    assert "one of these labels" in made.agent.system_prompt
    assert set(made.scores) == {1.0}
    assert {one.setting for one in made.tried if not one.chosen} >= {"own prompt"}


def test_where_nothing_helps_the_own_prompt_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, lambda request: "yes")
    made = prompt_optimised.build(context(tmp_path))
    assert made.agent.system_prompt == "Answer."


def test_variants_are_always_the_same_and_begin_with_the_own(tmp_path: Path) -> None:
    made = context(tmp_path)
    found = variants(made.config, made.train)
    assert found[0] == "Answer."
    assert len(found) == len(set(found)) > 8
    assert found == variants(made.config, made.train)
    records = context_of(tmp_path, {}, task="json", output_schema={"properties": {"city": {}}})
    assert any("Its fields are: city." in text for text in variants(records.config, ROWS))
    schema = {"type": "array", "items": {"enum": ["cat", "dog"]}}
    lists = variants(context_of(tmp_path, {}, task="json", output_schema=schema).config, ROWS)
    assert any("fit: cat, dog." in text for text in lists)
    assert not any("object" in text for text in lists)


def test_halving_asks_less_than_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = play(monkeypatch, lambda request: "yes")
    made = context(tmp_path)
    prompts = [f"prompt {number}" for number in range(16)]
    left = halve(made, prompts, made.train)
    assert left == prompts[:2], "of equal ones the earlier stay"
    assert len(asked) == 16 * 16 + 8 * 32 + 4 * 40


def test_a_proposer_is_asked_within_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule(request: Request) -> str:
        first = request.messages[0].content
        if first.startswith("This is the system prompt"):
            return "Better:\n<prompt>\nSay yes to even cases.\n</prompt>"
        return right(request) if "even cases" in first else "maybe"

    asked = play(monkeypatch, rule)
    provider = {"far": {"base_url": "https://far.example/v1", "consent": True}}
    search = {"proposer": REMOTE, "proposals": 3}
    made = prompt_optimised.build(context(tmp_path, providers=provider, prompt_search=search))
    assert made.agent.system_prompt == "Say yes to even cases."
    proposals = [r for r in asked if r.messages[0].content.startswith("This is the system")]
    assert len(proposals) <= 3
    assert "Expected:" in proposals[0].messages[0].content


def test_rows_do_not_leave_without_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = play(monkeypatch, lambda request: "maybe")
    provider = {"far": {"base_url": "https://far.example/v1"}}
    search = {"proposer": REMOTE}
    with pytest.raises(ConfigError, match="has not agreed"):
        prompt_optimised.build(context(tmp_path, providers=provider, prompt_search=search))
    assert not [r for r in asked if r.messages[0].content.startswith("This is the system")]
    with pytest.raises(ConfigError, match="is not a model at a provider"):
        prompt_optimised.build(context(tmp_path, prompt_search={"proposer": "smollm2"}))


def test_a_search_that_was_begun_before_asks_its_proposer_the_same() -> None:
    """Answers are kept by what was asked for: another word would ask and pay for all again."""
    asked = prompt_optimised._request("Name the animal.", (), ("Animal?",))
    digest = hashlib.sha256(asked.messages[0].content.encode()).hexdigest()
    assert digest[:16] == "8109f6149ae5326f"
