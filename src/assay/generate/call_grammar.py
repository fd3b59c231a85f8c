"""The grammar of an answer that calls functions, or calls none.

    rules = call_rules(tools, template.call_marks)      # Lark, as llguidance reads it

An answer is either text in which no call begins, or calls and nothing else, each of a function that
is offered, with arguments that fit its `parameters` and none beside them. Which of the two is the
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
from assay.generate.constrained import JSON_SPELLING, LONGEST_SCHEMA, check_schema, rules_grammar
from assay.generate.stream import RequestRefusedError, Sampling

NO_FORM = "this model writes calls in a form that constrained decoding does not know."
"""Why a request that asks for it is refused."""


def call_rules(
    tools: Sequence[dict[str, Any]], marks: CallMarks | None, *, over_tokens: bool = False
) -> str:
    """The rules in Lark's form, each call as JSON between the marks.

    Parameters that constrained decoding cannot follow are any object.

    Args:
        marks: the model's; None: it writes calls in a form that is not known here.
        over_tokens: of the model's own tokenizer as llguidance reads it, to which a mark that is
            one token is no text; else of texts.

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
    try:
        rules = _rules(spelled, marks, False)
        rules_grammar(rules)
    except ConfigError as error:
        raise RequestRefusedError(f"calls cannot be held to these tools: {error}") from None
    return _rules(spelled, marks, True) if over_tokens and marks.are_tokens else rules


@lru_cache(maxsize=64)
def _rules(tools: str, marks: CallMarks, over_tokens: bool) -> str:
    schema = call_schema([_closed(tool) for tool in json_reader.read(tools)])
    spelled = json.dumps({**schema, "x-guidance": JSON_SPELLING}, ensure_ascii=False)
    if over_tokens:
        before, behind = (mark.strip() for mark in (marks.open, marks.close))
        thought = "<think> TEXT? </think>" if marks.thinks else ""
        rules = (
            f"start: ({thought})? (TEXT | SPACE? call further*)?",
            f"further: {_literal(marks.between)} call",
            f"call: {before} {_literal(marks.open.removeprefix(before))} json "
            f"{_literal(marks.close.removesuffix(behind))} {behind}",
            "SPACE: /\\s+/",
            "TEXT: /(?s:.+)/",
            f"json: %json {spelled}",
        )
        return "\n".join(rules)
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
            f"WORDS: {_without(marks.open.strip())}",
            f"json: %json {spelled}",
            *([f"THOUGHT: {_without('</think>')}"] if marks.thinks else ()),
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
    """A tool whose parameters can be followed and allow no arguments that they do not name."""
    function = tool["function"]
    parameters = function.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        return tool
    closed = parameters
    if "properties" in parameters and "additionalProperties" not in parameters:
        closed = {**parameters, "additionalProperties": False}
    for one in (closed, parameters):
        made = {**tool, "function": {**function, "parameters": one}}
        try:
            check_schema(call_schema([made]))
        except ConfigError:
            continue
        return made
    return {**tool, "function": {**function, "parameters": {"type": "object"}}}


def with_grammar(
    sampling: Sampling,
    tools: Sequence[dict[str, Any]],
    template: Template,
    *,
    over_tokens: bool = False,
) -> Sampling:
    """The sampling with the grammar that its `calls` asks for, see `call_rules`.

    Raises:
        RequestRefusedError: as `call_rules`.
    """
    if not sampling.calls or not tools:
        return sampling
    rules = call_rules(tools, template.call_marks, over_tokens=over_tokens)
    return replace(sampling, grammar=rules)
