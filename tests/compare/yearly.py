"""What an `Entry` costs, where a test cares for the sum alone."""

from __future__ import annotations

from typing import Any


def yearly(usd: float | None) -> dict[str, Any]:
    """The parts of a cost to own of so much a year, all of it set-up; None: nothing is known."""
    rest = None if usd is None else 0.0
    return {"setup_cost": usd, "running_cost": rest}
