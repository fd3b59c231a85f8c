"""Calls that are held to the tools that are offered."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer
from tests.chat.calling_families import CALLING_FAMILIES
from tests.chat.families import FAMILIES, tokenizer_for, tokenizer_of
from tests.generate.llamacpp.server import SERVER, write_tiny
from tests.generate.tiny import byte_tokenizer, tiny_engine, tiny_model

from assay.agent.agent import Agent
from assay.agent.answering import GenerationOptions, Target, prepare
from assay.agent.runtime import assemble
from assay.chat.call_form import CallForm
from assay.chat.template import Template
from assay.chat.tool_text import find_calls
from assay.example import Example, Message, ToolCall
from assay.generate import call_grammar as grammars_of_calls
from assay.generate.batch import Request
from assay.generate.call_grammar import NO_FORM, call_grammar, with_grammar
from assay.generate.constrained import Grammars, byte_matcher, rules_grammar
from assay.generate.llamacpp.engine import AdapterServer, LlamaCppEngine
from assay.generate.server_engine import guidance
from assay.generate.stream import AnswerGrammar, Piece, RequestRefusedError, Sampling
from assay.store.store import Store


@cache
def calling_tokenizer(family: str) -> Any:
    return tokenizer_for(CALLING_FAMILIES[family])


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
MARKS = CallForm("", "<tool_call>\n", "\n</tool_call>", "\n</tool_call>\n<tool_call>\n")
BYTES = LLTokenizer("byte")
HARD = (
    "<tool_call>",
    "</tool_call>",
    "[TOOL_CALLS]",
    "[ARGS]{",
    "<|python_tag|>",
    "</s>",
    "}f{",
    '"',
    "\\",
)
"""Values that look like marks."""


def accepts(text: str, marks: CallForm = MARKS) -> bool:
    """Whether a whole answer follows the grammar."""
    rules = call_grammar(TOOLS, marks).over_texts
    matcher = LLMatcher(BYTES, rules_grammar(rules), log_level=0)
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
        ' {"name": "find_ferry", "arguments": {"bogus": 1}}',  # read as a call without marks
        '[TOOL_CALLS][{"name": "list_ports", "arguments": {}}]',
        '[{"name": "list_ports"}]',
        "list_ports{}",
        'find_ferry[ARGS]{"bogus": 1}',
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
@example("{")
@example("\x1c {")  # Python's blanks are more than those of llguidance's expressions
def test_any_text_that_is_not_read_as_a_call_may_be_said(text: str) -> None:
    assert accepts(text) is not text.strip().startswith(("{", "[", "<|python_tag|>"))
    assert not accepts(f"{text}<tool_call>")


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_template_writes_for_calls_is_allowed_token_by_token(family: str) -> None:
    """Also where a mark is one token, as Qwen 3's."""
    tokenizer = tokenizer_of(family)
    template = Template.of(tokenizer)
    arguments = json.dumps({"to": "Kiel", "class": "inside"})
    made = tuple(ToolCall(f"abcdefgh{n}", "find_ferry", arguments) for n in range(2))
    for answer in (Message("assistant", "", made), Message("assistant", "On which day?")):
        follow(template, tokenizer, answer, [FERRY])


def test_a_turn_of_calls_may_end_otherwise_than_one_of_words() -> None:
    """By the same token, with other white space behind it."""
    tokenizer = deepcopy(tokenizer_of("qwen3"))
    form = Template.of(tokenizer).call_form
    before, end, behind = tokenizer.chat_template.rpartition("'<|im_end|>\n'")
    tokenizer.chat_template = f"{before}('<|im_end|>' if message.tool_calls else {end}){behind}"
    assert Template.of(tokenizer).call_form == form


def follow(
    template: Template, tokenizer: Any, answer: Message, tools: Sequence[dict[str, Any]]
) -> str:
    """An answer's text, its tokens held to the grammar one by one."""
    assert template.call_form is not None
    rendered = template.render([Message("user", "Which ferries go to Kiel?"), answer], tools)
    grammars = Grammars(tokenizer, len(tokenizer), template.stop_ids)
    held = grammars.constraint(None, None, call_grammar(tools, template.call_form).over_tokens)
    assert held is not None
    kept = []
    for token, is_trained in zip(rendered.ids, rendered.trained, strict=True):
        if is_trained:
            allowed = grammars.masks([held], len(tokenizer))
            assert allowed is not None
            assert allowed[0, token], tokenizer.decode([token])
            if token not in template.stop_ids:
                held.accept(token)
                kept.append(token)
    text: str = tokenizer.decode(kept, skip_special_tokens=True)
    return text


VALUES = {
    "string": st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)
    | st.sampled_from(HARD),
    "integer": st.integers(-(2**60), 2**60),
    "boolean": st.booleans(),
}


@st.composite
def calls_of_tools(
    draw: st.DrawFn,
) -> tuple[list[dict[str, Any]], list[tuple[str, dict[str, Any]]]]:
    """Tools whose names begin alike, with parameters at random, and calls that fit."""
    tools, calls = [], []
    for name in ("f", "ff", "f-f")[: draw(st.integers(1, 3))]:
        kinds = draw(st.dictionaries(st.sampled_from("abc"), st.sampled_from(sorted(VALUES))))
        properties = {key: {"type": kind} for key, kind in kinds.items()}
        tools.append(tool(name, {"type": "object", "properties": properties}))
        calls.append((name, {key: draw(VALUES[kind]) for key, kind in kinds.items()}))
    return tools, draw(st.lists(st.sampled_from(calls), min_size=1, max_size=3))


@pytest.mark.parametrize("family", [*CALLING_FAMILIES, "chatml", "qwen3"])
@settings(max_examples=25)
@given(calls_of_tools())
def test_calls_in_a_models_own_form_are_allowed_and_read_back(
    family: str, drawn: tuple[list[dict[str, Any]], list[tuple[str, dict[str, Any]]]]
) -> None:
    """Llama 3's object, Mistral's list and names, marks: control tokens as such, in no text."""
    known = family in CALLING_FAMILIES
    tokenizer = calling_tokenizer(family) if known else tokenizer_of(family)
    tools, calls = drawn
    template = Template.of(tokenizer)
    assert template.call_form is not None
    wanted = calls if template.call_form.between is not None else calls[:1]
    made = tuple(ToolCall(f"call_{n}", f, json.dumps(a)) for n, (f, a) in enumerate(wanted))
    text = follow(template, tokenizer, Message("assistant", "", made), tools)
    said, read = find_calls(text, tools)
    assert said == template.call_form.lead.strip()
    assert [(call.name, json.loads(call.arguments)) for call in read] == wanted
    words = follow(template, tokenizer, Message("assistant", "Well, f is a {letter}."), tools)
    assert find_calls(words, tools)[1] == ()


@pytest.mark.parametrize("family", CALLING_FAMILIES)
def test_what_is_drawn_in_a_models_own_form_is_read_as_calls_that_fit(family: str) -> None:
    """Tokens at random, as long as the grammar allows them; words are not tried here."""
    tokenizer = calling_tokenizer(family)
    template = Template.of(tokenizer)
    tools = [
        tool("f", {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}),
        tool("ff", {"type": "object", "properties": {"x": {"type": "boolean"}}}),
    ]
    rules = call_grammar(tools, template.call_form)
    only_calls = re.sub(r"^start: .*", "start: calls", rules.over_tokens)
    grammars = Grammars(tokenizer, len(tokenizer), template.stop_ids)
    drawn = random.Random(0)
    for _ in range(8):
        held = grammars.constraint(None, None, only_calls)
        tokens: list[int] = []
        assert held is not None
        while not tokens or tokens[-1] not in template.stop_ids:
            allowed = grammars.masks([held], len(tokenizer))
            assert allowed is not None
            going_on = [int(token) for token in np.flatnonzero(allowed[0])]
            ends = [token for token in going_on if token in template.stop_ids]
            tokens.append(drawn.choice(ends or going_on))
            held.accept(tokens[-1])
        text = tokenizer.decode(tokens[:-1], skip_special_tokens=True)
        said, read = find_calls(text, tools)
        assert said == ""
        fits = {"f": ('{"n": 1}', '{"n": 2}'), "ff": ("{}", '{"x": true}', '{"x": false}')}
        assert read
        assert all(call.arguments in fits[call.name] for call in read)
        matcher = LLMatcher(BYTES, rules_grammar(rules.of_text), log_level=0)
        assert matcher.try_consume_tokens(list(text.encode())) == len(text.encode())
        assert matcher.is_accepting()


def test_an_engine_writes_a_call_that_fits_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model, made to begin a call: what it writes then would be anything."""
    engine = tiny_engine()
    engine.loaded = replace(engine.loaded, context_length=1000)
    pick = tool("pick", {"type": "object", "properties": {"n": {"enum": [1, 2]}}})

    def calls_only(tools: Sequence[dict[str, Any]], marks: CallForm | None) -> AnswerGrammar:
        rules = call_grammar(tools, marks).over_tokens.replace("WORDS | ", "", 1)
        return AnswerGrammar(rules, rules, rules)

    monkeypatch.setattr(grammars_of_calls, "call_grammar", calls_only)
    asked = Message("user", "a")
    request = Request((asked,), (pick,), 200, calls=True, temperature=1.5)
    for answer in engine.answer([replace(request, seed=n) for n in range(6)]):
        said, [made] = find_calls(answer.text, [pick])
        assert (said, made.name) == ("", "pick")
        assert made.arguments in ("{}", '{"n": 1}', '{"n": 2}')
    free = engine.answer([replace(request, calls=False)])[0]
    assert not find_calls(free.text, [pick])[1]


def test_two_tools_may_define_the_same_name() -> None:
    def one(name: str, value: str) -> dict[str, Any]:
        parameters = {"type": "object", "properties": {"x": {"$ref": "#/$defs/S"}}}
        return tool(name, {**parameters, "$defs": {"S": {"enum": [value]}}})

    rules = rules_grammar(call_grammar([one("a", "a1"), one("b", "b1")], MARKS).over_texts)
    for text, fits in ((call("a", x="a1"), True), (call("a", x="b1"), False)):
        raw = list(text.encode())
        matcher = LLMatcher(BYTES, rules, log_level=0)
        assert (matcher.try_consume_tokens(raw) == len(raw)) is fits


def test_vllm_is_given_the_tokens_of_marks_and_llamacpp_their_texts() -> None:
    """vLLM reads the tokenizer as `Grammars` does: a mark that is one token is no text to it."""
    tokenizer = tokenizer_of("qwen3")
    template = Template.of(tokenizer)
    sampling = with_grammar(Sampling(calls=True), [FERRY], template)
    mark = tokenizer.convert_tokens_to_ids("<tool_call>")
    grammars = Grammars(tokenizer, len(tokenizer), template.stop_ids)
    for over_tokens in (True, False):
        rules = guidance(sampling, "over_tokens" if over_tokens else "over_texts")
        assert rules is not None
        held = grammars.constraint(None, None, rules.partition("\n")[2])
        allowed = grammars.masks([held], len(tokenizer))
        assert allowed is not None
        assert bool(allowed[0, mark]) is over_tokens
    # The mark that is spelled by other tokens is neither a call nor a text.
    held = grammars.constraint(None, None, call_grammar([FERRY], template.call_form).over_tokens)
    assert held is not None
    spelled = [*"<tool_call>"]
    ids = [tokenizer.convert_tokens_to_ids(sign) for sign in spelled]
    for token in ids[:-1]:
        held.accept(token)
    allowed = grammars.masks([held], len(tokenizer))
    assert allowed is not None
    assert not allowed[0, ids[-1]]


def test_many_tools_are_looked_at_together() -> None:
    """To try out a grammar takes up to half a second."""
    parameters = {"type": "object", "properties": {"a": {"type": "string"}}}
    many = [tool(f"f{number}", parameters) for number in range(128)]
    tried = byte_matcher.cache_info().misses
    call_grammar([*many, ODD], MARKS)
    assert byte_matcher.cache_info().misses <= tried + 2


def test_llamacpp_is_given_the_same_grammar(tmp_path: Path) -> None:
    """Also where a mark is a control token, which is not in its text."""
    tokenizer, file = byte_tokenizer(), write_tiny(tmp_path / "tiny.gguf", tiny_model())
    server = AdapterServer(file, SERVER, 1 << 30)
    engine = LlamaCppEngine(server, Template.of(tokenizer), tokenizer)
    pick = tool("pick", {"type": "object", "properties": {"n": {"enum": [1, 2]}}})
    pad = ("<|pad|>", 256)
    silent = CallForm("", "<|pad|> [", "]", None, tokens=(pad,), silent=frozenset({pad[0]}))
    for form in (MARKS, silent):
        rules = call_grammar([pick], form)
        calls = re.sub(r"^start: .*", "start: calls", rules.over_texts)
        held = AnswerGrammar(calls, calls, rules.of_text)
        sampling = Sampling(max_new_tokens=200, temperature=1.0, seed=1, grammar=held)
        parts = engine.chat([Message("user", "a")], [], sampling)
        text = "".join(part.text for part in parts if isinstance(part, Piece))
        assert text.startswith("<tool_call>" if form is MARKS else " [")
        assert find_calls(text, [pick])[1]


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
    monkeypatch.setattr(engine.template, "call_form", None)
    asked = Request((Message("user", "a"),), tools=(SHORT,), calls=True)
    told, other = engine.answer([asked, Request((Message("user", "a"),), max_new_tokens=2)])
    assert (told.finish, told.error) == ("refused", NO_FORM)
    assert other.has_answered
    with pytest.raises(RequestRefusedError, match="too long"):
        call_grammar([tool("f", {"type": "object", "description": "a" * 70_000})], MARKS)
