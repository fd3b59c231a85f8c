"""How much of a new project's file is locked away, and whether that is enough for a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from assay.compare.findings import LEAST_UNITS
from assay.example import Example
from assay.quantities import say_count

HOLDOUT_ROWS = 300
"""Of a holdout that shows a lead of five points in most comparisons (docs/statistics.md)."""
NO_VERDICT = (
    f"With so few examples a comparison cannot end in a verdict: it needs {LEAST_UNITS} in the "
    "holdout, and no more than half of all examples belong there. Add examples."
)

_FEW_GROUPS = (
    "The group column, {column}, has {groups}. Rows of one value stay in one part of the split, so "
    "of {examples} a verdict needs about {needed} values. Choose a column whose rows would give "
    "each other's answers away, such as the customer of a message, or none."
)


def holdout_share(examples: int) -> float:
    """Share of a file that is locked away: more of a small file, so that the verdict can decide.

    No more than 0.3: what is locked away trains nothing, and of a few hundred rows a larger
    share cost more than it decided (docs/statistics.md, measured by bench/split_share.py). Only of
    a file in which that is less than a verdict takes, up to half is locked away.
    """
    share = round(min(0.3, max(0.2, HOLDOUT_ROWS / max(examples, 1))), 2)
    return max(share, min(0.5, ceil(100 * LEAST_UNITS / max(examples, 1)) / 100))


def warn_of_size(examples: Sequence[Example], group: str | None) -> str | None:
    """Why no verdict can be reached on what is locked away of a file; None: it can.

    Args:
        group: the column that groups the rows.
    """
    count = len(examples)
    if round(holdout_share(count) * count) < LEAST_UNITS:
        return NO_VERDICT
    values = {example.group for example in examples} - {None}
    alone = sum(example.group is None for example in examples)
    needed = ceil(LEAST_UNITS / holdout_share(count))
    if group is None or len(values) + alone >= needed:
        return None
    return _FEW_GROUPS.format(
        column=group,
        groups=say_count(len(values), "value"),
        examples=say_count(count, "example"),
        needed=needed,
    )
