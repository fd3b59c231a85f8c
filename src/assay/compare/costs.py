"""What a candidate costs to own, which is cheapest, and when fine-tuning has paid for itself. Pure.

Money is USD. A cost that is not known is None and is never taken for 0 or for the cheapest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from assay.compare.entries import Entry
from assay.config import Costs

MONTHS = 12
SAME_COST = 0.01
"""Share of a cost to own by which two may differ and are called equal: tables round it away, and
nobody takes a worse score for it."""


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
        on_machine: it answers on a machine of one's own, or a part of it does.
        at_provider: a provider answers, or some requests, who takes `usd_per_answer` on average;
            None when not known.
    """

    prompted: bool
    curated: bool
    retrained: bool
    setup_seconds: float
    seconds_per_answer: float | None
    known: bool = True
    on_machine: bool = True
    at_provider: bool = False
    usd_per_answer: float | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """Cost of a candidate by part, in USD; None when a part is not known.

    Attributes:
        per_request: machine time of one request, and what a provider takes for it.
        requests: the same of all requests of a year.
        idle: hours of a year in which the machine is kept on and has nothing to answer.
    """

    curation: float | None
    training: float | None
    per_request: float | None
    requests: float | None
    idle: float | None
    upkeep: float | None

    @property
    def setup(self) -> float | None:
        """USD that is paid once: curation and the first training."""
        return _sum(self.curation, self.training)

    @property
    def answering(self) -> float | None:
        """USD a year of being there for requests and answering them."""
        return _sum(self.requests, self.idle)

    @property
    def running(self) -> float | None:
        """USD that is paid every year: answering, retraining and upkeep of versions."""
        return _sum(self.answering, self.upkeep)

    @property
    def yearly(self) -> float | None:
        """USD of the first year: setup, requests, idle hours and upkeep."""
        return _sum(self.setup, self.running)

    def of_1000(self, monthly_requests: int) -> float | None:
        """USD of 1000 answers at a volume, idle hours included; None where nothing is asked."""
        if self.answering is None or not monthly_requests:
            return None
        return 1000 * self.answering / (MONTHS * monthly_requests)


NOT_KNOWN = Price(None, None, None, None, None, None)


def price(drivers: CostDrivers, costs: Costs, monthly_requests: float) -> Price:
    """Cost to own for the first year at a stated volume.

    A machine is paid for the hours that it is kept on (`machine_hours_per_month`), or for those in
    which it answers where these are more.
    """
    if not drivers.known:
        return NOT_KNOWN
    hours = costs.prompt_hours * drivers.prompted + costs.curation_hours * drivers.curated
    again = costs.retrainings_per_year if drivers.retrained else 0.0
    machine, volume = costs.machine_hour_usd, MONTHS * monthly_requests
    one_training = _times(machine, drivers.setup_seconds / 3600)
    seconds = drivers.seconds_per_answer if drivers.on_machine else 0.0
    time = None if seconds is None else _times(machine, seconds / 3600)
    fee = drivers.usd_per_answer if drivers.at_provider else 0.0
    kept_on = MONTHS * costs.machine_hours_per_month if drivers.on_machine else 0.0
    busy = _times(time, volume)
    idle = None if busy is None else _sum(_times(machine, kept_on), -busy)
    per_request = _sum(time, fee)
    return Price(
        curation=_times(costs.person_hour_usd, hours),
        training=one_training,
        per_request=per_request,
        requests=_times(per_request, volume),
        idle=None if idle is None else max(0.0, idle),
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


def cost_to_own(entry: Entry) -> float | None:
    """Cost of the first year: set-up and running; None when a part is not known."""
    return _sum(entry.setup_cost, entry.running_cost)


def about_as_cheap(entries: Sequence[Entry]) -> list[Entry]:
    """The cheapest to own and those that cost practically the same, at most `SAME_COST` more; all,
    where no cost is known."""
    costs = {entry.name: cost_to_own(entry) for entry in entries}
    known = [cost for cost in costs.values() if cost is not None]
    most = min(known, default=0.0) * (1 + SAME_COST)
    return [e for e in entries if not known or ((c := costs[e.name]) is not None and c <= most)]


def cheapest(entries: Sequence[Entry], scores: dict[str, float]) -> Entry | None:
    """The one that is cheapest to own; of those that cost practically the same (`SAME_COST`) the
    one with the best score, then one that was not trained, then the fastest.

    Those whose cost is not known come after all whose cost is: one of them is only taken when no
    cost is known at all, and then it is the one with the best score. None of an empty sequence.
    """

    def rank(entry: Entry) -> tuple[float, bool, float, float, str]:
        cost = cost_to_own(entry)
        return (
            -scores[entry.name],
            entry.fine_tuned,
            _or_last(entry.answer_seconds),
            _or_last(cost),
            entry.name,
        )

    return min(about_as_cheap(entries), key=rank, default=None)


def least_demanding(entries: Sequence[Entry], scores: dict[str, float]) -> Entry | None:
    """The one to use where nothing is proven: the cheapest to own; of those that cost practically
    the same (`SAME_COST`) the one with the best score, then the fastest. None of an empty sequence.

    What is not known comes after all that is. Unlike in `cheapest`, where no cost is known the
    fastest is taken before the best score, which is what cannot be told apart.
    """

    def rank(entry: Entry) -> tuple[float, float, float, str]:
        cost, seconds = _or_last(cost_to_own(entry)), _or_last(entry.answer_seconds)
        score = -scores[entry.name]
        if cost == math.inf:
            return seconds, score, cost, entry.name
        return score, seconds, cost, entry.name

    return min(about_as_cheap(entries), key=rank, default=None)


def _or_last(value: float | None) -> float:
    return math.inf if value is None else value


def break_even_requests(tuned: Entry, other: Entry, monthly_requests: int) -> float | None:
    """Requests after which the dearer set-up of `tuned` has paid for itself against `other`.

    What running them costs by the year, idle hours of the machine and upkeep included, is spread
    over the requests of a year at `monthly_requests`.

    Returns:
        None when a part of either's cost is not known or it never pays back; 0 when `tuned` is
        not dearer to set up and not dearer to run.
    """
    if tuned.setup_cost is None or tuned.running_cost is None:
        return None
    if other.setup_cost is None or other.running_cost is None or not monthly_requests:
        return None
    dearer = tuned.setup_cost - other.setup_cost
    saved = (other.running_cost - tuned.running_cost) / (MONTHS * monthly_requests)
    if dearer <= 0:
        return 0.0 if saved >= 0 else None
    return dearer / saved if saved > 0 else None
