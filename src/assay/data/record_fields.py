"""What few records write otherwise than the rest: maybe mistakes, which a schema would follow."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assay.data.contents import quote_label
from assay.data.spelling import OF_A_SET, plain

RARELY_MISSING = 0.05
"""A field that at most this share of the records lacks may have been forgotten there."""
RARELY_OTHER = 0.25
"""A field that at most this share of the records writes as another kind of value may be written
so by mistake."""
_NUMBER = re.compile(r"\s*[+-]?\d+(?:[.,]\d{3})*(?:[.,]\d*)?\s*")
"""As it is written in any country; a date such as 1.3.2026 is none."""
_DECIMAL_COMMA = re.compile(r",(?!\d{3}\s*$)\d+\s*$")
"""Not one before three digits, which may part thousands."""
MOST_NAMED = 10
"""Lines that a warning names."""
_WORDS = {bool: "true or false", str: "text", list: "a list", dict: "a record"}

Records = Sequence[tuple[int, Mapping[str, Any]]]
"""Records with their lines."""


def warn_of_fields(records: Records, schema: Mapping[str, Any]) -> list[str]:
    """A sentence for each field that only a few records lack, leave empty or write as another kind
    of value, or that spells one value in several ways.

    Args:
        schema: that all records fit.
    """
    required = set(schema.get("required", ()))
    found: list[str] = []
    for name in sorted(schema["properties"]):
        if name not in required:
            found += _missing(name, records)
        found += _empty(name, records)
        found += _other(name, records)
        found += _no_number(name, records)
        found += _spelled(name, records)
    return found


def _missing(name: str, records: Records) -> Iterator[str]:
    lines = [line for line, record in records if name not in record]
    if len(lines) <= RARELY_MISSING * len(records):
        yield (
            f"{len(lines)} of {len(records)} records {'have' if len(lines) != 1 else 'has'} no "
            f"{name}: {_named(lines)}. It is taken as optional; if every record should have it, "
            "add it there and bring the file again."
        )


def _empty(name: str, records: Records) -> Iterator[str]:
    """Cells of a table that nobody has filled in; null is one in a column of numbers."""
    lines = [line for line, record in records if name in record and _is_empty(record[name])]
    if 0 < len(lines) <= RARELY_MISSING * len(records):
        yield (
            f"{name} is empty in {len(lines)} of {len(records)} records: {_named(lines)}. Empty is "
            "then the right answer; if this is a mistake, fill it in and bring the file again."
        )


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _no_number(name: str, records: Records) -> Iterator[str]:
    """Cells of a table are texts, numbers too."""
    texts = [(line, text) for line, text in _texts(name, records) if text.strip()]
    lines = [line for line, text in texts if not _NUMBER.fullmatch(text)]
    if 0 < len(lines) <= RARELY_OTHER * len(texts):
        yield (
            f"{name} is a number in all but {len(lines)} of {len(texts)} records: "
            f"{_named(lines)}. So all are texts; if they should be numbers, write one there, too, "
            "and bring the file again."
        )
    elif not lines and (cell := next((t for _, t in texts if _DECIMAL_COMMA.search(t)), None)):
        yield (
            f"{name} holds numbers with a decimal comma, such as {quote_label(cell.strip())}: they "
            "stay texts. If they should be numbers, write a point there and bring the file again."
        )


def _texts(name: str, records: Records) -> Iterator[tuple[int, str]]:
    for line, record in records:
        if isinstance(value := record.get(name), str):
            yield line, value


def _other(name: str, records: Records) -> Iterator[str]:
    places: defaultdict[str, list[int]] = defaultdict(list)
    for line, record in records:
        if (value := record.get(name)) is not None:
            places[_kind(value)].append(line)
    counts = Counter({word: len(lines) for word, lines in places.items()})
    [(usual, _), *others] = counts.most_common() or [("", 0)]
    for word, count in others:
        if count <= RARELY_OTHER * counts.total():
            yield (
                f"In {count} of {counts.total()} records {name} is {word}, in the others {usual}: "
                f"{_named(places[word])}. An answer of the other kind counts as wrong; if this is "
                "a mistake, write it there as in the others and bring the file again."
            )


def _spelled(name: str, records: Records) -> Iterator[str]:
    values = [text for _, text in _texts(name, records)]
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for value in dict.fromkeys(values):
        spellings[plain(value)].append(value)
        if len(spellings) > OF_A_SET * len(values):
            return
    several = [sorted(alike) for same, alike in spellings.items() if same and len(alike) > 1]
    if several:
        named = [", ".join(map(quote_label, alike)) for alike in several[:MOST_NAMED]]
        said = "; ".join([*named, *(["…"] if several[MOST_NAMED:] else [])])
        yield (
            f"In {name} a value is spelled in several ways: {said}. An answer "
            "in another spelling counts as wrong; use one of them, and bring the file again."
        )


def describe_other_kinds(
    record: Mapping[str, Any], others: Sequence[Mapping[str, Any]]
) -> str | None:
    """A sentence on the fields of a record that hold another kind of value than in most of the
    others; None where there are none."""
    odd: list[str] = []
    for name, value in record.items():
        kinds = Counter(_kind(one[name]) for one in others if one.get(name) is not None)
        if value is None or not kinds:
            continue
        mine, [(usual, count)] = _kind(value), kinds.most_common(1)
        if mine != usual and kinds[mine] <= RARELY_OTHER * kinds.total():
            odd.append(f"{name} is {mine}, in {count} of {kinds.total()} other records {usual}")
    if not odd:
        return None
    return f"{'; '.join(odd)}. An answer of the other kind counts as wrong."


def _kind(value: Any) -> str:
    return _WORDS.get(type(value), "a number")


def _named(lines: Sequence[int]) -> str:
    named = ", ".join(map(str, lines[:MOST_NAMED])) + (" …" if lines[MOST_NAMED:] else "")
    return f"line{'s' if len(lines) != 1 else ''} {named}"
