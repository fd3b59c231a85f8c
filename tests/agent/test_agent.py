"""Agents: one content, one id; requests are made of the input and never of the target."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.agent.agent import Agent, Nearest, as_shown
from assay.agent.runtime import assemble
from assay.agent.versions import history, load_agent, save_agent
from assay.errors import AssayError
from assay.example import Example, Message, dump_examples, read_examples
from assay.store import blobs
from assay.store.store import Store

SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "string"}}}


def test_the_same_content_is_the_same_agent() -> None:
    one = Agent(model="m", system_prompt="s", shown=(as_shown(Example.of("i", "o")),))
    two = Agent(model="m", system_prompt="s", shown=(as_shown(Example.of("i", "o")),))
    assert one.id == two.id
    assert one.id != one.model_copy(update={"constrained": True}).id


def test_a_schema_keeps_the_order_of_its_properties(tmp_path: Path) -> None:
    store = Store(tmp_path)
    agent = Agent(model="m", output_schema=SCHEMA)
    save_agent(store, "a", agent, message="first")
    loaded = load_agent(store, agent.id[:12])
    assert loaded == agent
    assert loaded.output_schema is not None
    assert list(loaded.output_schema["properties"]) == ["b", "a"]


def test_every_save_is_a_version_and_the_same_again_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = Agent(model="m"), Agent(model="m", system_prompt="better")
    assert save_agent(store, "a", first, message="one", author="ann").version == 1
    assert save_agent(store, "a", first, message="again").version == 1
    assert save_agent(store, "a", second, message="two").version == 2
    assert save_agent(store, "a", first, message="back").version == 3
    assert [(v.version, v.agent, v.message) for v in history(store, "a")] == [
        (3, first.id, "back"),
        (2, second.id, "two"),
        (1, first.id, "one"),
    ]
    with pytest.raises(AssayError, match="no agent"):
        load_agent(store, "0" * 12)


@given(target=st.text(), other=st.text())
def test_requests_do_not_depend_on_the_target(target: str, other: str) -> None:
    agent = Agent(model="m", system_prompt="s", shown=(as_shown(Example.of("i", "o")),))
    store = Store.__new__(Store)  # not read: nothing is searched for
    (one,) = assemble(agent, [Example.of("question", target)], store)
    (two,) = assemble(agent, [Example.of("question", other)], store)
    assert one == two
    assert [m.role for m in one.messages] == ["system", "user", "assistant", "user"]


def test_an_own_system_turn_wins_over_the_agents() -> None:
    own = Example("r", (Message("system", "mine"), Message("user", "q"), Message("assistant", "a")))
    (request,) = assemble(Agent(model="m", system_prompt="s"), [own], Store.__new__(Store))
    assert [m.content for m in request.messages] == ["mine", "q"]


@pytest.mark.slow
def test_the_nearest_are_shown_most_similar_last_and_never_the_question_itself(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    texts = ["my card was stolen", "the weather is nice", "somebody took my card", "a blue boat"]
    pool = [Example.of(text, f"label {i}", id=f"p{i}") for i, text in enumerate(texts)]
    blob = blobs.put(store, "".join(dump_examples(pool)).encode())
    agent = Agent(model="m", nearest=Nearest(k=2, pool=blob, embedder="all-minilm-l6-v2"))
    (request,) = assemble(agent, [Example.of("my card was stolen!", "?")], store)
    users = [m.content for m in request.messages if m.role == "user"]
    assert users == ["somebody took my card", "my card was stolen", "my card was stolen!"]
    (request,) = assemble(agent, [pool[0]], store)
    assert [m.content for m in request.messages if m.role == "user"].count(texts[0]) == 1


def test_examples_survive_their_file(tmp_path: Path) -> None:
    example = Example.of("in", "out", id="x", group="g", references=("o2",), weight=0.5)
    path = tmp_path / "e.jsonl"
    path.write_text("".join(dump_examples([example])))
    assert list(read_examples(path)) == [example]
