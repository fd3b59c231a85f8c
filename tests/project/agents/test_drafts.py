"""A draft: what its text says, what keeps it from being saved, and a try of it unsaved."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.serve.scripted import ScriptedEngines

from assay.agent.agent import Agent
from assay.agent.texts import InvalidAgentError
from assay.example import Message
from assay.generate.stream import Piece
from assay.project import agents
from assay.project.agents import drafts
from assay.project.workspace import Workspace

TEXT = "model: smollm2-135m-instruct\nsystem_prompt: Greet {{customer_name}}.\nseed: 3\n"


def test_a_text_is_looked_at_as_it_will_be_saved(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    seen = drafts.validate(workspace, TEXT)
    assert seen.agent is not None
    assert not seen.problems
    assert seen.blank == "{{customer_name}}"
    broken = drafts.validate(workspace, TEXT + "sed: 3\n")
    assert broken.agent is None
    assert [(p.line, p.field) for p in broken.problems] == [(4, "sed")]
    nowhere = drafts.validate(
        workspace, TEXT.replace("smollm2-135m-instruct", "version:" + "0" * 64)
    )
    assert nowhere.agent is not None
    assert [p.line for p in nowhere.problems] == [1]


@pytest.mark.parametrize(
    ("setting", "field", "said"),
    [
        ("temperature: 5", "temperature", "at most 2"),
        ("choices: []", "choices", "at least one allowed answer"),
        ("choices: [a, '']", "choices", "leave none empty"),
    ],
)
def test_what_no_answer_could_be_made_of_is_not_saved(
    tmp_path: Path, setting: str, field: str, said: str
) -> None:
    workspace, text = Workspace(tmp_path), f"{drafts.begin('smollm2-135m-instruct')}{setting}\n"
    if field == "temperature":
        text = text.replace("temperature: 0.0\n", "")
    [problem] = drafts.validate(workspace, text).problems
    assert problem.field == field
    assert said in problem.message
    with pytest.raises(InvalidAgentError, match=said):
        agents.save(workspace, "a", text, based_on=None, message="")


def test_an_answer_longer_than_its_model_reads_is_not_saved(tmp_path: Path) -> None:
    workspace, here = Workspace(tmp_path), tmp_path / "model"
    here.mkdir()
    (here / "config.json").write_text('{"max_position_embeddings": 8192}')

    def said(model: object, tokens: int) -> list[tuple[str | None, int | None, str]]:
        text = f"model: {model}\nmax_new_tokens: {tokens}\n"
        found = drafts.validate(workspace, text).problems
        return [(problem.field, problem.line, problem.message) for problem in found]

    assert said(here, 8192) == []
    why = "999,999 is too much: this model reads and writes at most 8,192 tokens."
    assert said(here, 999_999) == [("max_new_tokens", 2, why)]
    assert said("nobody/fetched-it", 1_000_000) == []
    [(field, _, why)] = said("nobody/fetched-it", 1_000_001)
    assert (field, "at most 1000000" in why) == ("max_new_tokens", True)


def test_a_variable_nobody_uses_is_told_at_its_line_and_a_place_nobody_fills(
    tmp_path: Path,
) -> None:
    workspace = Workspace(tmp_path)
    text = f"{TEXT}variables:\n  customer_name: Ann\n  fee: 12 USD\n"
    seen = drafts.validate(workspace, text)
    assert seen.agent is not None
    assert [(p.line, p.field) for p in seen.problems] == [(6, "variables.fee")]
    assert seen.blank is None
    with pytest.raises(InvalidAgentError, match="system prompt has no"):
        agents.save(workspace, "a", text, based_on=None, message="")
    used = drafts.validate(
        workspace, text.replace("customer_name}}.", "customer_name}} of {{fee}}.")
    )
    assert not used.problems
    hinted = drafts.validate(workspace, TEXT + "variables: {}\n")
    assert hinted.blank == "{{customer_name}}"
    engines = ScriptedEngines()
    text = text.replace("  fee: 12 USD\n", "")
    list(drafts.answer(workspace, engines, text, [Message("user", "Hello")]))
    assert engines.the.asked[0][0][0] == Message("system", "Greet Ann.")


def test_every_setting_is_offered_and_a_beginning_can_be_saved(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert set(drafts.settings()) == set(Agent.model_fields)
    model, *_ = drafts.models(workspace)
    text = drafts.begin(model)
    agents.save(workspace, "fresh", text, based_on=None, message="begun")
    assert agents.read(workspace, "fresh").agent == Agent(model=model)


def test_an_unsaved_agent_answers_and_leaves_nothing(tmp_path: Path) -> None:
    workspace, engines = Workspace(tmp_path), ScriptedEngines()
    said = drafts.answer(workspace, engines, TEXT, [Message("user", "Hello you")])
    assert "".join(p.text for p in said if isinstance(p, Piece)) == "Hello you"
    [(messages, _, sampling)] = engines.the.asked
    assert messages[0] == Message("system", "Greet {{customer_name}}.")
    assert sampling.seed == 3
    assert agents.list_agents(workspace) == []
    with pytest.raises(InvalidAgentError, match="no such setting") as refused:
        drafts.answer(workspace, engines, TEXT + "sed: 3\n", [Message("user", "Hello")])
    assert str(refused.value).startswith("line ")
    assert "saved" not in str(refused.value)
    assert len(engines.the.asked) == 1


@pytest.mark.slow
def test_tokens_of_prompt_and_examples_are_counted(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    model = "smollm2-135m-instruct"  # whose template has a system prompt of its own

    def count(**settings: object) -> int:
        found = drafts.tokens(workspace, Agent.model_validate({"model": model, **settings}))
        assert found is not None
        assert (found.too_long is None) == (found.count < found.most == 8192)
        return found.count

    assert count() == 0
    assert count(system_prompt="Be short.") == 3
    assert count(system_prompt="{{how}}", variables={"how": "Be short."}) == 3
    shown = [[{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]]
    assert count(shown=shown) > 2
    assert count(system_prompt="Be short. " * 3000) > 8192
    assert count(system_prompt="Be short.", shown=shown) == 3 + count(shown=shown)
    assert drafts.tokens(workspace, Agent(model="remote:far/big")) is None
