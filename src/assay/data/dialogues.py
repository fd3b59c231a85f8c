"""Which rows were cut out of one dialogue, told by what they begin with.

A file of dialogues often has a row for every turn that is to be learned, so that one row's answer
stands in the next row's conversation. Such rows must stay together, named as a group or not.

Rows are of one dialogue when they share a *beginning*: their first turns, as far as the second
turn of the user or the first turn in which the assistant calls a function, whichever comes first,
with `LEAST_WORDS` or more by the user. System prompts are left out: all rows of a job share one. A
row that ends before that belongs to the dialogue that goes on from it, if there is one only: a
greeting and its answer, which many dialogues open with, join none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from assay import json_reader
from assay.data.duplicates import DisjointSets
from assay.data.gather import GatheredExamples
from assay.example import Example, Message, json_sha256
from assay.quantities import say_count

LEAST_WORDS = 4
"""Of the user's in a beginning: "Hi" and "I need help" open many dialogues."""


def keep_dialogues_whole(found: GatheredExamples) -> list[str]:
    """Put the rows of a dialogue into one group, whatever file they come from; warnings."""
    found.pool, validation, holdout = group_dialogues(
        found.pool, found.validation or (), found.holdout or ()
    )
    found.validation = None if found.validation is None else validation
    if not found.is_kept:
        found.holdout = None if found.holdout is None else holdout
        return []
    # An opened holdout stays as it was locked, with the groups that it had then.
    groups = {example.group for example in holdout} - {None}
    rows = len(found.pool) + len(found.validation or ())
    found.pool = [example for example in found.pool if example.group not in groups]
    if found.validation is not None:
        found.validation = [e for e in found.validation if e.group not in groups]
    if not (out := rows - len(found.pool) - len(found.validation or ())):
        return []
    said = say_count(out, "row was kept out because its", "rows were kept out because their")
    return [f"{said} dialogue is in the holdout, which was opened."]


def group_dialogues(*parts: Sequence[Example]) -> list[list[Example]]:
    """The parts, with one `group` for all rows of a dialogue, in whichever part they are.

    Where a user has named groups, all those that share a dialogue get the first of their names. A
    row that shares its dialogue with no other keeps what it has.
    """
    rows = [example for part in parts for example in part]
    links = [(name, row.group) for name, row in zip(name_dialogues(rows), rows, strict=True)]
    # Users' names first: the first name of a set is its root.
    given = sorted({group for _, group in links if group is not None})
    made = sorted({name for name, _ in links if name is not None} - set(given))
    place = {name: number for number, name in enumerate([*given, *made])}
    sets = DisjointSets(np.arange(len(place)))
    for name, group in links:
        if name is not None and group is not None:
            sets.union(place[name], place[group])
    root = dict(zip(place, (int(number) for number in sets.roots()), strict=True))
    names = list(place)
    group_of = [None if (one := g or n) is None else names[root[one]] for n, g in links]
    members = Counter(group_of)
    grouped = iter(
        [
            row if group is None or members[group] == 1 else replace(row, group=group)
            for row, group in zip(rows, group_of, strict=True)
        ]
    )
    return [[next(grouped) for _ in part] for part in parts]


def name_dialogues(examples: Sequence[Example]) -> list[str | None]:
    """For each example the name of its dialogue, made of its content; None: there is none."""
    names: list[str | None] = []
    endings: list[str] = []
    dialogues: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        prefixes, is_whole = _beginning(example)
        names.append(prefixes[-1] if is_whole else None)
        endings.append(prefixes[-1])
        if is_whole:
            for prefix in prefixes[:-1]:
                dialogues[prefix].add(prefixes[-1])
    found: list[str | None] = []
    for name, ending in zip(names, endings, strict=True):
        going_on = dialogues.get(ending, set())
        only = next(iter(going_on)) if len(going_on) == 1 else None
        key = name or only
        found.append(None if key is None else f"dialogue-{key[:16]}")
    return found


def _beginning(example: Example) -> tuple[list[str], bool]:
    """A hash of the turns up to each turn of the beginning, and whether it is there as a whole."""
    hashes: list[str] = [""]
    questions = words = 0
    for message in example.messages:
        if message.role in ("system", "developer"):
            continue
        hashes.append(json_sha256([hashes[-1], content_of(message)]))
        if message.role == "user":
            questions += 1
            words += len(message.content.split())
        is_end = (message.role == "user" and questions > 1) or bool(message.tool_calls)
        if is_end and words >= LEAST_WORDS:
            return hashes[1:], True
    return hashes[1:] or hashes, False


def content_of(message: Message) -> object:
    """What a turn says; ids of calls are left out, since they may be drawn for every row."""
    calls = [[call.name, json_reader.read(call.arguments or "{}")] for call in message.tool_calls]
    return [message.role, message.content.strip(), calls]
