"""Calls of functions in examples: held against the tools that the row offers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from assay import json_reader
from assay.chat.tool_text import find_calls
from assay.close_names import find_close_name
from assay.data.json_schema import mismatches, schema_validator
from assay.data.mismatch import describe_mismatch
from assay.data.privacy import mask
from assay.errors import ConfigError
from assay.example import CALL_OPEN, Example, Message, ToolCall, canonical_json
from assay.quantities import say_count

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

WHERE = "tools"


def functions_of(tools: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The functions that tools in OpenAI's form define, by name."""
    return {tool["function"]["name"]: tool["function"] for tool in tools}


def find_misfit(arguments: Any, function: dict[str, Any]) -> str | None:
    """The first way in which arguments do not fit a function's `parameters`; None: they fit.

    A function without `parameters` takes whatever it is given.

    Raises:
        ConfigError: the parameters are no JSON Schema that can be used.
    """
    parameters = function.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise ConfigError("they are not an object.", where=WHERE)
    validator = _validator(canonical_json(parameters))
    error = next(mismatches(validator, arguments, WHERE), None)
    return None if error is None else describe_mismatch(error)


def turn_of(text: str, tools: Sequence[dict[str, Any]]) -> Message:
    """The assistant's turn that somebody has written as text. A call that cannot be read stays
    text; that, and one that does not fit the tools, is named by `find_call_problems`. Calls are
    numbered, so that the same answer is the same turn."""
    said, calls = find_calls(text, tools)
    numbered = (replace(call, id=f"call{number:05}") for number, call in enumerate(calls))
    return Message("assistant", said, tuple(numbered))


def read_turn(text: str, tools: Sequence[dict[str, Any]]) -> Message | None:
    """See `turn_of`; None where a call cannot be read or does not fit the tools.

    Raises:
        ConfigError: the parameters of a function that it calls are no JSON Schema that can be used.
    """
    turn, functions = turn_of(text, tools), functions_of(tools)
    if not turn.tool_calls:
        return None if tools and CALL_OPEN in text else turn
    for call in turn.tool_calls:
        if find_misfit(json_reader.read(call.arguments), functions[call.name]) is not None:
            return None
    return turn


@lru_cache(maxsize=256)
def _validator(schema: str) -> Validator:
    return schema_validator(json_reader.read(schema), WHERE)


def find_call_problems(example: Example) -> Iterator[tuple[str, str, str, str]]:
    """What is wrong with the tools and the calls of a row: code, message, fix and place of each."""
    functions = functions_of(example.tools)
    if not functions:
        yield (
            "no-tools",
            "the row offers no tools, so there is nothing to call.",
            "Add the definitions of the functions under `tools`, or remove the row.",
            "tools",
        )
        return
    if len(functions) < len(example.tools):
        yield (
            "bad-tools",
            "two tools have the same name.",
            "Give each function a name of its own.",
            "tools",
        )
    for name, function in functions.items():
        try:
            find_misfit({}, function)
        except ConfigError as error:
            yield _unusable(name, error)
            return
    for place, message in enumerate(example.messages):
        if len({call.id for call in message.tool_calls}) < len(message.tool_calls):
            yield (
                "bad-tool-call",
                "two calls of one turn have the same id, so results cannot be told apart.",
                "Give each call an id of its own.",
                f"messages[{place}].tool_calls",
            )
        for call in message.tool_calls:
            yield from _problems_of(call, functions, f"messages[{place}].tool_calls")
    if CALL_OPEN in example.target.content:
        yield (
            "bad-tool-call",
            f"the assistant's turn says {CALL_OPEN} as text, which calls nothing.",
            "Write it under `tool_calls`, with a function and arguments that fit `tools`.",
            f"messages[{len(example.messages) - 1}].content",
        )
    yield from _possible_problems(example, functions)


def _unusable(name: str, error: ConfigError) -> tuple[str, str, str, str]:
    return (
        "bad-tools",
        f"the parameters of {name} cannot be used: {mask(error.what)}",
        error.fix or "Write them as a JSON Schema of type object.",
        "tools",
    )


def _problems_of(
    call: ToolCall, functions: dict[str, dict[str, Any]], where: str
) -> Iterator[tuple[str, str, str, str]]:
    function = functions.get(call.name)
    if function is None:
        close = find_close_name(call.name, functions)
        yield (
            "unknown-function",
            f"the assistant calls {call.name}, which is not one of the row's tools: "
            f"{', '.join(functions)}.",
            f"Did you mean {close}?" if close else "Define it in `tools`, or correct the name.",
            where,
        )
        return
    # Arguments that are no JSON object were refused where the row was read.
    try:
        misfit = find_misfit(json_reader.read(call.arguments or "{}"), function)
    except ConfigError as error:
        yield _unusable(call.name, error)
        return
    if misfit is not None:
        yield (
            "arguments-mismatch",
            f"the arguments of {call.name} do not fit its parameters: {misfit}.",
            "Correct the arguments, or the function's `parameters`.",
            where,
        )


def _possible_problems(
    example: Example, functions: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, str, str, str]]:
    if not example.possible:
        return
    calls = example.target.tool_calls
    if len(example.possible) != len(calls):
        yield (
            "bad-possible",
            f"`possible` has {say_count(len(example.possible), 'entry', 'entries')} for the "
            f"{say_count(len(calls), 'call')} of the target.",
            "Write one entry for each call, in their order.",
            "possible",
        )
        return
    for place, (entry, call) in enumerate(zip(example.possible, calls, strict=True)):
        known = functions.get(call.name, {}).get("parameters") or {}
        properties = known.get("properties", {})
        names = [*entry.get("values", {}), *entry.get("optional", [])]
        for name in names:
            if known.get("additionalProperties") is False and name not in properties:
                yield (
                    "bad-possible",
                    f"{call.name} has no parameter {name!r}.",
                    f"Its parameters are: {', '.join(properties) or 'none'}.",
                    f"possible[{place}]",
                )
