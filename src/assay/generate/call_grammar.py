"""The grammar of an answer that calls functions, or calls none.

    grammar = call_grammar(tools, template.call_form)
    grammar.over_texts         # rules in Lark's form, as llguidance reads them

An answer is either text that is no call, or calls and nothing else, each of a function that is
offered, with arguments that fit its `parameters` and none beside them. Which of the two is the
model's choice. Calls are spelled as the model's own template spells them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, reduce
from typing import Any

from assay import json_reader
from assay.chat.call_form import CallForm
from assay.chat.template import Template
from assay.chat.tool_text import ARGS, PYTHON_TAG, call_schema, name_of
from assay.errors import ConfigError
from assay.example import CALL_OPEN
from assay.generate.constrained import (
    JSON_SPELLING,
    LONGEST_SCHEMA,
    can_be_parsed,
    rules_grammar,
)
from assay.generate.stream import AnswerGrammar, RequestRefusedError, Sampling

NO_FORM = "this model writes calls in a form that constrained decoding does not know."
"""Why a request that asks for it is refused."""


def call_grammar(tools: Sequence[dict[str, Any]], form: CallForm | None) -> AnswerGrammar:
    """The grammar of answers to a request that offers tools, each call in the model's own form.

    Parameters that constrained decoding cannot follow are any object.

    Args:
        form: the model's; None: what it writes is not read as calls.

    Raises:
        RequestRefusedError: the form is not known, or the tools are too many or too large.
    """
    if form is None:
        raise RequestRefusedError(NO_FORM)
    spelled = json.dumps(list(tools))
    if len(spelled) > LONGEST_SCHEMA:
        raise RequestRefusedError(
            f"tools of {len(spelled):,} characters are too long for calls to be held to them "
            f"(at most {LONGEST_SCHEMA:,})."
        )
    found = _grammar(spelled, form)
    if isinstance(found, str):
        raise RequestRefusedError(f"calls cannot be held to these tools: {found}")
    return found


def with_grammar(
    sampling: Sampling, tools: Sequence[dict[str, Any]], template: Template
) -> Sampling:
    """The sampling of a request whose `calls` is set, with the grammar that it asks for.

    Raises:
        RequestRefusedError: as `call_grammar`.
    """
    return replace(sampling, grammar=call_grammar(tools, template.call_form))


@lru_cache(maxsize=64)
def _grammar(spelled: str, form: CallForm) -> AnswerGrammar | str:
    """The grammar, or why there is none: what was refused is not tried again."""
    tools = [_closed(tool) for tool in json_reader.read(spelled)]
    try:
        return _spell(tools, form)
    except ConfigError:  # some of them, which are then any object
        followed = [tool if can_be_parsed(call_schema([tool])) else _open(tool) for tool in tools]
    try:
        return _spell(followed, form)
    except ConfigError as error:
        return str(error)


def _spell(tools: Sequence[dict[str, Any]], form: CallForm) -> AnswerGrammar:
    tokens = {mark: f"<[{id}]>" for mark, id in form.tokens}
    of_text = _rules(tools, form, dict.fromkeys(form.silent, ""))
    rules_grammar(of_text)
    over_texts = _rules(tools, form, {mark: tokens[mark] for mark in form.silent})
    return AnswerGrammar(over_texts, _rules(tools, form, tokens), of_text)


def _rules(tools: Sequence[dict[str, Any]], form: CallForm, spelled: Mapping[str, str]) -> str:
    """Rules of answers.

    Args:
        spelled: what marks are that are no text: a token, or "" where they are left out.
    """
    written, is_text = form.open, "" in spelled.values()
    if is_text:  # which begins without the space that stands behind a mark
        written = reduce(lambda text, mark: text.replace(mark, ""), spelled, written).lstrip()
    opening = _parts(written, spelled)
    calls = ["call", *_parts(form.close, spelled)]
    if form.between is not None:
        calls[1:1] = ["(", *_parts(form.between, spelled), "call", ")*"]
    rules = _call_rules(tools, form, spelled)
    text = f"{_without(CALL_OPEN)} & ~/(?s:{_read_as_call(tools)}.*)/"
    if form.thinks:
        rules.append(f"THOUGHT: /(?s:.*)/ & {_without('</think>')}")
    if opening and opening[0].startswith("<["):
        thought = "(<think> THOUGHT? </think>)? " if form.thinks else ""
        start = f"{thought}(WORDS | SPACE? calls)?"
        calls = [*opening, *calls]
        rules += [f"WORDS: /(?s:.+)/ & {text}", "SPACE: /\\s+/"]
    else:
        start = "WORDS | calls"
        rules.append(f"WORDS: /(?s:.*)/ & {text}")
        if opening:
            # What may stand before the first call is one terminal with its mark: a lexer goes on
            # with text as long as it may be some.
            lead = '"<think>" THOUGHT "</think>" /\\s*/' if form.thinks else _literal(form.lead)
            before = "/\\s*/" if is_text else f"({lead})?"
            rules.append(f"FIRST: {before} {opening[0]}")
            calls = ["FIRST", *opening[1:], *calls]
        elif tag := spelled.get(form.tag or ""):
            calls = [f"({tag})?", *calls]
    return "\n".join((f"start: {start}", f"calls: {' '.join(calls)}", *rules))


def _call_rules(
    tools: Sequence[dict[str, Any]], form: CallForm, spelled: Mapping[str, str]
) -> list[str]:
    """Rules of one call."""
    if form.named is None:
        return [f"call: {_json(call_schema(tools, form.arguments, has_id=form.has_id))}"]
    ways = range(len(tools))
    between = " ".join(_parts(form.named, spelled))
    return [
        f"call: {' | '.join(f'call_{way}' for way in ways)}",
        *(
            f"call_{way}: {_literal(name_of(tool))} {between} {_json(_arguments_schema(tool))}"
            for way, tool in zip(ways, tools, strict=True)
        ),
    ]


def _arguments_schema(tool: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of a call's arguments, an object in any case."""
    parameters = tool["function"].get("parameters") or {}
    return {"type": "object", **parameters}


def _json(schema: dict[str, Any]) -> str:
    spelled = {**schema, "x-guidance": JSON_SPELLING}
    return f"%json {json.dumps(spelled, ensure_ascii=False)}"


def _read_as_call(tools: Sequence[dict[str, Any]]) -> str:
    """How text begins that is read as a call without marks (`assay.chat.tool_text`), after what
    Python takes for white space."""
    names = "|".join(_escaped(name_of(tool)) for tool in tools)
    before = rf"\{{|\[|{_escaped(PYTHON_TAG)}"
    return rf"[\s\x1c-\x1f]*({before}|({names})({_escaped(ARGS)})?\{{)"


def _parts(text: str, spelled: Mapping[str, str]) -> list[str]:
    """A text as parts of a rule, with marks as they are spelled."""
    mark = next((one for one in sorted(spelled, key=len, reverse=True) if one in text), None)
    if mark is None:
        return [_literal(text)] if text else []
    before, _, behind = text.partition(mark)
    between = [spelled[mark]] if spelled[mark] else []
    return [*_parts(before, spelled), *between, *_parts(behind, spelled)]


def _without(text: str) -> str:
    """No text in which another stands."""
    return f"~/(?s:.*{_escaped(text)}.*)/"


def _escaped(text: str) -> str:
    """A text as a part of a regular expression between slashes."""
    return re.escape(text).replace("/", r"\/")


def _literal(text: str) -> str:
    """A text that stands in the grammar as it is."""
    return json.dumps(text, ensure_ascii=False)


def _closed(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool that allows no arguments beside those that it names."""
    function = tool["function"]
    parameters = function.get("parameters")
    if not isinstance(parameters, dict) or "properties" not in parameters:
        return tool
    if "additionalProperties" in parameters:
        return tool
    closed = {**parameters, "additionalProperties": False}
    return {**tool, "function": {**function, "parameters": closed}}


def _open(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool whose arguments are any object."""
    return {**tool, "function": {**tool["function"], "parameters": {"type": "object"}}}
