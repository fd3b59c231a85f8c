"""Fields of records that hold dates: days that do not exist, and other ways to write one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

_DATE = re.compile(r"\d{4}([-./])\d\d?\1\d\d?|\d\d?([-./])\d\d?\2\d{4}", re.ASCII)
"""As 2026-11-30 or 30.11.2026."""


@dataclass(frozen=True, slots=True)
class WrittenDate:
    """How a date is written.

    Attributes:
        shape: the mark between its parts, and whether the year stands first.
        has_short, has_padded: whether a part is one digit alone, and whether one is a digit behind
            a zero.
        is_month_second, is_month_first: whether it is a day with its month in the middle, and with
            its month in front; behind a year stands the month.
    """

    shape: tuple[str, bool]
    has_short: bool
    has_padded: bool
    is_month_second: bool
    is_month_first: bool

    @property
    def exists(self) -> bool:
        """Whether there is such a day."""
        return self.is_month_second or self.is_month_first


def read_date(text: str) -> WrittenDate | None:
    """How a text is written as a date; None: it is none."""
    if (found := _DATE.fullmatch(text)) is None:
        return None
    mark = found[1] or found[2]
    parts = text.split(mark)
    is_year_first = len(parts[0]) == 4
    year, *others = parts if is_year_first else reversed(parts)
    inner, outer = map(int, others)  # of 2026-11-30 and of 30.11.2026: the 11, and the 30
    return WrittenDate(
        (mark, is_year_first),
        has_short=any(len(one) == 1 for one in others),
        has_padded=any(one.startswith("0") for one in others),
        is_month_second=_exists(int(year), inner, outer),
        is_month_first=not is_year_first and _exists(int(year), outer, inner),
    )


def _exists(year: int, month: int, day: int) -> bool:
    with suppress(ValueError):
        date(year, month, day)
        return True
    return False


def find_odd(dates: Sequence[WrittenDate | None]) -> list[int]:
    """The places of those that are no date, or written otherwise than most: with the year or the
    month elsewhere, with another mark, or single digits with a zero where most have none.

    Args:
        dates: with at least one that is a date.
    """
    known = [one for one in dates if one is not None]
    shape = Counter(one.shape for one in known).most_common(1)[0][0]
    pads = _is_usual(one.has_padded for one in known if one.has_padded != one.has_short)
    leads = _is_usual(
        one.is_month_first for one in known if one.is_month_first != one.is_month_second
    )

    def is_odd(one: WrittenDate | None) -> bool:
        if one is None or one.shape != shape:
            return True
        if one.has_short if pads else one.has_padded:
            return True
        return one.exists and not (one.is_month_first if leads else one.is_month_second)

    return [place for place, one in enumerate(dates) if is_odd(one)]


def _is_usual(told: Iterable[bool]) -> bool:
    counts = Counter(told)
    return counts[True] > counts[False]
