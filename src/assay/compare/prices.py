"""What a candidate costs to own, from hours, seconds and prices. Pure; unknown stays unknown."""

from __future__ import annotations

from dataclasses import dataclass

from assay.config import Costs

MONTHS = 12


@dataclass(frozen=True, slots=True)
class Needs:
    """What owning a candidate takes.

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
    """USD; None when a part is not known."""

    curation: float | None
    training: float | None
    per_request: float | None
    requests: float | None
    upkeep: float | None

    @property
    def setup(self) -> float | None:
        """Once: curation and the first training."""
        return _sum(self.curation, self.training)

    @property
    def yearly(self) -> float | None:
        """The first year."""
        return _sum(self.curation, self.training, self.requests, self.upkeep)


def price(needs: Needs, costs: Costs, monthly_requests: int) -> Price:
    """Cost to own for the first year at a stated volume."""
    if not needs.known:
        return Price(None, None, None, None, None)
    hours = costs.prompt_hours * needs.prompted + costs.curation_hours * needs.curated
    again = costs.retrainings_per_year if needs.retrained else 0.0
    machine = costs.machine_hour_usd
    one_training = _times(machine, needs.setup_seconds / 3600)
    answer = needs.seconds_per_answer
    per_request = None if answer is None else _times(machine, answer / 3600)
    if needs.remote:
        per_request = needs.usd_per_answer
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
    """Nothing of an unknown price still costs nothing."""
    if amount == 0:
        return 0.0
    return None if rate is None else rate * amount


def _sum(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
