"""The grammar of an answer that calls functions, or calls none.

    grammar = call_grammar(tools, template.call_marks)
    grammar.over_texts         # rules in Lark's form, as llguidance reads them

An answer is either text that is no call, or calls and nothing else, each of a function that is
offered, with arguments that fit its `parameters` and none beside them. Which of the two is the
model's choice. Calls are spelled as the model's own template spells them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from assay import json_reader
from assay.chat.template import CallMarks, Template
from assay.chat.tool_text import call_schema
from assay.errors import ConfigError
from assay.generate.constrained import (
    JSON_SPELLING,
    LONGEST_SCHEMA,
    can_be_parsed,
    rules_grammar,
)
from assay.generate.stream import AnswerGrammar, RequestRefusedError, Sampling

NO_FORM = "this model writes calls in a form that constrained decoding does not know."
"""Why a request that asks for it is refused."""
_BARE = r"[\s\x1c-\x1f]*(\{|\[|<\|python_tag\|>)"
"""How text begins that is read as a call without marks (`assay.chat.tool_text`), after what Python
takes for white space."""


def call_grammar(tools: Sequence[dict[str, Any]], marks: CallMarks | None) -> AnswerGrammar:
    """The grammar of answers to a request that offers tools, each call as JSON between the marks.

    Parameters that constrained decoding cannot follow are any object.

    Args:
        marks: the model's; None: it writes calls in a form that is not known here.

    Raises:
        RequestRefusedError: the form is not known, or the tools are too many or too large.
    """
    if marks is None:
        raise RequestRefusedError(NO_FORM)
    spelled = json.dumps(list(tools))
    if len(spelled) > LONGEST_SCHEMA:
        raise RequestRefusedError(
            f"tools of {len(spelled):,} characters are too long for calls to be held to them "
            f"(at most {LONGEST_SCHEMA:,})."
        )
    found = _grammar(spelled, marks)
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
    return replace(sampling, grammar=call_grammar(tools, template.call_marks))


@lru_cache(maxsize=64)
def _grammar(spelled: str, marks: CallMarks) -> AnswerGrammar | str:
    """The grammar, or why there is none: what was refused is not tried again."""
    tools = [_closed(tool) for tool in json_reader.read(spelled)]
    try:
        return _spell(tools, marks)
    except ConfigError:  # some of them, which are then any object
        followed = [tool if can_be_parsed(call_schema([tool])) else _open(tool) for tool in tools]
    try:
        return _spell(followed, marks)
    except ConfigError as error:
        return str(error)


def _spell(tools: Sequence[dict[str, Any]], marks: CallMarks) -> AnswerGrammar:
    schema = json.dumps({**call_schema(tools), "x-guidance": JSON_SPELLING}, ensure_ascii=False)
    over_texts = _rules_over_texts(schema, marks)
    rules_grammar(over_texts)
    return AnswerGrammar(
        over_texts, _rules_over_tokens(schema, marks) if marks.are_tokens else over_texts
    )


def _rules_over_texts(schema: str, marks: CallMarks) -> str:
    lead = '"<think>" THOUGHT "</think>" /\\s*/' if marks.thinks else _literal(marks.lead)
    # What may stand before the first call is one terminal with its mark: a lexer goes on with text
    # as long as it may be some.
    return "\n".join(
        (
            "start: WORDS | first further*",
            "first: FIRST json CLOSE",
            "further: FURTHER json CLOSE",
            f"FIRST: ({lead})? {_literal(marks.open)}",
            f"FURTHER: {_literal(marks.between + marks.open)}",
            f"CLOSE: {_literal(marks.close)}",
            f"WORDS: {_without(marks.open.strip())} & ~/(?s:{_BARE}.*)/",
            *([f"THOUGHT: {_without('</think>')}"] if marks.thinks else ()),
            f"json: %json {schema}",
        )
    )


def _rules_over_tokens(schema: str, marks: CallMarks) -> str:
    """Of the model's own tokenizer as llguidance reads it: a mark that is one token is no text."""
    before, behind = (mark.strip() for mark in (marks.open, marks.close))
    thought = "<think> THOUGHT? </think>" if marks.thinks else ""
    return "\n".join(
        (
            f"start: ({thought})? (TEXT | SPACE? call further*)?",
            f"further: {_literal(marks.between)} call",
            f"call: {before} {_literal(marks.open.removeprefix(before))} json "
            f"{_literal(marks.close.removesuffix(behind))} {behind}",
            "SPACE: /\\s+/",
            f"TEXT: /(?s:.+)/ & {_without(before)} & ~/(?s:{_BARE}.*)/",
            *([f"THOUGHT: /(?s:.+)/ & {_without('</think>')}"] if marks.thinks else ()),
            f"json: %json {schema}",
        )
    )


def _without(text: str) -> str:
    """Any text in which another does not stand."""
    escaped = re.escape(text).replace("/", r"\/")
    return f"/(?s:.*)/ & ~/(?s:.*{escaped}.*)/"


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
