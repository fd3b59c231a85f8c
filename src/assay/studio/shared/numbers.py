"""Numbers that a person types: one outside of its limits is told at its field, and stays as typed.

`min`, `max` and `precision` of `ui.number` would make 100 of 150, and 2 of 1.5, when the field is
left, without a word.
"""

from __future__ import annotations

import re
from typing import Any

from nicegui import ui

NO_NUMBER = "This cannot be empty. Enter a number."
_LIMIT = re.compile(r"(greater|less) than (or equal to )?(-?\d+(?:\.\d+)?(?:e-?\d+)?)")
_WORDS = {
    ("less", True): "at most",
    ("less", False): "less than",
    ("greater", True): "at least",
    ("greater", False): "more than",
}


def number_input(
    value: float | None = None,
    *,
    least: float | None = None,
    most: float | None = None,
    unit: str = "",
    whole: bool = False,
    missing: str | None = None,
    **options: Any,
) -> ui.number:
    """An input for a number, which says when it lies outside of its limits.

    Args:
        unit: behind a limit, as " %".
        whole: it has no fraction.
        missing: said of an empty field, as `NO_NUMBER`; None: it may be empty.
        options: of `ui.number`.
    """
    made = ui.number(
        value=value,
        validation=lambda given: outside(given, least, most, unit, whole=whole, missing=missing),
        **options,
    )
    made.props("hide-bottom-space")  # which a message takes when there is one
    return made


def outside(
    value: float | None,
    least: float | None,
    most: float | None,
    unit: str = "",
    *,
    whole: bool = False,
    missing: str | None = None,
) -> str | None:
    """What is wrong with a number; None: nothing. `missing` is said where there is none."""
    if value is None:
        return missing
    if whole and value != int(value):
        return f"{value:g} is not a whole number."
    if least is not None and value < least:
        return f"{value:g} is too little: at least {least:g}{unit}."
    if most is not None and value > most:
        return f"{value:g} is too much: at most {most:g}{unit}."
    return None


def are_valid(*inputs: ui.number) -> bool:
    """Whether all numbers are within their limits; the others say so at their fields."""
    told = [made.validate() for made in inputs]  # every one, not up to the first
    return all(told)


def in_units(message: str, value: Any, *, percent: bool = False) -> str:
    """What is wrong with a setting, in the units of the field that it was typed into.

    Args:
        message: of the text's problem, as "Input should be less than 0.9."
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
        return message.replace("Input should be", "It should be")
    edge = _WORDS[found[1], bool(found[2])]
    limit = float(found[3]) * (100 if percent else 1)
    side = "much" if found[1] == "less" else "little"
    return f"{number:g} is too {side}: {edge} {limit:g}{' %' if percent else ''}."


def say_count(count: int, one: str, several: str = "") -> str:
    """How many there are, with the noun that fits, as "1 row" or "3 rows".

    Args:
        several: of the noun; with an s, if empty.
    """
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"
