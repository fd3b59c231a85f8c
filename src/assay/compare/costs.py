"""What a candidate costs to own, which is cheapest, and when fine-tuning has paid for itself. Pure.

Money is USD. A cost that is not known is None and is never taken for 0 or for the cheapest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.compare.entries import Entry
from assay.config import Costs

MONTHS = 12


@dataclass(frozen=True, slots=True)
class CostDrivers:
    """Quantities that decide what a candidate costs to own.

    Attributes:
        prompted: somebody writes and tries a prompt.
        curated: somebody collects and checks training examples.
        retrained: it is made again several times a year.
        setup_seconds: machine time of making it once.
        seconds_per_answer: machine time of an answer at full load; None when not known.
        known: False for an outside model, of which nothing is known.
        remote: a provider answers, who takes `usd_per_answer`; None when not known.
    """

    prompted: bool
    curated: bool
    retrained: bool
    setup_seconds: float
    seconds_per_answer: float | None
    known: bool = True
    remote: bool = False
    usd_per_answer: float | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """Cost of a candidate by part, in USD; None when a part is not known."""

    curation: float | None
    training: float | None
    per_request: float | None
    requests: float | None
    upkeep: float | None

    @property
    def setup(self) -> float | None:
        """USD that is paid once: curation and the first training."""
        return _sum(self.curation, self.training)

    @property
    def yearly(self) -> float | None:
        """USD of the first year: setup, requests and upkeep."""
        return _sum(self.curation, self.training, self.requests, self.upkeep)


def price(drivers: CostDrivers, costs: Costs, monthly_requests: int) -> Price:
    """Cost to own for the first year at a stated volume."""
    if not drivers.known:
        return Price(None, None, None, None, None)
    hours = costs.prompt_hours * drivers.prompted + costs.curation_hours * drivers.curated
    again = costs.retrainings_per_year if drivers.retrained else 0.0
    machine = costs.machine_hour_usd
    one_training = _times(machine, drivers.setup_seconds / 3600)
    answer = drivers.seconds_per_answer
    per_request = None if answer is None else _times(machine, answer / 3600)
    if drivers.remote:
        per_request = drivers.usd_per_answer
    return Price(
        curation=_times(costs.person_hour_usd, hours),
        training=one_training,
        per_request=per_request,
        requests=_times(per_request, MONTHS * monthly_requests),
        upkeep=_sum(
            _times(one_training, again),
            _times(costs.person_hour_usd, again * costs.hours_per_retraining),
        ),
    )


def _times(rate: float | None, amount: float) -> float | None:
    """Rate times amount; 0 of an amount of 0, whatever the rate."""
    if amount == 0:
        return 0.0
    return None if rate is None else rate * amount


def _sum(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def cost_to_own(entry: Entry, monthly_requests: int) -> float | None:
    """Cost of the first year: set-up, requests and upkeep; None when any part is not known."""
    if entry.setup_cost is None or entry.cost_per_request is None or entry.upkeep_per_year is None:
        return None
    requests = MONTHS * monthly_requests * entry.cost_per_request
    return entry.setup_cost + requests + entry.upkeep_per_year


def cheapest(
    entries: Sequence[Entry], scores: dict[str, float], monthly_requests: int
) -> Entry | None:
    """The one that is cheapest to own; equal costs go to the better score, then the first name.

    Those whose cost is not known come after all whose cost is: one of them is only taken when no
    cost is known at all, and then it is the one with the best score. Of equal ones those that were
    not trained go first. None of an empty sequence.
    """

    def rank(entry: Entry) -> tuple[bool, float, float, bool, str]:
        cost = cost_to_own(entry, monthly_requests)
        return cost is None, cost or 0.0, -scores[entry.name], entry.fine_tuned, entry.name

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
