"""Which rows of the table a person has chosen to see, and what is said where there are none."""

from __future__ import annotations

from assay.project.rows import PARTS, RowFilter

LONGEST = 500
"""Characters that are looked for: they stand in an address."""


def refuse_long(holding: str | None) -> str | None:
    """Why rows cannot be searched for a text; None: they can."""
    length = len(holding or "")
    return f"This has {length:,} characters: at most {LONGEST}." if length > LONGEST else None


def make_filter(part: str, problem: str, cluster: str, holding: str) -> RowFilter:
    """What a person has chosen to see, each "" where it is all."""
    return RowFilter(
        part=next((one for one in PARTS if one == part), None),
        problem=problem or None,
        # Python reads no number of thousands of digits; such a line is that of no row.
        cluster=int(cluster[:18]) if cluster.isdecimal() else None,
        text=holding,
    )


def describe_count(count: int, is_divided: bool) -> str:
    """That a filter matches nothing, and where it did not look; "" where it matches."""
    if count:
        return ""
    return f"No row matches.{' Rows of the holdout are not searched.' if is_divided else ''}"
