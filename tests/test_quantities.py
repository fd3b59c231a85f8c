"""Counts, numbers and times as a person writes them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from assay.progress import LineTask, describe_info
from assay.quantities import say_count, say_number, say_share, say_time, write_number


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [
        (0.0, 3, "0"),
        (-0.0, 3, "0"),
        (1e8, 12, "100,000,000"),
        (12_345.6, 3, "12,300"),
        (99_999.9, 3, "100,000"),
        (1_234_567, 12, "1,234,567"),
        (5e-05, 12, "0.00005"),
        (0.1 + 0.2, 12, "0.3"),
        (-3.25, 12, "-3.25"),
        (2.2e-30, 2, "2.2e-30"),
        (float("nan"), 3, "nan"),
    ],
)
def test_a_number_has_no_exponent_where_its_digits_can_be_read(
    value: float, digits: int, said: str
) -> None:
    assert say_number(value, digits) == said


def test_a_number_as_it_is_typed_has_neither_commas_nor_an_exponent() -> None:
    written = [write_number(value) for value in (2**63, 1e16, 12_300.5, 1000, 5e-05, -0.0, 0.1)]
    assert written[0] == "9223372036854775808"
    assert written[1:] == ["10000000000000000", "12300.5", "1000", "0.00005", "0", "0.1"]


def test_a_share_is_said_in_percent() -> None:
    said = [say_share(0.07), say_share(0.125), say_share(0.0), say_share(0.012_66, 2)]
    assert said == ["7 %", "12.5 %", "0 %", "1.3 %"]


def test_one_is_not_several() -> None:
    said = [say_count(count, "row") for count in (0, 1, 2, 12_345)]
    assert said == ["0 rows", "1 row", "2 rows", "12,345 rows"]
    assert say_count(1, "row has", "rows have") == "1 row has"


def test_a_time_of_elsewhere_is_said_in_utc() -> None:
    there = timezone(timedelta(hours=2))
    assert say_time(datetime(2026, 11, 28, 1, 17, 59, tzinfo=there)) == "2026-11-27 23:17"


def test_progress_of_millions_is_written_out() -> None:
    lines: list[str] = []
    task = LineTask("Reading", 2e6, "rows", lines.append, every_s=0)
    task.advance(1_234_567)
    assert lines[0].startswith("Reading: 1,234,567 of 2,000,000 rows")
    assert "e+" not in lines[0]
    assert describe_info({"tokens_per_s": 123456.0}) == "tokens/s 123,500"
