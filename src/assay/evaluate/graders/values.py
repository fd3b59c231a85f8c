"""When two arguments of a call say the same: by type, texts in one normal form.

    same_value("April 1st, 2024", "2024-04-01")   # True
    same_value(5, 5.0), same_value("5", 5)        # True, False

Stated in docs/tools.md, "When two arguments are the same".
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from contextlib import suppress
from functools import lru_cache
from typing import Any

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?:,?\s*(?P<year>\d{4}))?"
_DATES = [
    re.compile(r"(?P<year>\d{4})(?P<sep>[-/.])(?P<month>\d{1,2})(?P=sep)(?P<day>\d{1,2})"),
    re.compile(rf"{_MONTH}\s*{_DAY}{_YEAR}"),
    re.compile(rf"{_DAY}\s+(?:of\s+)?{_MONTH}{_YEAR}"),
]
_TIME = re.compile(
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2}))?)?\s*(?P<half>[ap]\.?m\.?)?"
)
_LEAP_YEAR = 2000
"""Stands for the year of a date without one, so that 29 February is a day."""
_SEPARATORS = re.compile(r"[\s,./\-_*^]+")


def same_value(given: Any, right: Any) -> bool:
    """Whether an argument says what a right one says.

    A number is a number however it is spelled, and never a text or a boolean. Lists are compared
    in their order, objects by their keys.
    """
    if isinstance(given, bool) or isinstance(right, bool):
        return given is right
    if isinstance(given, int | float) and isinstance(right, int | float):
        return given == right
    if isinstance(given, str) and isinstance(right, str):
        return given == right or normal_text(given) == normal_text(right)
    if isinstance(given, list) and isinstance(right, list):
        return len(given) == len(right) and all(map(same_value, given, right))
    if isinstance(given, dict) and isinstance(right, dict):
        return given.keys() == right.keys() and all(
            same_value(value, right[key]) for key, value in given.items()
        )
    return given is None and right is None


@lru_cache(maxsize=4096)
def normal_text(text: str) -> str:
    """The normal form of a text argument: a date, a time of day, else its letters and digits.

    Case, width (NFKC) and the signs `, . / - _ * ^` and white space do not count, but for a sign
    that stands between two digits (1.5 is not 15) and a minus before a number; quotation marks
    are one.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()
    return _date(folded) or _time(folded) or _SEPARATORS.sub(_separator, folded.replace("'", '"'))


def _date(text: str) -> str | None:
    """A date as `2024-04-01`, or `04-01` without its year; None for any other text."""
    for form in _DATES:
        if found := form.fullmatch(text):
            month = found["month"]
            number = int(month) if month.isdecimal() else 1 + _MONTHS.index(month[:3])
            with suppress(ValueError):
                day = datetime.date(int(found["year"] or _LEAP_YEAR), number, int(found["day"]))
                return day.isoformat() if found["year"] else f"{day:%m-%d}"
    return None


def _time(text: str) -> str | None:
    """A time of day as `17:30`, with its seconds where it has some; None for any other text."""
    found = _TIME.fullmatch(text)
    if found is None or (found["minute"] is None and found["half"] is None):
        return None
    hour, half = int(found["hour"]), found["half"]
    if half is not None:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half[0] == "p" else 0)
    with suppress(ValueError):
        time = datetime.time(hour, int(found["minute"] or 0), int(found["second"] or 0))
        return f"{time:%H:%M:%S}" if time.second else f"{time:%H:%M}"
    return None


def _separator(found: re.Match[str]) -> str:
    text, start, end = found.string, found.start(), found.end()
    before_digit = end < len(text) and text[end].isdigit()
    is_minus = before_digit and found[0].endswith("-") and (start == 0 or end - start > 1)
    between_digits = before_digit and start > 0 and text[start - 1].isdigit()
    return (" " if between_digits else "") + ("-" if is_minus else "")
