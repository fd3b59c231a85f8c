"""Lists of columns, as a person reads and writes them."""

from __future__ import annotations

import pytest

from assay.config import join_names, split_names


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["subject", "body"], "subject, body"),
        (["order, text", "record"], '"order, text", record'),
        (['"A", said', 'size 5"', " wide "], '"""A"", said", size 5", " wide "'),
    ],
)
def test_what_is_shown_of_columns_is_read_as_the_same_ones(names: list[str], text: str) -> None:
    assert join_names(names) == text
    assert split_names(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b", ["a", "b"]),
        (' "a, b" ,, c , ', ["a, b", "c"]),
        ('"a" b, c', ['"a" b', "c"]),
        ('"a, b', ['"a', "b"]),
        (" , ", []),
    ],
)
def test_a_list_of_columns_may_be_written_carelessly(text: str, names: list[str]) -> None:
    assert split_names(text) == names
