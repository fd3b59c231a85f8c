"""What a cost to own is made of, and what was assumed for it, so that no figure stands alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from assay.compare.reasons import quoted
from assay.compare.report.wording import monthly_usd, usd
from assay.compare.result import CandidateResult, Result
from assay.config import Costs
from assay.errors import Step
from assay.quantities import say_count, say_number

CENT = 0.01
"""USD below which a part of a cost is not worth a word."""


def parts(candidate: CandidateResult) -> str:
    """What of the first year's cost is paid once and what every month, as "$120 once (people's
    work), $146 every month (the machine while it waits)"; "" where a part is not known."""
    cost = candidate.cost
    once = {"people's work": cost.curation_usd, "training": cost.training_usd}
    yearly = {
        "the machine while it waits": cost.idle_usd,
        "answering": cost.requests_usd,
        "retraining and upkeep": cost.upkeep_usd,
    }
    if None in (*once.values(), *yearly.values()):
        return ""
    monthly = {name: (amount or 0.0) / 12 for name, amount in yearly.items()}
    made = (_sum_of(once, "once", usd), _sum_of(monthly, "every month", monthly_usd))
    return ", ".join(filter(None, made))


def _sum_of(amounts: Mapping[str, float | None], when: str, say_usd: Callable[[float], str]) -> str:
    """A sum and what it is for; amounts that are no cent are left out."""
    paid = {name: amount for name, amount in amounts.items() if amount and amount >= CENT}
    if not paid:
        return ""
    if len(paid) == 1:
        [(name, amount)] = paid.items()
        return f"{say_usd(amount)} {when} ({name})"
    named = ", ".join(f"{name} {say_usd(amount)}" for name, amount in paid.items())
    return f"{say_usd(sum(paid.values()))} {when} ({named})"


def of_first_year(candidate: CandidateResult | None) -> str:
    """What it costs in the first year and when that is paid; "" where that is not known."""
    if candidate is None or candidate.yearly_cost is None or not (made := parts(candidate)):
        return ""
    name = quoted(candidate.name)
    return f"{name} costs {usd(candidate.yearly_cost)} in the first year: {made}."


TIMES = (
    "Answer times are those of single requests, one at a time; the cost of an answer on this "
    "machine counts its time where many are answered together, so the two differ."
)


def of_result(result: Result) -> str:
    """What the costs of a comparison rest on, and where to change it; "" in results that are older
    than its settings."""
    stated = result.config.get("costs")
    if stated is None:
        return ""
    assumed = say(Costs.model_validate(stated), result.monthly_requests)
    return (
        f"Costs assume {assumed}. Change this {Step.SET_COSTS}; the next comparison counts with "
        f"it. {TIMES}"
    )


def is_kept_on(result: Result) -> bool:
    """Whether a machine is paid for while no requests come, as far as the comparison says."""
    stated = result.config.get("costs")
    return stated is not None and Costs.model_validate(stated).machine_hours_per_month > 0


def say(costs: Costs, monthly_requests: int) -> str:
    """The assumptions behind every cost, as the object of a sentence."""
    machine = (
        "a machine of unknown price"
        if costs.machine_hour_usd is None
        else f"a machine at {usd(costs.machine_hour_usd)} an hour"
    )
    on = f"kept on for {_hours(costs.machine_hours_per_month)} a month"
    if not costs.machine_hours_per_month:
        on = "paid only while it answers"
    requests = say_count(monthly_requests, "request")
    return f"{requests} a month; {machine}, {on}; and {of_people(costs)}"


def of_people(costs: Costs) -> str:
    """The part of the assumptions that is people's work."""
    price = "a price that is not known"
    if costs.person_hour_usd is not None:
        price = f"{usd(costs.person_hour_usd)} an hour"
    times = costs.retrainings_per_year
    again = f"{say_number(times)} retraining{'' if times == 1 else 's'}"
    return (
        f"people's work at {price}: {_hours(costs.prompt_hours)} to write a prompt, "
        f"{_hours(costs.curation_hours)} to collect and check training examples, and {again} a "
        f"year of {_hours(costs.hours_per_retraining)} each"
    )


def _hours(amount: float) -> str:
    return f"{say_number(amount)} hour{'' if amount == 1 else 's'}"
