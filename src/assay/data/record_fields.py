"""What few records write otherwise than the rest: maybe mistakes, which a schema would follow."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assay.data.contents import quote_label
from assay.data.date_fields import find_odd, read_date
from assay.data.number_columns import is_number
from assay.data.spelling import OF_A_SET, plain
from assay.quantities import say_count

RARELY_MISSING = 0.05
"""A field that at most this share of the records lacks may have been forgotten there."""
RARELY_OTHER = 0.25
"""A field that at most this share of the records writes as another kind of value may be written
so by mistake."""
_COMMA = re.compile(r"[+-]?\d+,\d+")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
"""A comma that may part thousands."""
_CODE = re.compile(r"[+-]?\d[\d.]*(?:[eE][+-]?\d+)?")
"""What is no number though it looks like one, such as 007, or the version 1.10 beside 1.1."""
_OPEN_TEXTS = ({"type": "string"}, {"type": ["string", "null"]})
"""Of a field that may have a closed list, and has none."""
MAX_ENUM, ENUM_COUNT = 16, 5
"""Values of a closed list, and how often each has to be seen."""
MOST_NAMED = 10
"""Lines that a warning names."""
_WORDS = {bool: "true or false", str: "text", list: "a list", dict: "a record"}

Records = Sequence[tuple[int, Mapping[str, Any]]]
"""Records with their lines."""


def warn_of_fields(
    records: Records, schema: Mapping[str, Any], *, of_cells: bool = False
) -> list[str]:
    """A sentence for each field that only a few records lack, leave empty or write as another kind
    of value, that spells one value in several ways, or holds dates that do not exist.

    Args:
        schema: that all records fit.
        of_cells: the values are cells of a table, in which numbers may be texts.
    """
    required = set(schema.get("required", ()))
    found: list[str] = []
    for name in sorted(schema["properties"]):
        if name not in required:
            found += _missing(name, records)
        found += _empty(name, records)
        found += _other(name, records)
        if of_cells:
            found += _no_number(name, records)
        of_values = [*_spelled(name, records), *_dated(name, records)]
        if not of_values and schema["properties"][name] in _OPEN_TEXTS:
            of_values += _nearly_closed(name, records)
        found += of_values
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
    """Cells that keep a column of numbers a column of texts; none are named in one of codes."""
    cells = [(line, text.strip()) for line, text in _texts(name, records) if text.strip()]
    spellings: dict[float, str] = {}
    commas: dict[int, str] = {}
    others: list[int] = []
    for line, cell in cells:
        has_comma = _COMMA.fullmatch(cell) is not None
        if is_number(cell.replace(",", ".") if has_comma else cell, spellings):
            if has_comma:
                commas[line] = cell
        elif has_comma or _CODE.fullmatch(cell):
            return
        else:
            others.append(line)
    if all(map(_THOUSANDS.fullmatch, commas.values())):
        others, commas = sorted([*others, *commas]), {}
    if not (commas or others) or len(others) > RARELY_OTHER * len(cells):
        return
    causes = []
    if commas:
        such = quote_label(next(c for c in commas.values() if not _THOUSANDS.fullmatch(c)))
        verb = "has" if len(commas) == 1 else "have"
        causes.append(
            f"{len(commas):,} {verb} a decimal comma, such as {such} ({_named([*commas])})"
        )
    if others:
        verb = "holds" if len(others) == 1 else "hold"
        causes.append(f"{len(others):,} {verb} no number ({_named(others)})")
    yield (
        f"{name} stays text: of {say_count(len(cells), 'filled cell')}, {', and '.join(causes)}. "
        "If it should hold numbers, write these cells as 1234.5 is written, or empty them, and "
        "bring the file again."
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


def _nearly_closed(name: str, records: Records) -> Iterator[str]:
    """Values that alone keep a field of text from having a closed list."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for line, text in _texts(name, records):
        places[text].append(line)
    if any(_is_empty(text) and len(lines) < ENUM_COUNT for text, lines in places.items()):
        return  # these prevent it too, and are told by themselves
    rare = {text: lines for text, lines in places.items() if len(lines) < ENUM_COUNT}
    count, listed = sum(map(len, rare.values())), len(places) - len(rare)
    if not (rare and 1 < listed <= MAX_ENUM):
        return
    if count <= RARELY_MISSING * sum(map(len, places.values())):
        named = [*map(quote_label, sorted(rare)[:MOST_NAMED])]
        values = ", ".join([*named, *(["…"] if len(rare) > MOST_NAMED else [])])
        yield (
            f"{name} has {listed} values in at least {ENUM_COUNT} records each, and rarely others: "
            f"{values} ({_named(sorted(line for lines in rare.values() for line in lines))}). So "
            "there is no closed list of its values, and any text may be answered. If these are "
            "mistakes, correct them and bring the file again."
        )


def _dated(name: str, records: Records) -> Iterator[str]:
    """Dates that do not exist, and values that are not written as the other dates of the field."""
    cells = [(line, text.strip()) for line, text in _texts(name, records) if text.strip()]
    dates = [read_date(cell) for _, cell in cells]
    days = sum(one is not None and one.exists for one in dates)
    if not days or days < (1 - RARELY_OTHER) * len(cells):  # codes may look like dates
        return
    pairs = list(zip(cells, dates, strict=True))
    if never := [cell for cell, one in pairs if one is not None and not one.exists]:
        yield (
            f"{name} holds {say_count(len(never), 'date that does', 'dates that do')} not exist, "
            f"such as {quote_label(never[0][1])}: {_named([line for line, _ in never])}. Correct "
            "these cells, and bring the file again."
        )
    odd = set(find_odd(dates))
    others = [cell for place, cell in enumerate(cells) if place in odd]
    if 0 < len(others) <= RARELY_OTHER * len(cells):
        such = next(cell for place, (_, cell) in enumerate(cells) if place not in odd)
        yield (
            f"{name} is a date such as {quote_label(such)} in {len(cells) - len(others):,} of "
            f"{len(cells):,} records, and written otherwise in {len(others):,}, such as "
            f"{quote_label(others[0][1])}: {_named([line for line, _ in others])}. An answer in "
            "another form counts as wrong; write them alike, and bring the file again."
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
