"""Numbers that a person types: what is no number, or outside of its limits, is told at its field,
and stays as typed.

A browser's own field for numbers takes the comma out of 0,2, and gives 2. `min`, `max` and
`precision` of `ui.number` would make 100 of 150, and 2 of 1.5, when the field is left. Neither says
a word.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

from nicegui import events, ui
from pydantic import BaseModel

from assay.errors import UsageError
from assay.quantities import write_number
from assay.studio.browser import lead_to

NO_NUMBER = "This cannot be empty. Enter a number."
NOT_A_NUMBER = "This is not a number. Write 0.2 with a point, and 1000 without a comma."
NOT_PERCENT = "This is not a number. Write 95, or 95.5 with a point."
TOO_MANY_DIGITS = "Write a whole number of at most 15 digits."
NOT_WHOLE = "Write a whole number without a space, point or comma, as 1000."
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_LONGEST = 40
"""Characters of a number; what is longer is none."""
_MOST_WHOLE = 10**15 - 1
"""Beyond 2**53 not every whole number can be told from the next one."""
_EXACT_DIGITS = 15
_LONGEST_SAID = 25
_LIMIT = re.compile(r"should be (less than|at most|at least|more than) (-?\d+(?:\.\d+)?)")


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
        return write_number(value)


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


def to_share(percent: float) -> float:
    """A share of what was typed in percent, to its last digit: 0.07 of 7."""
    return float(Decimal(repr(float(percent))) / 100)


def to_percent(share: float) -> float:
    """The percent that a share is shown in; `to_share` makes the same share of it again."""
    return float(Decimal(repr(float(share))) * 100)


def _find_limits(settings: type[BaseModel], name: str) -> tuple[float, float]:
    """The least and the most that a setting may be. One that has no `ge` or no `le` is a bug here:
    its field would take anything."""
    found = settings.model_fields[name].metadata
    [least] = [one.ge for one in found if hasattr(one, "ge")]
    [most] = [one.le for one in found if hasattr(one, "le")]
    return least, most


def number_input(
    value: float | str | None = None,
    *,
    least: float | None = None,
    most: float | None = None,
    of: tuple[type[BaseModel], str] | None = None,
    unit: str = "",
    whole: bool = False,
    missing: str | None = None,
    **options: Any,
) -> NumberInput:
    """An input for a number, which says when it is none or lies outside of its limits.

    Args:
        value: a text was typed into an earlier one (`NumberInput.typed`), and is judged at once.
        of: a setting that it becomes, whose limits count: no page has its own.
        unit: behind a limit, and behind what is typed if one likes, as " %".
        whole: it has no fraction.
        missing: said of an empty field, as `NO_NUMBER`; None: it may be empty.
        options: of `ui.number`.
    """
    if of is not None:
        least, most = _find_limits(*of)
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
        return f"{_say(value)} is too little: at least {write_number(least)}{unit}."
    if most is not None and value > most:
        return f"{_say(value)} is too much: at most {write_number(most)}{unit}."
    return None


def _say(value: float) -> str:
    """A number as it was typed; one that a float holds to fewer digits is not named."""
    said = write_number(value)
    is_exact = abs(value) <= _MOST_WHOLE and len(Decimal(said).as_tuple().digits) <= _EXACT_DIGITS
    return said if is_exact and len(said) <= _LONGEST_SAID else "This"


def refuse_fraction(typed: str) -> str | None:
    """Why what was typed is no whole number, or not to its last digit; None: it is one.

    3.000 is three thousand to half of the world and 3 to the other: it is neither here.
    """
    number = parse_number(typed)
    if number is None:
        return None
    if "." in typed or not number.is_integer():
        return NOT_WHOLE
    return None if abs(number) <= _MOST_WHOLE else TOO_MANY_DIGITS


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
    number = parse_number(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or math.isnan(number):
        return message
    if "should be a whole number" in message:
        return f"{_say(number)} is not a whole number."
    if found is None:
        return message
    side = "much" if found[1] in ("less than", "at most") else "little"
    limit = to_percent(float(found[2])) if percent else float(found[2])
    unit = " %" if percent else ""
    if number < limit if side == "much" else number > limit:
        # Typed since the message was made, which the next check takes back.
        return f"It should be {found[1]} {write_number(limit)}{unit}."
    return f"{_say(number)} is too {side}: {found[1]} {write_number(limit)}{unit}."
