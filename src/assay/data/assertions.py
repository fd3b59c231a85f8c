"""What an answer to a row has to pass, in the form of promptfoo: a list of assertions.

    [{"type": "icontains", "value": "refund"}, {"type": "not-regex", "value": "(?i)sorry"}]

`not-` before a type turns it round. An `assert-set` holds others under `assert` and passes where
all of them do, or from its `threshold` on where it has one. `weight` counts towards thresholds;
with weight 0 an assertion passes always, a set does not.
https://www.promptfoo.dev/docs/configuration/expected-outputs
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from assay import json_reader, patterns
from assay.data.json_schema import schema_validator
from assay.errors import ConfigError
from assay.example import canonical_json

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

SET = "assert-set"
MOST = 100
"""Assertions of a row, those in sets included."""
MOST_DEPTH = 4
"""Sets in each other."""
TEXT = frozenset(
    ("contains", "icontains", "starts-with", "ends-with", "levenshtein", "rouge-n", "bleu", "gleu")
)
"""Types whose `value` is one text, a number standing for its digits."""
TEXTS = frozenset(("contains-any", "contains-all", "icontains-any", "icontains-all"))
CHECKED = TEXT | TEXTS | {"equals", "regex", "similar", "is-json", "word-count", SET}
"""Types that the grader `assertions` checks."""
JUDGED = frozenset(
    ("llm-rubric", "model-graded-closedqa", "g-eval", "factuality", "model-graded-factuality")
)
"""Types that say what the grader `judge` has to look for."""
STATEMENTS = frozenset(("factuality", "model-graded-factuality"))
"""Of them those whose value is a right answer."""


def split_type(assertion: dict[str, Any]) -> tuple[str, bool]:
    """The type without `not-`, and whether that stood before it."""
    name = str(assertion["type"])
    return (name.removeprefix("not-"), True) if name.startswith("not-") else (name, False)


def flat(assertions: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All assertions, those of sets in their places."""
    for one in assertions:
        if one["type"] == SET:
            yield from flat(one["assert"])
        else:
            yield one


def validator_of(schema: dict[str, Any]) -> Validator:
    """Checks values against the schema of an `is-json`; the same one again is not read again.

    Raises:
        ConfigError: it is no JSON Schema.
    """
    return _validator(canonical_json(schema))


@lru_cache(64)
def _validator(schema: str) -> Validator:
    return schema_validator(json_reader.read(schema), "an assertion")


def find_fault(assertions: Any, depth: int = 0) -> str | None:
    """What keeps a list from being checked, in words that follow its place; None: nothing."""
    if not isinstance(assertions, list):
        return " is not a list."
    if depth >= MOST_DEPTH:
        return f" has more than {MOST_DEPTH} sets in each other."
    for place, one in enumerate(assertions):
        if fault := _fault(one, depth):
            return f"[{place}]{fault}"
    if depth == 0 and sum(1 for _ in flat(assertions)) > MOST:
        return f" has more than {MOST} entries."
    return None


def _fault(one: Any, depth: int) -> str | None:
    if not isinstance(one, dict) or not isinstance(one.get("type"), str):
        return " is not an object with a `type`."
    for name in ("weight", "threshold"):
        given = one.get(name, 0)
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 1e9:
            return f".{name} is not a number of at least 0."
    kind, inverse = split_type(one)
    if kind not in CHECKED | JUDGED or (inverse and kind == SET):
        return f".type is {one['type'][:60]!r}, which is not checked here."
    if kind == SET:
        if not isinstance(one.get("assert"), list) or not one["assert"]:
            return ".assert is not a list of assertions."
        inner = find_fault(one["assert"], depth + 1)
        return None if inner is None else f".assert{inner}"
    return _value_fault(kind, one.get("value"))


def _value_fault(kind: str, value: Any) -> str | None:
    if kind in TEXT | JUDGED and (not isinstance(value, str) or not value):
        return ".value is not a text."
    if kind in TEXTS:
        are_texts = isinstance(value, list) and all(isinstance(v, str) and v for v in value)
        return None if value and are_texts else ".value is not a list of texts."
    if kind == "similar":
        texts = value if isinstance(value, list) else [value]
        are_texts = bool(texts) and all(isinstance(v, str) and v for v in texts)
        return None if are_texts else ".value is not a text."
    if kind == "equals" and value is None:
        return ".value is missing."
    if kind == "regex":
        if not isinstance(value, str) or not value:
            return ".value is not a regular expression."
        try:
            patterns.compile_pattern(value)
        except ValueError as error:
            return f".value: {error}."
    if kind == "is-json" and value is not None:
        if not isinstance(value, dict):
            return ".value is not a JSON Schema."
        try:
            validator_of(value)
        except ConfigError as error:
            return f".value: {error.what}"
    if kind == "word-count":
        limits = value if isinstance(value, dict) else {"min": value, "max": value}
        numbers = [limits.get(name) for name in ("min", "max") if limits.get(name) is not None]
        if not numbers or any(isinstance(n, bool) or not isinstance(n, int) for n in numbers):
            return ".value is not a number of words, or `min` and `max`."
    return None
