"""Assertions of rows as promptfoo knows them: no sets in each other, no `ends-with`, patterns of
JavaScript, schemas of draft 7.

One that it refuses may take the whole configuration with it, or fail every answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from assay.data.assertions import SET, split_type

_FOREIGN = re.compile(
    r"(?<!\\)(?:\(\?(?:[aiLmsux-]+[:)]|P|>|#|\(|\||[R&\d])|[*+?}]\+|\{,\d|\[\[:)"
    r"|\\(?:[AZzGKRXhHpPN]|x\{)"
)
"""What a pattern of Python has and one of JavaScript has not, or reads as something else."""
_LATER = frozenset(
    (
        *("prefixItems", "unevaluatedProperties", "unevaluatedItems", "dependentRequired"),
        *("dependentSchemas", "minContains", "maxContains", "$dynamicRef", "$anchor"),
    )
)
"""Keywords of JSON Schema 2019-09 and later, which promptfoo refuses."""


def for_promptfoo(
    assertions: Sequence[dict[str, Any]], reasons: dict[str, str]
) -> list[dict[str, Any]]:
    """Those of a test that it can check, in its form; `reasons` is told why others are left out.

    A set with a threshold that is all there is may have sets in it: it becomes the test itself.
    """
    found: list[dict[str, Any]] = []
    for one in _translated(assertions, reasons):
        if one["type"] != SET:
            found.append(one)
        elif "threshold" not in one:  # all have to pass, as without the set
            found += for_promptfoo(one["assert"], reasons)
        elif any(map(_sets, _sets(one) if len(assertions) == 1 else [one])):
            reasons.setdefault(SET, "promptfoo has no sets in each other")
        else:
            found.append(one)
    return found


def _translated(
    assertions: Sequence[dict[str, Any]], reasons: dict[str, str]
) -> Iterator[dict[str, Any]]:
    for one in assertions:
        kind, inverse = split_type(one)
        if kind == SET:
            if inner := list(_translated(one["assert"], reasons)):
                yield {**one, "assert": inner}
        elif kind == "ends-with":
            pattern = f"{re.escape(one['value'])}$"
            yield {**one, "type": "not-regex" if inverse else "regex", "value": pattern}
        elif kind == "regex" and _FOREIGN.search(one["value"].replace(r"\\", "")):
            reasons.setdefault(f"regex {one['value']}", "JavaScript has no such pattern")
        elif kind == "is-json" and one.get("value") is not None:
            schema = {name: part for name, part in one["value"].items() if name != "$schema"}
            if later := sorted(_LATER & _keys(schema)):
                reasons.setdefault(kind, f"promptfoo refuses {', '.join(later)} in a schema")
            else:
                yield {**one, "value": schema}
        else:
            yield one


def _sets(one: dict[str, Any]) -> list[dict[str, Any]]:
    return [inner for inner in one["assert"] if inner["type"] == SET]


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return value.keys() | {name for one in value.values() for name in _keys(one)}
    return {name for one in value for name in _keys(one)} if isinstance(value, list) else set()
