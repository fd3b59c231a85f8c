"""Graders of JSON records: valid, fits the schema, right in part, right as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from pydantic import Field

from assay.data.calls import find_misfit, functions_of
from assay.data.json_schema import mismatches
from assay.data.mismatch import describe_mismatch
from assay.errors import ConfigError
from assay.evaluate.graders.calls import UNREAD_CALL, read_calls
from assay.evaluate.graders.parse import fold, parse_json, spelling
from assay.evaluate.graders.registry import (
    SCHEMA,
    UNPARSED_JSON,
    GraderSettings,
    GradingContext,
    Score,
    against_reference,
    of_answer,
)
from assay.example import Example


class JsonSettings(GraderSettings):
    """Settings of `json-valid` and `schema-valid`: none of their own."""


class RecordSettings(GraderSettings):
    """Settings of the graders that compare records."""

    normalise: bool = Field(
        False, description="in texts, ignore case, width (NFKC) and the amount of white space"
    )
    fields: list[str] | None = Field(
        None, min_length=1, description="compare only these fields of the record"
    )


@of_answer("json-valid", "1 when the answer is one JSON value.", settings=JsonSettings)
def json_valid(
    answer: str, example: Example, settings: JsonSettings, context: GradingContext
) -> Score:
    """1 when `parse_json` can read the answer."""
    return UNPARSED_JSON if parse_json(answer) is None else Score(1.0)


@of_answer(
    "schema-valid",
    "1 when the answer is JSON that fits the project's output_schema; of a tools task, when the "
    "arguments of every call fit the parameters of its function.",
    settings=JsonSettings,
    needs=("output_schema",),
)
def schema_valid(
    answer: str, example: Example, settings: JsonSettings, context: GradingContext
) -> Score:
    """JSON Schema validation; the note says the first thing that does not fit."""
    if context.task == "tools":
        return _calls_valid(answer, example)
    parsed = parse_json(answer)
    if parsed is None:
        return UNPARSED_JSON
    error = next(mismatches(context.validator, parsed.value, SCHEMA), None)
    if error is None:
        return Score(1.0)
    return Score(0.0, note=describe_mismatch(error)[:200])


def _calls_valid(answer: str, example: Example) -> Score:
    calls = read_calls(answer, example.tools)
    if calls is None:
        return UNREAD_CALL
    functions = functions_of(example.tools)
    for call in calls:
        try:
            misfit = find_misfit(call.arguments, functions[call.name])
        except ConfigError as error:  # in a part of the schema that only this answer reaches
            misfit = error.what
        if misfit is not None:
            return Score(0.0, note=f"{call.name}: {misfit}"[:200])
    return Score(1.0)


@against_reference(
    "record-exact",
    "1 when the answer is the expected JSON value; the order of keys does not matter.",
    settings=RecordSettings,
    wants="JSON value",
)
def record_exact(
    answer: str, reference: str, settings: RecordSettings, context: GradingContext
) -> Score | None:
    """Equality of JSON values: lists in order, 1 equals 1.0, true does not equal 1."""
    expected = parse_json(reference)
    if expected is None:
        return None
    parsed = parse_json(answer)
    if parsed is None:
        return UNPARSED_JSON
    found, wanted = (spelling(_compared(side.value, settings)) for side in (parsed, expected))
    return Score(float(found == wanted))


@against_reference(
    "field-precision",
    "Share of the answer's fields that are in the expected record with that value.",
    settings=RecordSettings,
    wants="JSON value",
    points="for fields that are right",
)
def field_precision(
    answer: str, reference: str, settings: RecordSettings, context: GradingContext
) -> Score | None:
    """Shared leaves / leaves of the answer."""
    return _leaf_score(answer, reference, settings, lambda shared, got, wanted: shared / got)


@against_reference(
    "field-recall",
    "Share of the expected record's fields that are in the answer with that value.",
    settings=RecordSettings,
    wants="JSON value",
    points="for expected fields that are there",
)
def field_recall(
    answer: str, reference: str, settings: RecordSettings, context: GradingContext
) -> Score | None:
    """Shared leaves / leaves of the expected record."""
    return _leaf_score(answer, reference, settings, lambda shared, got, wanted: shared / wanted)


@against_reference(
    "field-f1",
    "Share of the fields, expected and answered ones together, that are right (F1: the harmonic "
    "mean of field precision and field recall).",
    settings=RecordSettings,
    wants="JSON value",
    points="for right fields",
)
def field_f1(
    answer: str, reference: str, settings: RecordSettings, context: GradingContext
) -> Score | None:
    """2 * shared leaves / (leaves of the answer + leaves of the expected record)."""
    return _leaf_score(
        answer, reference, settings, lambda shared, got, wanted: 2 * shared / (got + wanted)
    )


def _leaf_score(
    answer: str, reference: str, settings: RecordSettings, formula: Callable[[int, int, int], float]
) -> Score | None:
    expected = parse_json(reference)
    if expected is None:
        return None
    parsed = parse_json(answer)
    if parsed is None:
        return UNPARSED_JSON
    got = leaves(_compared(parsed.value, settings))
    wanted = leaves(_compared(expected.value, settings))
    return Score(formula((got & wanted).total(), got.total(), wanted.total()))


def leaves(value: Any) -> Counter[tuple[tuple[str, ...], str]]:
    """The (path, value) pairs of a JSON value with how often each occurs.

    The elements of a list share one path (`[]`), so lists count as multisets: what is in them
    matters, not where. An empty list or object is a value, so there is always at least one pair.
    """
    found: Counter[tuple[tuple[str, ...], str]] = Counter()
    stack: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, dict) and node:
            stack.extend(((*path, f".{key}"), child) for key, child in node.items())
        elif isinstance(node, list) and node:
            stack.extend(((*path, "[]"), child) for child in node)
        else:
            found[path, spelling(node)] += 1
    return found


def _compared(value: Any, settings: RecordSettings) -> Any:
    """The part of a record that the settings compare, as they compare it."""
    if settings.fields is not None and isinstance(value, dict):
        value = {key: child for key, child in value.items() if key in settings.fields}
    return _folded_texts(value) if settings.normalise else value


def _folded_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _folded_texts(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_folded_texts(child) for child in value]
    return fold(value) if isinstance(value, str) else value
