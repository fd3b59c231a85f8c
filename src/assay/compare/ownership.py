"""What a candidate costs to own, which is cheapest, and when fine-tuning has paid for itself. Pure.

Money is USD. A cost that is not known is None and is never taken for 0 or for the cheapest.
"""

from __future__ import annotations

from collections.abc import Sequence

from assay.compare.entries import Entry

MONTHS = 12


def cost_to_own(entry: Entry, monthly_requests: int) -> float | None:
    """Cost of the first year: set-up, requests and upkeep; None when any part is not known."""
    if entry.yearly_cost is not None:
        return entry.yearly_cost
    if entry.setup_cost is None or entry.cost_per_request is None or entry.upkeep_per_year is None:
        return None
    requests = MONTHS * monthly_requests * entry.cost_per_request
    return entry.setup_cost + requests + entry.upkeep_per_year


def cheapest(
    entries: Sequence[Entry], scores: dict[str, float], monthly_requests: int
) -> Entry | None:
    """The one that is cheapest to own; equal costs go to the better score, then the first name.

    Those whose cost is not known come after all whose cost is: one of them is only taken when no
    cost is known at all, and then it is the one with the best score. None of an empty sequence.
    """

    def rank(entry: Entry) -> tuple[bool, float, float, str]:
        cost = cost_to_own(entry, monthly_requests)
        return cost is None, cost or 0.0, -scores[entry.name], entry.name

    return min(entries, key=rank, default=None)


def break_even_requests(tuned: Entry, other: Entry, monthly_requests: int) -> float | None:
    """Requests after which the dearer set-up of `tuned` has paid for itself against `other`.

    Each request saves the difference of the costs per request; upkeep runs by the year, so its
    difference is spread over the requests of a year at `monthly_requests`.

    Returns:
        None when a part of either's cost is not known or it never pays back; 0 when `tuned` is
        not dearer to set up and not dearer to run.
    """
    parts = [(e.setup_cost, e.cost_per_request, e.upkeep_per_year) for e in (tuned, other)]
    (setup, request, upkeep), (other_setup, other_request, other_upkeep) = parts
    if setup is None or request is None or upkeep is None:
        return None
    if other_setup is None or other_request is None or other_upkeep is None:
        return None
    yearly = MONTHS * monthly_requests
    if not yearly:
        return None
    dearer = setup - other_setup
    saved = other_request - request - (upkeep - other_upkeep) / yearly
    if dearer <= 0:
        return 0.0 if saved >= 0 else None
    return dearer / saved if saved > 0 else None
