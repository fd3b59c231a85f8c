"""Times and errors as pages say them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from assay.errors import AssayError
from assay.studio.words import format_clock, format_day, format_time, stand_alone

AT = datetime(2026, 11, 3, 9, 5, tzinfo=UTC)


def test_a_time_breaks_between_day_and_hour_alone() -> None:
    assert format_time(AT).split(" ") == [f"{format_day(AT)},", "09:05\N{NO-BREAK SPACE}UTC"]
    assert format_day(AT).split() == ["3", "Nov", "2026"]


def test_a_time_of_elsewhere_is_said_in_utc() -> None:
    there = AT.astimezone(timezone(timedelta(hours=-10)))
    assert format_time(there) == format_time(AT)
    assert format_clock(there) == "09:05:00 UTC"


def test_a_notice_begins_with_a_capital_or_a_name() -> None:
    assert stand_alone(AssayError("a key needs a scope.")) == "A key needs a scope."
    assert stand_alone(AssayError("photo.csv is an image.")) == "photo.csv is an image."
    named = AssayError("the file is empty.", where="only header.csv")
    assert stand_alone(named) == "only header.csv: the file is empty."
