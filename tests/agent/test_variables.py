"""Variables are filled in once, the same way everywhere, and change no id where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from assay.agent.agent import Agent
from assay.agent.runtime import assemble
from assay.agent.texts import as_yaml, edit, parse, value_of
from assay.agent.variables import fill, find_undeclared, find_unused
from assay.agent.versions import load_agent, save_agent
from assay.example import Example
from assay.release.openclaw import PROMPT_FILE, openclaw
from assay.store.store import Store

GREETING = Agent(
    model="m",
    system_prompt="You are {{name}} of {{ line }}. Ask {{nobody}}.",
    variables={"name": "Ann", "line": "{{name}} & Sons"},
)
_names = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
_values = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@given(
    parts=st.lists(st.tuples(st.text(max_size=5).filter(lambda t: "{" not in t), _names)),
    variables=st.dictionaries(_names, _values | _names.map(lambda n: f"{{{{{n}}}}}"), max_size=4),
)
def test_filling_is_one_pass(parts: list[tuple[str, str]], variables: dict[str, str]) -> None:
    prompt = "".join(f"{before}{{{{{name}}}}}" for before, name in parts)
    expected = "".join(before + variables.get(name, f"{{{{{name}}}}}") for before, name in parts)
    assert fill(prompt, variables) == expected
    named = {name for _, name in parts}
    assert set(find_unused(prompt, variables)) == variables.keys() - named
    assert {p.strip("{}") for p in find_undeclared(prompt, variables)} == named - variables.keys()


def test_a_value_is_not_filled_itself_and_what_is_not_declared_stays() -> None:
    assert GREETING.prompt == "You are Ann of {{name}} & Sons. Ask {{nobody}}."
    assert find_undeclared(GREETING.system_prompt, GREETING.variables) == ["{{nobody}}"]


def test_ids_are_what_they_were_where_there_are_no_variables(tmp_path: Path) -> None:
    plain = Agent(model="m", system_prompt="Greet {{name}}.")
    assert plain.id == "f3fb7f941395e83119a7051207dc23cf20955a540ff5db6d341cf4ab5ec8d352"
    assert plain.model_copy(update={"variables": {"name": "Ann"}}).id != plain.id
    turned = dict(reversed(GREETING.variables.items()))
    assert GREETING.model_copy(update={"variables": turned}).id == GREETING.id
    store = Store(tmp_path)
    save_agent(store, "a", GREETING, message="begun")
    assert load_agent(store, GREETING.id) == GREETING


def test_what_is_asked_and_what_is_exported_is_filled() -> None:
    (request,) = assemble(GREETING, [Example.of("Hello", "?")], Store.__new__(Store))
    assert request.messages[0].content == GREETING.prompt
    made = openclaw("r", GREETING, base_url="http://x/v1", context=None, workspace=Path("/w"))
    assert made.files[PROMPT_FILE] == f"{GREETING.prompt}\n"


def test_variables_are_written_and_read_as_text() -> None:
    text = as_yaml(GREETING)
    assert parse(text) == (GREETING, [])
    text = edit("model: m\nvariables: # of ours\n  fee: '5'\n", {"variables.fee": "12"})
    assert "# of ours" in text
    agent, _ = parse(text)
    assert agent is not None
    assert agent.variables == {"fee": "12"}
    assert value_of("variables.fee", "12") == "12"
    with pytest.raises(ValidationError, match="does not begin with a digit"):
        Agent(model="m", variables={"1st": "x"})
    _, problems = parse("model: m\nvariables:\n  fee: 5\n")
    assert [(p.line, p.field) for p in problems] == [(3, "variables.fee")]
    _, problems = parse("model: m\nvariables:\n  1st fee: x\n")
    assert [p.line for p in problems] == [3]
