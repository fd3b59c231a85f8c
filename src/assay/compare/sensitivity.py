"""At which value of an assumption about costs another candidate would be the cheapest. Pure.

One assumption is changed at a time (one-way sensitivity analysis), by steps of a twentieth up to a
factor of 1000 either way, and then narrowed to the value itself; that another is the cheapest only
between two steps is not seen. What the assumptions say of quality is left as it is: all candidates
weighed here are as good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from assay.compare.costs import SAME_COST, CostDrivers, price
from assay.config import Costs
from assay.config.strict import ClosedModel

MOST = 1000.0
"""Factor up to which an assumption is changed; further away it decides nothing."""
_STEP = 1.05
_NARROWINGS = 40
VOLUME = "monthly_requests"
ASSUMPTIONS = (
    VOLUME,
    "machine_hour_usd",
    "machine_hours_per_month",
    "person_hour_usd",
    "curation_hours",
    "prompt_hours",
    "retrainings_per_year",
    "hours_per_retraining",
)
"""Settings of assay.yaml that a cost to own is made of."""


class Turn(ClosedModel):
    """The value of one assumption from which on another candidate would be the cheapest.

    Attributes:
        assumption: its name in assay.yaml.
        assumed: its value there.
        at: the nearest value at which the answer turns.
        instead: the candidate that is the cheapest there.
    """

    assumption: str
    assumed: float
    at: float
    instead: str

    @property
    def factor(self) -> float:
        """By how much the assumption would have to be wrong; 1 is not at all."""
        return max(self.at / self.assumed, self.assumed / self.at)


class Sensitivity(ClosedModel):
    """How far the choice of the cheapest rests on what was assumed.

    Attributes:
        cheapest: the candidate that was chosen for its cost.
        turns: one for each assumption that can turn the choice, the nearest first.
    """

    cheapest: str
    turns: list[Turn]


def find_sensitivity(
    as_good: Mapping[str, CostDrivers], cheapest: str, costs: Costs, monthly_requests: int
) -> Sensitivity | None:
    """What would have to be different for another of the candidates to be the cheapest.

    An assumption of 0 or one that is not known has no factor and is left out; so are candidates
    whose cost is not known.

    Args:
        as_good: the candidates that can be recommended, by name.
        cheapest: the one that was.

    Returns:
        None where fewer than two costs are known, or that of `cheapest` is not.
    """
    known = {
        name: drivers
        for name, drivers in as_good.items()
        if price(drivers, costs, monthly_requests).yearly is not None
    }
    if len(known) < 2 or cheapest not in known:
        return None
    turns = []
    for assumption in ASSUMPTIONS:
        assumed = monthly_requests if assumption == VOLUME else getattr(costs, assumption)
        if not assumed:
            continue

        def instead(value: float, assumption: str = assumption) -> str | None:
            if assumption == VOLUME:
                return _cheaper(known, cheapest, costs, value)
            changed = costs.model_copy(update={assumption: value})
            return _cheaper(known, cheapest, changed, monthly_requests)

        found = [_turn(assumption, float(assumed), step, instead) for step in (_STEP, 1 / _STEP)]
        turns += sorted((turn for turn in found if turn), key=lambda turn: turn.factor)[:1]
    return Sensitivity(cheapest=cheapest, turns=sorted(turns, key=lambda turn: turn.factor))


def _turn(
    assumption: str, assumed: float, step: float, instead: Callable[[float], str | None]
) -> Turn | None:
    """The nearest turn on one side of what was assumed; None where there is none.

    Args:
        instead: who is cheaper at a value.
    """
    near, far = 1.0, step
    while (other := instead(assumed * far)) is None:
        near, far = far, far * step
        if not 1 / MOST <= far <= MOST:
            return None
    for _ in range(_NARROWINGS):
        middle = (near * far) ** 0.5
        if (found := instead(assumed * middle)) is None:
            near = middle
        else:
            far, other = middle, found
    return Turn(assumption=assumption, assumed=assumed, at=assumed * far, instead=other)


def _cheaper(
    known: Mapping[str, CostDrivers], cheapest: str, costs: Costs, monthly_requests: float
) -> str | None:
    """The one of all that costs least, where `cheapest` costs more than practically the same."""
    amounts = {
        name: price(one, costs, monthly_requests).yearly or 0.0 for name, one in known.items()
    }
    least = min(amounts, key=lambda name: (amounts[name], name))
    return least if amounts[least] * (1 + SAME_COST) < amounts[cheapest] else None
