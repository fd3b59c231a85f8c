"""How much of a new project's file is locked away, and whether that is enough for a verdict."""

from __future__ import annotations

from math import ceil

from assay.compare.findings import LEAST_UNITS

HOLDOUT_ROWS = 300
"""Of a holdout that shows a lead of five points in most comparisons (docs/statistics.md)."""
NO_VERDICT = (
    f"With so few examples a comparison cannot end in a verdict: it needs {LEAST_UNITS} in the "
    "holdout, and no more than half of all examples belong there. Add examples."
)


def holdout_share(examples: int) -> float:
    """Share of a file that is locked away: more of a small file, so that the verdict can decide.

    No more than 0.3: what is locked away trains nothing, and of a few hundred rows a larger
    share cost more than it decided (docs/statistics.md, measured by bench/split_share.py). Only of
    a file in which that is less than a verdict takes, up to half is locked away.
    """
    share = round(min(0.3, max(0.2, HOLDOUT_ROWS / max(examples, 1))), 2)
    return max(share, min(0.5, ceil(100 * LEAST_UNITS / max(examples, 1)) / 100))


def is_enough(examples: int) -> bool:
    """Whether a verdict can be reached on what is locked away of a file."""
    return round(holdout_share(examples) * examples) >= LEAST_UNITS
