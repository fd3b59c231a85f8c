"""What is wrong with a number that was typed, in the units of its field."""

from __future__ import annotations

import math

import pytest

from assay.errors import UsageError
from assay.studio.pages.people.api_keys import format_count
from assay.studio.shared.numbers import (
    NO_NUMBER,
    NOT_A_NUMBER,
    NOT_PERCENT,
    NOT_WHOLE,
    TOO_MANY_DIGITS,
    in_units,
    outside,
    parse_number,
    refuse_fraction,
    require_number,
    to_percent,
    to_share,
)


@pytest.mark.parametrize(
    ("value", "least", "most", "said"),
    [
        (None, 0, 100, None),
        (0, 0, 100, None),
        (100, 0, 100, None),
        (150, 0, 100, "150 is too much: at most 100 %."),
        (99999999999999999999, 0, 100, "This is too much: at most 100 %."),  # the float is 1e20
        (-5, 0, None, "-5 is too little: at least 0 %."),
        (7, None, None, None),
        (2.0, 0, None, None),
    ],
)
def test_a_number_is_held_against_its_limits(
    value: float | None, least: float | None, most: float | None, said: str | None
) -> None:
    assert outside(value, least, most, " %") == said


@pytest.mark.parametrize(
    ("message", "value", "percent", "said"),
    [
        ("it should be less than 0.5.", 15.0, True, "It should be less than 50 %."),  # typed since
        ("it should be less than 0.9.", 95.0, True, "95 is too much: less than 90 %."),
        (
            "it should be at most 1.",
            150,
            True,
            "150 is too much: at most 100 %.",
        ),
        (
            "it should be at least 0.",
            -5,
            False,
            "-5 is too little: at least 0.",
        ),
        (
            "it should be at most 4096.",
            9999999,
            False,
            "9999999 is too much: at most 4096.",
        ),
        ("it should be more than 0.", 0, True, "0 is too little: more than 0 %."),
        (
            "it should be at least 1, or auto.",
            "0",
            False,
            "0 is too little: at least 1.",
        ),
        (
            "it should be a whole number.",
            2.5,
            False,
            "2.5 is not a whole number.",
        ),
        ("it should be text.", "x", False, "it should be text."),
        ("it should be at least 1.", 1e-9, False, "0.000000001 is too little: at least 1."),
        ("it should be at most 1000000.", 1e300, False, "This is too much: at most 1000000."),
        ("it should be at least 1.", True, False, "it should be at least 1."),
        ("there is no such file.", "x.csv", False, "there is no such file."),
    ],
)
def test_what_a_text_says_of_a_setting_is_said_in_the_units_of_the_field(
    message: str, value: object, percent: bool, said: str
) -> None:
    assert in_units(message, value, percent=percent) == said


def test_an_empty_field_is_told_where_a_number_is_needed() -> None:
    assert outside(None, 0, 100, missing=NO_NUMBER) == NO_NUMBER


def test_what_is_typed_is_read_as_it_stands_or_not_at_all() -> None:
    for typed, number in (("0.2", 0.2), (" 12 ", 12), ("-.5", -0.5), ("1e3", 1000), ("  ", None)):
        assert parse_number(typed) == number
    for typed in ("0,2", "1,000", "1_000", "ten", "nan", "inf", "1e999", "1" * 41, "2 3"):
        found = parse_number(typed)
        assert found is not None
        assert math.isnan(found)
        assert outside(found, 0, 100) == NOT_A_NUMBER
        with pytest.raises(UsageError, match="with a point"):
            require_number(found)
    assert parse_number("95 %", " %") == 95
    assert outside(parse_number("95 %"), 0, 100) == NOT_A_NUMBER
    assert outside(parse_number("95,5", " %"), 0, 100, " %") == NOT_PERCENT


def test_a_point_in_a_whole_number_is_no_matter_of_taste() -> None:
    for typed in ("3.000", "1.500", "2.0", "1.5e3", "1e-3", "many"):
        assert refuse_fraction(typed) == NOT_WHOLE
    for typed in ("3000", " 12 ", "-1", "1e3", "999999999999999", ""):
        assert refuse_fraction(typed) is None
    for typed in ("9007199254740993", "-1e15", "1e300"):  # would be another number, or are none
        assert refuse_fraction(typed) == TOO_MANY_DIGITS


def test_a_percentage_is_a_share_to_its_last_digit() -> None:
    for typed, share in ((7, 0.07), (0.07, 0.0007), (12.3456789, 0.123456789), (1e-9, 1e-11)):
        assert to_share(typed) == share
        assert to_percent(share) == typed


def test_tokens_that_nobody_has_counted_are_not_0() -> None:
    assert [format_count(count) for count in (None, 0, 12_345)] == ["–", "0", "12,345"]
