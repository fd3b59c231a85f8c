"""Calls that are held to the tools that are offered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer
from tests.chat.families import FAMILIES, tokenizer_of
from tests.generate.llamacpp.server import SERVER, write_tiny
from tests.generate.tiny import byte_tokenizer, tiny_engine, tiny_model

from assay.agent.agent import Agent
from assay.agent.answering import GenerationOptions, Target, prepare
from assay.agent.runtime import assemble
from assay.chat.template import CallMarks, Template
from assay.chat.tool_text import find_calls
from assay.example import Example, Message, ToolCall
from assay.generate.batch import Request
from assay.generate.call_grammar import NO_FORM, call_rules
from assay.generate.constrained import Grammars, rules_grammar
from assay.generate.llamacpp.engine import AdapterServer, LlamaCppEngine
from assay.generate.stream import Piece, RequestRefusedError, Sampling
from assay.store.store import Store


def tool(name: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name}
    return {
        "type": "function",
        "function": function if parameters is None else {**function, "parameters": parameters},
    }


FERRY = tool(
    "find_ferry",
    {
        "type": "object",
        "properties": {
            "to": {"type": "string"},
            "class": {"enum": ["inside", "outside"]},
            "cars": {"type": "integer"},
        },
        "required": ["to"],
    },
)
BARE = tool("list_ports")
SHORT = tool("f")
ODD = tool("odd", {"type": "object", "properties": {"a": {"type": "string", "not": {}}}})
TOOLS = [FERRY, BARE, ODD]
MARKS = CallMarks("", "<tool_call>\n", "\n</tool_call>", "\n")
BYTES = LLTokenizer("byte")


def accepts(text: str, marks: CallMarks = MARKS) -> bool:
    """Whether a whole answer follows the grammar."""
    matcher = LLMatcher(BYTES, rules_grammar(call_rules(TOOLS, marks)), log_level=0)
    raw = list(text.encode())
    return matcher.try_consume_tokens(raw) == len(raw) and matcher.is_accepting()


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "On which day?",
        "<b>A list</b>\n- one <tool_cal",
        call("find_ferry", to="Kiel"),
        call("find_ferry", **{"to": "Kiel", "class": "inside", "cars": 2}),
        call("find_ferry", to="Kiel") + "\n" + call("list_ports"),
        call("odd", anything=[1]),  # parameters that cannot be followed are any object
    ],
)
def test_text_and_calls_that_fit_are_answers(text: str) -> None:
    assert accepts(text)


@pytest.mark.parametrize(
    "text",
    [
        call("book_ferry", to="Kiel"),
        call("find_ferry"),
        call("find_ferry", to=3),
        call("find_ferry", **{"to": "Kiel", "class": "deck"}),
        call("find_ferry", to="Kiel", day="Monday"),
        call("find_ferry", to="Kiel")[:-1],
        "Gladly. " + call("list_ports"),
        call("list_ports") + " Done.",
    ],
)
def test_a_call_that_does_not_fit_is_no_answer(text: str) -> None:
    assert not accepts(text)


def test_a_model_that_thinks_may_do_so_before_it_calls() -> None:
    thinks = replace(MARKS, thinks=True, lead="<think>\n\n</think>\n\n")
    thought = "<think>Kiel it is.</think>\n"
    for answer in (call("list_ports"), "Gladly.", ""):
        assert accepts(f"{thought}{answer}", thinks)
    assert not accepts(f"{thought}{call('book_ferry')}", thinks)
    assert not accepts(f"{thought}{call('list_ports')}")


@given(st.text(max_size=30).map(lambda text: text.encode(errors="replace").decode()))
def test_any_text_without_a_call_may_be_said(text: str) -> None:
    assert accepts(text)
    assert not accepts(f"{text}<tool_call>")


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_template_writes_for_calls_is_allowed_token_by_token(family: str) -> None:
    """Also where a mark is one token, as Qwen 3's."""
    tokenizer = tokenizer_of(family)
    template = Template.of(tokenizer)
    marks = template.call_marks
    assert marks is not None
    asked = Message("user", "Which ferries go to Kiel?")
    arguments = json.dumps({"to": "Kiel", "class": "inside"})
    made = tuple(ToolCall(f"abcdefgh{n}", "find_ferry", arguments) for n in range(2))
    grammars = Grammars(tokenizer, len(tokenizer), template.stop_ids)
    for answer in (Message("assistant", "", made), Message("assistant", "On which day?")):
        rendered = template.render([asked, answer], [FERRY])
        held = grammars.constraint(None, None, call_rules([FERRY], marks, over_tokens=True))
        assert held is not None
        for token, is_trained in zip(rendered.ids, rendered.trained, strict=True):
            if is_trained:
                allowed = grammars.masks([held], len(tokenizer))
                assert allowed is not None
                assert allowed[0, token], tokenizer.decode([token])
                if token not in template.stop_ids:
                    held.accept(token)


def test_an_engine_writes_no_call_that_does_not_fit() -> None:
    """A random model, whose answers would be anything; begun as a call, so that it makes one."""
    engine = tiny_engine()
    assert engine.template.call_marks is not None
    requests = [
        Request(
            (Message("user", f"{n}"),),
            tools=(BARE, tool("pick", {"type": "object", "properties": {"n": {"enum": [1, 2]}}})),
            max_new_tokens=200,
            calls=True,
            temperature=1.5,
            seed=n,
        )
        for n in range(12)
    ]
    for answer in engine.answer(requests):
        _, calls = find_calls(answer.text, [*requests[0].tools])
        assert calls or "<tool_call>" not in answer.text


def test_llamacpp_is_given_the_same_grammar(tmp_path: Path) -> None:
    tokenizer, file = byte_tokenizer(), write_tiny(tmp_path / "tiny.gguf", tiny_model())
    server = AdapterServer(file, SERVER, 1 << 30)
    engine = LlamaCppEngine(server, Template.of(tokenizer), tokenizer)
    tools = [SHORT]
    for seed in range(4):
        sampling = Sampling(max_new_tokens=60, temperature=1.5, seed=seed, calls=True)
        parts = engine.chat([Message("user", "a")], tools, sampling)
        text = "".join(part.text for part in parts if isinstance(part, Piece))
        assert "<tool_call>" not in text or find_calls(text, tools)[1]
    required = f"start: call\n{call_rules(tools, MARKS).partition(chr(10))[2]}"
    required = required.replace("first: FIRST", "call: FIRST")
    sampling = Sampling(max_new_tokens=200, temperature=1.0, seed=1, grammar=required)
    parts = engine.chat([Message("user", "a")], tools, sampling)
    text = "".join(part.text for part in parts if isinstance(part, Piece))
    assert find_calls(text, tools)[1]


def test_a_served_agent_is_held_as_it_was_measured(tmp_path: Path) -> None:
    held = Agent(model="m", constrained=True)
    store = Store(tmp_path)
    asked = [Message("user", "a")]
    for options, calls in (
        (GenerationOptions(), True),
        (GenerationOptions(json_object=True), False),
    ):
        [made] = prepare(Target("a", "m", held), asked, [SHORT], options, store)
        assert made.sampling.calls == calls
    [free] = prepare(Target("a", "m", held), asked, [], GenerationOptions(), store)
    assert not free.sampling.calls
    [measured] = assemble(
        held, [Example("1", (*asked, Message("assistant", "")), tools=(SHORT,))], store
    )
    assert measured.calls


def test_a_form_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine()
    monkeypatch.setattr(engine.template, "call_marks", None)
    asked = Request((Message("user", "a"),), tools=(SHORT,), calls=True)
    told, other = engine.answer([asked, Request((Message("user", "a"),), max_new_tokens=2)])
    assert (told.finish, told.error) == ("refused", NO_FORM)
    assert other.has_answered
    with pytest.raises(RequestRefusedError, match="too long"):
        call_rules([tool("f", {"type": "object", "description": "a" * 70_000})], MARKS)
