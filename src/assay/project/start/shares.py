"""How much of a new project's file is locked away, and whether that is enough for a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

from assay.compare.findings import LEAST_UNITS
from assay.evaluate.bounds import effective_groups
from assay.example import Example
from assay.quantities import say_count

HOLDOUT_ROWS = 300
"""Of a holdout that shows a lead of five points in most comparisons (docs/statistics.md)."""
NO_VERDICT = (
    f"With so few examples a comparison cannot end in a verdict: it needs {LEAST_UNITS} in the "
    "holdout, and no more than half of all examples belong there. Add examples."
)

_FEW_GROUPS = (
    "{has}. Rows of one value stay in one part of the split, so of {examples} a verdict needs "
    "about {needed} values with equally many rows. {fix}"
)
_OTHER_COLUMN = (
    "Choose a column whose rows would give each other's answers away, such as the customer of a "
    "message, or none."
)


def holdout_share(examples: int) -> float:
    """Share of a file that is locked away: more of a small file, so that the verdict can decide.

    No more than 0.3: what is locked away trains nothing, and of a few hundred rows a larger
    share cost more than it decided (docs/statistics.md, measured by bench/split_share.py). Only of
    a file in which that is less than a verdict takes, up to half is locked away.
    """
    share = round(min(0.3, max(0.2, HOLDOUT_ROWS / max(examples, 1))), 2)
    return max(share, min(0.5, ceil(100 * LEAST_UNITS / max(examples, 1)) / 100))


def warn_of_size(examples: Sequence[Example], column: str | None) -> str | None:
    """Why no verdict can be reached on what is locked away of a file; None: it can.

    Args:
        column: that groups the rows; None where they bring their groups or have none.
    """
    count = len(examples)
    if round(holdout_share(count) * count) < LEAST_UNITS:
        return NO_VERDICT
    groups = [example.group or f"\0{row}" for row, example in enumerate(examples)]
    named, all_of_them = len({e.group for e in examples} - {None}), len(set(groups))
    effective = effective_groups(groups)
    needed = ceil(LEAST_UNITS / holdout_share(count))
    if not named or round(effective) >= needed:
        return None
    values = say_count(named, "value")
    has = f"The group column, {column}, has {values}" if column else f"“group” has {values}"
    uneven = all_of_them - effective >= 0.5
    return _FEW_GROUPS.format(
        has=has + (f", so uneven that they count as {floor(effective)}" if uneven else ""),
        examples=say_count(count, "example"),
        needed=needed,
        fix=_OTHER_COLUMN if column else "Add examples of other groups.",
    )
