"""Which agents Playground and Agent begin with, and how a message is written, without a browser."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.compare import records
from assay.compare.result import CandidateResult
from assay.config import Columns, KnowledgeSection
from assay.data.split import MANIFEST, TRAIN
from assay.example import ToolCall
from assay.project import agents, releases
from assay.project.answer.playground import is_conversation, offered_tools
from assay.project.workspace import Workspace
from assay.studio.pages.agent.page import choose_first
from assay.studio.pages.playground import _find_compared
from assay.studio.shared.chat import describe_empty, describe_message
from assay.studio.shared.streams import Reply
from tests.compare.sample import sample_result
from tests.many_rows import project
from tests.release.shelf import compared, right, shelf


def test_those_of_the_newest_comparison_the_named_first_then_the_best(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert _find_compared(workspace) == []
    store, result = workspace.store, sample_result()
    made = {
        "few-shot": Agent(model="a"),
        "prompt": Agent(model="b"),
        "baseline-tfidf": Agent(model="b"),  # nothing better was found: the same agent
        "fine-tune": Agent(model="c"),
    }
    for name, agent in made.items():
        save_agent(store, name, agent, message="")
    save_agent(store, "left", Agent(model="d"), message="of a comparison that was cancelled")

    def measured(one: CandidateResult) -> CandidateResult:
        if one.name == "baseline-majority":  # only its answers are here
            return one.model_copy(update={"kind": "outside", "score": 1.0})
        return one.model_copy(update={"agent": made[one.name].id})

    named = result.verdict.model_copy(update={"recommend": "few-shot"})
    found = [measured(one) for one in result.candidates]
    result = result.model_copy(update={"candidates": found, "verdict": named})
    folder = store.folder / "comparisons" / "c"
    records.save_plan(store, result.comparison, "d" * 64, result.plan, folder)
    records.save_result(store, result, [], folder)
    assert _find_compared(workspace) == ["few-shot@1", "fine-tune@1", "baseline-tfidf@1"]


def test_agent_begins_with_what_is_served_or_was_saved_since(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    store, (tuned,) = shelf(tmp_path, 1, workspace.store)
    better, last = Agent(model="m", system_prompt="better"), Agent(model="z")
    save_agent(store, "better", better, message="")
    save_agent(store, "zero", last, message="")
    compared(store, {tuned: right(0.5), better.id: right(0.9), last.id: right(0.1)})

    def first() -> str:
        return choose_first(workspace, agents.list_agents(workspace))

    assert first() == "better"
    releases.promote(workspace, "desk", "tuned@1", force="a test")
    assert first() == "tuned"
    mine = save_agent(store, "mine", Agent(model="y"), message="")
    later = replace(mine, at=mine.at + timedelta(minutes=1))
    assert choose_first(workspace, [*agents.list_agents(workspace), later]) == "mine"


def test_it_is_said_how_a_message_has_a_line_for_each_input_column(tmp_path: Path) -> None:
    config = project(tmp_path, 3).config
    assert config is not None
    assert [describe_message(one) for one in (None, config)] == [None, None]
    columns = Columns(input=["subject", "body"], output=["team"])
    several = config.model_copy(
        update={"data": config.data.model_copy(update={"columns": columns})}
    )
    said = describe_message(several)
    assert said is not None
    assert said.endswith("in the same way: “subject: …”, “body: …”.")


def test_an_empty_answer_is_told_with_where_another_is_set(tmp_path: Path) -> None:
    reply = Reply(" \n", "stop", None, None, None, 0.1, None)
    assert reply.is_empty
    assert not replace(reply, calls=(ToolCall("c", "find", "{}"),)).is_empty
    config = project(tmp_path, 20).config
    assert config is not None
    assert "Settings" not in describe_empty(config)  # no documents: nothing is set for it
    documents = config.model_copy(update={"knowledge": KnowledgeSection()})
    assert "“Answer where no document has one” in Settings" in describe_empty(documents)


def test_a_project_whose_rows_are_lost_offers_no_functions(tmp_path: Path) -> None:
    """The page is for releases, too, which need no rows."""
    turns = [{"role": "user", "content": "a"}]
    row = {"id": "1", "messages": turns, "tools": [{"function": {"name": "f"}}]}
    made = SimpleNamespace(config=SimpleNamespace(task="tools"), split_folder=tmp_path)
    workspace: Any = SimpleNamespace(project=made)
    assert offered_tools(workspace) == ()
    (tmp_path / MANIFEST).touch()
    assert offered_tools(workspace) == ()
    (tmp_path / TRAIN).write_text('{"mess\n')
    assert offered_tools(workspace) == ()
    (tmp_path / TRAIN).write_text(f"{json.dumps(row)}\n")
    assert offered_tools(workspace) == ({"function": {"name": "f"}},)


def test_messages_are_one_conversation_where_an_example_is(tmp_path: Path) -> None:
    made = SimpleNamespace(split_folder=tmp_path)
    workspace: Any = SimpleNamespace(project=made)
    assert is_conversation(workspace)  # not known
    (tmp_path / MANIFEST).touch()
    turns = [{"role": role, "content": "a"} for role in ("system", "user", "assistant")]
    alone, going_on = (
        json.dumps({"id": "1", "messages": [*turns, *more]}) for more in ([], turns[1:])
    )
    (tmp_path / TRAIN).write_text(f"{alone}\n{alone}\n")
    assert not is_conversation(workspace)
    (tmp_path / TRAIN).write_text(f"{alone}\n{going_on}\n")
    assert is_conversation(workspace)
