"""Counts, numbers, shares and times as a person writes them, on pages, terminals and in reports."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

_WRITTEN_OUT = (1e-9, 1e15)
"""Outside nobody counts the digits, and an exponent is written."""


def say_count(count: int, one: str, several: str = "") -> str:
    """How many there are, with the noun that fits, as "1 row" or "3 rows".

    Args:
        several: of the noun; with an s, if empty.
    """
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def say_number(value: float, digits: int = 12) -> str:
    """A number without an exponent, as "12,300" and "0.00005"; what rounds to 0 has no minus.

    Args:
        digits: so many of it count; the others are rounded, and zeros at the end left out.
    """
    rounded = f"{value:z.{digits}g}"
    least, most = _WRITTEN_OUT
    size = abs(float(rounded))
    return f"{Decimal(rounded):,f}" if size == 0 or least <= size < most else rounded


def write_number(value: float) -> str:
    """A number as it is typed, to its last digit: "12300.5" and "0.00005", without the commas of
    `say_number`, which no field takes."""
    return f"{Decimal(repr(value)).normalize():zf}"


def say_share(share: float, digits: int = 6) -> str:
    """A share in percent, as "12.5 %"; see `say_number` for its digits."""
    return f"{say_number(100 * share, digits)} %"


def say_time(at: datetime) -> str:
    """When something was, in a terminal: in UTC and to the minute, as "2026-11-28 19:17"."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
