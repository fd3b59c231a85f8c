"""Numbers that a person types: what is no number, or outside of its limits, is told at its field,
and stays as typed.

A browser's own field for numbers takes the comma out of 0,2, and gives 2. `min`, `max` and
`precision` of `ui.number` would make 100 of 150, and 2 of 1.5, when the field is left. Neither says
a word.
"""

from __future__ import annotations

import math
import re
from typing import Any

from nicegui import events, ui

from assay.errors import UsageError
from assay.studio.dialogs import lead_to

NO_NUMBER = "This cannot be empty. Enter a number."
NOT_A_NUMBER = "This is not a number. Write 0.2 with a point, and 1000 without a comma."
NOT_PERCENT = "This is not a number. Write 95, or 95.5 with a point."
NOT_WHOLE = "Write a whole number without a point or comma, as 1000."
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_LONGEST = 40
"""Characters of a number; what is longer is none."""
_LIMIT = re.compile(r"(greater|less) than (or equal to )?(-?\d+(?:\.\d+)?(?:e-?\d+)?)")
_WORDS = {
    ("less", True): "at most",
    ("less", False): "less than",
    ("greater", True): "at least",
    ("greater", False): "more than",
}


class NumberInput(ui.number):
    """An input for a number, typed as text. `value` is None where it is empty, and NaN where what
    stands there is no number.

    Args:
        unit: what may be typed behind the number, as " %".
    """

    def __init__(self, value: float | str | None = None, *, unit: str = "", **options: Any) -> None:
        self._typed, self._unit = value if isinstance(value, str) else "", unit
        number = parse_number(value, unit) if isinstance(value, str) else value
        super().__init__(value=number, **options)
        self.props("type=text inputmode=decimal autocomplete=off")

    @property
    def typed(self) -> str:
        """What stands in the field."""
        return self._value_to_model_value(self.value) or ""

    def sanitize(self) -> None:
        """Leave what was typed as it is when the field is left."""

    def _event_args_to_value(self, e: events.GenericEventArguments) -> float | None:
        self._typed = "" if e.args is None else str(e.args)
        return parse_number(self._typed, self._unit)

    def _value_to_model_value(self, value: Any) -> Any:
        if value is None:
            return None
        if math.isnan(value) or value == parse_number(self._typed, self._unit):
            return self._typed
        return str(int(value)) if float(value).is_integer() else repr(float(value))


def parse_number(typed: str, unit: str = "") -> float | None:
    """The number that was typed; None: nothing was; NaN: it is no number, or too large for one.

    Args:
        unit: may stand behind it.
    """
    words = typed.strip().removesuffix(unit.strip()).strip()
    if not words:
        return None
    if len(words) > _LONGEST or not _NUMBER.fullmatch(words):
        return math.nan
    number = float(words)
    return number if math.isfinite(number) else math.nan


def require_number(value: float | None, unit: str = "") -> float:
    """The number of a field that may not be empty.

    Args:
        unit: of the field, as " %".

    Raises:
        UsageError: it is empty, or no number.
    """
    if value is None:
        raise UsageError(NO_NUMBER)
    if math.isnan(value):
        raise UsageError(_explain_no_number(unit))
    return float(value)


def _explain_no_number(unit: str) -> str:
    return NOT_PERCENT if unit.strip() == "%" else NOT_A_NUMBER


def number_input(
    value: float | str | None = None,
    *,
    least: float | None = None,
    most: float | None = None,
    unit: str = "",
    whole: bool = False,
    missing: str | None = None,
    **options: Any,
) -> NumberInput:
    """An input for a number, which says when it is none or lies outside of its limits.

    Args:
        value: a text was typed into an earlier one (`NumberInput.typed`), and is judged at once.
        unit: behind a limit, and behind what is typed if one likes, as " %".
        whole: it has no fraction.
        missing: said of an empty field, as `NO_NUMBER`; None: it may be empty.
        options: of `ui.number`.
    """
    made: NumberInput = NumberInput(
        value,
        validation=lambda given: (
            (refuse_fraction(made.typed) if whole else None)
            or outside(given, least, most, unit, missing=missing)
        ),
        unit=unit,
        **options,
    )
    if isinstance(value, str):
        made.validate()
    return made


def outside(
    value: float | None,
    least: float | None,
    most: float | None,
    unit: str = "",
    *,
    missing: str | None = None,
) -> str | None:
    """What is wrong with a number; None: nothing. `missing` is said where there is none."""
    if value is None:
        return missing
    if math.isnan(value):
        return _explain_no_number(unit)
    if least is not None and value < least:
        return f"{_written(value)} is too little: at least {_written(least)}{unit}."
    if most is not None and value > most:
        return f"{_written(value)} is too much: at most {_written(most)}{unit}."
    return None


def _written(value: float) -> str:
    """As people write it: not as 1e+07."""
    return f"{value:.0f}" if 1e6 <= abs(value) < 1e21 else f"{value:g}"


def refuse_fraction(typed: str) -> str | None:
    """Why what was typed is no whole number; None: it is one.

    3.000 is three thousand to half of the world and 3 to the other: it is neither here.
    """
    number = parse_number(typed)
    if number is None or ("." not in typed and number.is_integer()):
        return None
    return NOT_WHOLE


def are_valid(*inputs: NumberInput) -> bool:
    """Whether all numbers are numbers within their limits; the others say so at their fields, and
    the first of them is brought into view."""
    wrong = [made for made in inputs if not made.validate()]
    if wrong:
        lead_to(wrong[0])
    return not wrong


def in_units(message: str, value: Any, *, percent: bool = False) -> str:
    """What is wrong with a setting, in the units of the field that it was typed into.

    Args:
        message: of the text's problem, as "it should be less than 0.9."
        value: as it was typed.
        percent: the setting is a share that the field shows in percent.
    """
    found = _LIMIT.search(message)
    try:
        number = float(value)
    except (TypeError, ValueError):
        found = None
    if "valid integer" in message and isinstance(value, int | float):
        return f"{value:g} is not a whole number."
    if found is None:
        return message
    edge = _WORDS[found[1], bool(found[2])]
    limit = float(found[3]) * (100 if percent else 1)
    side = "much" if found[1] == "less" else "little"
    return f"{_written(number)} is too {side}: {edge} {_written(limit)}{' %' if percent else ''}."


def say_count(count: int, one: str, several: str = "") -> str:
    """How many there are, with the noun that fits, as "1 row" or "3 rows".

    Args:
        several: of the noun; with an s, if empty.
    """
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"
