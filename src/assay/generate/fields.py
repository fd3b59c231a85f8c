"""Records as values by path: objects are walked into; arrays and all else are values.

A value is its JSON text, so that `null` differs from what is absent, whose text is "".
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from assay import json_reader

FieldPath = tuple[str, ...]
ABSENT = ""


def fields_of(value: Any) -> dict[FieldPath, str]:
    """The values of a record by path, in their order; of what is no object, itself under ()."""
    found: dict[FieldPath, str] = {}
    _walk(value, (), found)
    return found


def _walk(value: Any, path: FieldPath, found: dict[FieldPath, str]) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _walk(inner, (*path, name), found)
    else:
        found[path] = json.dumps(value, ensure_ascii=False, sort_keys=True)


def usual_objects(values: Iterable[Any]) -> list[FieldPath]:
    """Paths of the objects that stand in more than half of the records, outermost first."""
    total, counts = 0, Counter[FieldPath]()
    for value in values:
        total += 1
        counts.update(_objects(value, ()))
    return sorted((p for p, count in counts.items() if 2 * count > total), key=len)


def _objects(value: Any, path: FieldPath) -> Iterable[FieldPath]:
    if isinstance(value, dict):
        yield path
        for name, inner in value.items():
            yield from _objects(inner, (*path, name))


def record_of(fields: Mapping[FieldPath, str], objects: Iterable[FieldPath]) -> Any:
    """The inverse of `fields_of`, without absent fields and with `objects`, empty or not.

    Of a path that is an object and a value, the object is taken.
    """
    if fields.get((), ABSENT) != ABSENT:
        return json_reader.read(fields[()])
    record: dict[str, Any] = {}
    for path in objects:
        _object(record, path)
    there = {path: text for path, text in fields.items() if text != ABSENT}
    outer = {path[:end] for path in there for end in range(len(path))}
    for path, text in there.items():
        if path not in outer:
            _object(record, path[:-1])[path[-1]] = json_reader.read(text)
    return record


def _object(record: dict[str, Any], path: FieldPath) -> dict[str, Any]:
    for name in path:
        found = record.setdefault(name, {})
        if not isinstance(found, dict):
            found = record[name] = {}
        record = found
    return record
