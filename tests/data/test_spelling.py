"""Spellings of values: what is remembered of them is bounded."""

from __future__ import annotations

import json

import pytest

from assay.data import spelling
from assay.data.spelling import Spellings


def test_neither_keys_that_are_data_nor_long_texts_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spelling, "MOST_FIELDS", 2)
    monkeypatch.setattr(spelling, "MOST_VALUES", 3)
    seen = Spellings("json")
    for line in range(20):
        text = "long " * spelling.LONGEST_VALUE
        spaces = " " * line  # one value in ever new spellings
        seen.add(json.dumps({"kind": "new", "free": text, "pad": f"a{spaces}", f"id{line}": "x"}))
    assert list(seen._fields) == ["kind", "pad"]
    assert seen.find_others('{"kind": "New", "id3": "X", "pad": "A"}') == [
        "in kind, 'New' is written 'new' in 20 rows."
    ]


def test_an_umlaut_in_two_letters_is_another_spelling() -> None:
    seen = Spellings("json")
    for _ in range(9):
        seen.add('{"branch": "Südstraße"}')
    assert seen.find_others('{"branch": "Suedstrasse"}') == [
        "in branch, 'Suedstrasse' is written 'Südstraße' in 9 rows."
    ]
