"""What training and the choice of the cheapest are worth, in sentences for page and terminal."""

from __future__ import annotations

import math
from collections.abc import Callable

from assay.compare.reasons import quoted, signed
from assay.compare.report.wording import in_100, rank, usd
from assay.compare.result import CandidateResult, PairResult, Result
from assay.compare.sensitivity import MOST, Turn
from assay.evaluate.forgetting import Forgetting
from assay.quantities import say_count, say_number


def fine_tuning(result: Result) -> str:
    """Whether fine-tuning is worth it, from how many requests on, and what of it may be luck."""
    tuned = [one for one in result.candidates if one.fine_tuned]
    if not tuned:
        return "No fine-tuned language model took part, so nothing is said here of training one."
    named = result.verdict.named
    one = max(tuned, key=lambda c: (c.name == named, c.score or 0.0))
    return _worth(result) + _luck(one, counted=result.verdict.fine_tuning_worth_it is True)


def _luck(one: CandidateResult, *, counted: bool) -> str:
    """A sentence on how much its trainings differ by their seed; "" where that is not known.

    Args:
        counted: what stands before it has allowed for that.
    """
    if not one.seeds:
        return ""
    scores = [seed.score for seed in one.seeds]
    if len(scores) == 1:
        return (
            f" {quoted(one.name)} was trained once. Training involves chance: another one may "
            "score more or less, by how much was not measured."
        )
    return (
        f" {len(scores)} trainings of {quoted(one.name)} that differ by chance alone (their seeds) "
        f"score {in_100(min(scores))} to {in_100(max(scores))} of 100 on validation; the best took "
        "part." + (" That difference is allowed for." if counted else "")
    )


def _worth(result: Result) -> str:
    worth, even = result.verdict.fine_tuning_worth_it, result.verdict.break_even_requests
    paid = f" It has paid for itself after {say_count(round(even), 'request')}." if even else ""
    enough = ", if what it reaches is enough" if result.verdict.enough is False else ""
    if worth is None and result.verdict.version_worth_it:
        return (
            f"The version that was trained is worth it here{enough}.{paid} Whether another "
            "training would be is not shown."
        )
    if worth is None:
        return _open(result)
    if worth:
        return f"Fine-tuning is worth it here{enough}.{paid}"
    none_will_do = result.verdict.outcome == "none" and result.verdict.use_meanwhile is None
    tuned, rivals = _complete(result, fine_tuned=True), _complete(result, fine_tuned=False)
    if none_will_do and tuned and rivals:
        best, other = tuned[0], rivals[0]
        pair = _against(result, best, other)
        if pair is not None and pair.call == "better":
            return (
                f"Fine-tuning gains most here, but not enough: {quoted(best.name)} is ahead of "
                f"{quoted(other.name)}, the best without fine-tuning ({_points(pair)}), and still "
                "below what is needed."
            )
    return "Fine-tuning is not worth it here."


def _complete(result: Result, *, fine_tuned: bool) -> list[CandidateResult]:
    """The complete candidates that can be recommended, fine-tuned or not, the best first."""
    return [
        c
        for c in rank(result)
        if c.fine_tuned is fine_tuned and not c.floor and c.status == "complete"
    ]


def _open(result: Result) -> str:
    """What is known where nobody can say whether fine-tuning is worth it; of a tuned candidate that
    is to be used, what it gains and what it costs."""
    verdict = result.verdict
    name = verdict.named
    used = next((c for c in result.candidates if c.name == name), None)
    rivals = _complete(result, fine_tuned=False)
    if used is not None and used.fine_tuned and not rivals:
        return (
            "Whether training gains anything was not measured: there is no candidate without it to "
            "compare with."
        )
    if used is None or not used.fine_tuned:
        return "Whether fine-tuning is worth it cannot be said from this comparison."
    best = rivals[0]
    pair = _against(result, used, best)
    gained = f" ({_points(pair)})" if pair is not None else ""
    as_good = [quoted(c.name) for c in rivals if c.eligible]
    tuned, other = quoted(used.name), quoted(best.name)
    if verdict.recommend and as_good:
        return (
            f"{as_good[0]}, without fine-tuning, is as good; not all costs are known, so the score "
            "decided. With the missing prices in `costs` of assay.yaml, the cheaper one would be "
            "named."
        )
    if pair is not None and pair.difference < 0:
        return (
            f"It is not shown that fine-tuning gains anything: {tuned} scored less than "
            f"{other}, the best without fine-tuning{gained}, which may be chance."
        )
    is_shown = pair is not None and pair.low > 0 and verdict.recommend is not None
    if pair is None or not (is_shown or pair.call == "better"):
        return (
            f"It is not shown that fine-tuning gains anything: what {tuned} is ahead of "
            f"{other}, the best without fine-tuning, may be chance{gained}."
        )
    return (
        f"Fine-tuning gains what {other}, the best without fine-tuning, does not reach{gained}"
        f"{_dearer(used, best)}. Whether the gain is worth that is yours to judge."
    )


def _dearer(used: CandidateResult, best: CandidateResult) -> str:
    if used.yearly_cost is None or best.yearly_cost is None:
        return "; what it costs more is not known"
    more = used.yearly_cost - best.yearly_cost
    return f", for {usd(abs(more) / 12)} a month {'more' if more >= 0 else 'less'}"


def _against(result: Result, one: CandidateResult, other: CandidateResult) -> PairResult | None:
    """The pair of the two, `one` first; None in a result without it."""
    for pair in result.pairs:
        if (pair.a, pair.b) == (one.name, other.name):
            return pair
        if (pair.a, pair.b) == (other.name, one.name):
            calls = {"better": "worse", "worse": "better"}
            turned = {
                "difference": -pair.difference,
                "low": -pair.high,
                "high": -pair.low,
                "call": calls.get(pair.call, pair.call),
            }
            return pair.model_copy(update=turned)
    return None


def _points(pair: PairResult) -> str:
    return f"{signed(pair.difference)} points, likely {signed(pair.low)} to {signed(pair.high)}"


def remedy(result: Result, found: Forgetting) -> str | None:
    """What keeps the general ability that a training has lost, as measured; None where nothing is
    lost, or general rows were among those that it was trained on."""
    stated = result.config.get("fine_tune") or {}
    if not found.worse or stated.get("rehearsal") or stated.get("method", "sft") != "sft":
        return None
    return (
        "If it is to do more than the job, train it again with general rows: `rehearsal: 0.2` "
        "under `fine_tune` in assay.yaml, which kept most of it where it was measured "
        "(docs/training.md of Assay)."
    )


COST_OF_1000 = (
    "1000 answers at {requests:,} requests a month. A machine is kept on whether it answers or "
    "not, so its cost is divided by your volume; “alone” is what the answering itself takes."
)
"""How a cost of answers comes about, and what it is without idle hours."""


def answering_alone(candidate: CandidateResult, monthly_requests: int) -> float | None:
    """USD of 1000 answers without the hours in which a machine waits; None: not known."""
    requests = candidate.cost.requests_usd
    if requests is None or not monthly_requests:
        return None
    return 1000 * requests / (12 * monthly_requests)


def deciding(result: Result) -> str | None:
    """The assumption about costs that the choice of the cheapest hangs on, and where it turns, or
    that costs decided nothing; None where nothing is recommended, or not all costs are known."""
    found, verdict = result.sensitivity, result.verdict
    eligible = [one for one in result.candidates if one.eligible and not one.floor]
    alone = verdict.as_good == [verdict.recommend] and len(eligible) == 1 < len(result.candidates)
    if found is None and alone and result.plan.margin_for_cheaper is None:
        return (
            "Costs did not decide this: no other candidate is shown to be as good, so that no "
            "price would turn it."
        )
    if found is None:
        return None
    if not found.turns:
        return (
            f"{quoted(found.cheapest)} stays the cheapest of those that are as good if any single "
            f"assumption about costs is wrong by a factor of up to {MOST:,.0f}."
        )
    turn, other = found.turns[0], quoted(found.turns[0].instead)
    cheapest = quoted(found.cheapest)
    if _costs_as_little(result, found.cheapest):
        return (
            f"{_assumed(turn)} {cheapest} is, to within 1 %, among the cheapest of those "
            f"that are as good; {_from(turn)} {other} would be the cheapest."
        )
    return (
        f"{_assumed(turn)} {cheapest} is the cheapest of those that are as good; "
        f"{_from(turn)} {other} would be."
    )


def _costs_as_little(result: Result, name: str) -> bool:
    """Whether another that is as good costs less, though practically the same."""
    costs = {c.name: c.yearly_cost for c in result.candidates if c.name in result.verdict.as_good}
    own = costs.get(name)
    return own is not None and any(cost is not None and cost < own for cost in costs.values())


def _assumed(turn: Turn) -> str:
    """The assumption at its value, at the start of a sentence."""
    amount = _amount(turn, turn.assumed)
    s = "" if amount == "1" else "s"
    hours = f"{amount} hour{s}"
    return {
        "monthly_requests": f"At {amount} request{s} a month",
        "machine_hour_usd": f"At {amount} for a machine hour",
        "machine_hours_per_month": f"With the machine kept on for {hours} a month",
        "person_hour_usd": f"At {amount} for an hour of a person's work",
        "curation_hours": f"With {hours} of collecting and checking examples",
        "prompt_hours": f"With {hours} of writing the prompt",
        "retrainings_per_year": f"With {amount} training{s} anew in a year",
        "hours_per_retraining": f"With {hours} of work at each retraining",
    }[turn.assumption]


def _from(turn: Turn) -> str:
    """The value at which it turns, rounded to the side on which it has turned."""
    if turn.at > turn.assumed:
        return f"from {_amount(turn, _rounded(turn.at, math.ceil))} on"
    return f"at {_amount(turn, _rounded(turn.at, math.floor))} or less"


def _amount(turn: Turn, value: float) -> str:
    if turn.assumption.endswith("_usd"):
        return usd(value)
    return f"{value:,.0f}" if value >= 100 else say_number(value, 2)


def _rounded(value: float, to: Callable[[float], int]) -> float:
    """Two digits of a value; what was narrowed down to nearly such a number is that number."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    digits = value / step
    return step * (round(digits) if abs(digits - round(digits)) < 1e-6 else to(digits))
