"""Where each listed row stands in its file, its texts, and what was found in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from assay import json_reader
from assay.chat.plain_calls import say_turn
from assay.data.checks import earlier_line
from assay.data.formats.record import text_of
from assay.data.problems import CODES, escape_surrogates
from assay.example import Message

InputOutput = tuple[tuple[str, ...], tuple[str, ...]]
"""Columns of the input and of the output."""
CONTRADICTION = "contradiction"


def find_locked(usable: Iterable[int], shown: Iterable[int]) -> frozenset[int]:
    """Lines of records of which a row that can be used is shown nowhere: it is locked.

    The lines that a locked row had when it was drawn would not do: those of an opened holdout stay
    as they were, whatever has become of the file.

    Args:
        usable: the line of each row of the file that can be used.
        shown: the line of each row of train and validation.
    """
    return frozenset(Counter(usable) - Counter(shown))


def find_places(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """(line in the data file, where its JSON is in this one, bytes of it) of each row."""
    offset = 0
    for text in file:
        yield int(json_reader.read(text).get("line") or 0), offset, len(text)
        offset += len(text)


def read_problems(
    file: Path, visible: frozenset[int]
) -> tuple[dict[int, list[dict[str, Any]]], int]:
    """What was found, by line, of rows that may be seen; of the others how many contradict
    an earlier one."""
    found: dict[int, list[dict[str, Any]]] = {}
    contradictions = 0
    with file.open(encoding="utf-8") as lines:
        for text in lines:
            one = json_reader.read(text)
            if one["line"] in visible and one["code"] in CODES:
                found.setdefault(one["line"], []).append(one)
            elif one["code"] == CONTRADICTION:
                contradictions += 1
    return found, contradictions


def find_alike(found: dict[int, list[dict[str, Any]]], visible: frozenset[int]) -> dict[int, int]:
    """Line -> the first line of the rows that it is like, itself among them."""
    first: dict[int, int] = {}
    for line in sorted(found):
        for one in found[line]:
            earlier = earlier_line(one["code"], one["message"])
            if earlier in visible:
                root = first.setdefault(earlier, earlier)
                first[line] = root
    return first


def texts_of(read: dict[str, Any], columns: InputOutput | None) -> tuple[str, str]:
    """Input and output of a row of a split, or of a rejected one as far as it can be shown.

    Args:
        columns: that a rejected row has them in, where it is one of a table.
    """
    if "messages" in read:
        turns = [turn for turn in read["messages"] if turn["role"] not in ("system", "developer")]
        *given, target = [say_turn(Message.from_dict(turn)) for turn in turns] or [""]
        return "\n".join(given), target
    raw = read.get("raw")
    if isinstance(raw, dict) and columns is not None:
        filled = [[text_of(raw[name]) for name in names if name in raw] for names in columns]
        left, right = ("\n".join(texts) for texts in filled)
    elif isinstance(raw, dict):
        left, right = "\n".join(f"{name}: {text_of(value)}" for name, value in raw.items()), ""
    elif isinstance(raw, list):
        left, right = " | ".join(map(text_of, raw)), ""
    else:
        left, right = text_of(raw), ""
    return escape_surrogates(left), escape_surrogates(right)
