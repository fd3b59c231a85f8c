"""Which assumption about costs decided, and where the answer would turn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assay.compare.costs import SAME_COST, CostDrivers, price
from assay.compare.report import worth
from assay.compare.sensitivity import VOLUME, Sensitivity, find_sensitivity
from assay.config import Costs
from tests.compare.sample import sample_result

COSTS = Costs(
    machine_hour_usd=0.2,
    machine_hours_per_month=100,
    person_hour_usd=50,
    prompt_hours=2,
    curation_hours=8,
    retrainings_per_year=2,
    hours_per_retraining=1,
)
REMOTE = CostDrivers(
    True, False, False, 0.0, None, on_machine=False, at_provider=True, usd_per_answer=0.005
)
TUNED = CostDrivers(True, True, True, 1800.0, 0.1)


def turns_of(found: Sensitivity | None) -> dict[str, tuple[float, str]]:
    assert found is not None
    return {turn.assumption: (turn.at, turn.instead) for turn in found.turns}


def test_the_volume_from_which_on_another_is_the_cheapest_is_found_exactly() -> None:
    found = find_sensitivity({"remote": REMOTE, "tuned": TUNED}, "remote", COSTS, 5000)
    at, instead = turns_of(found)[VOLUME]
    assert instead == "tuned"
    equal = price(REMOTE, COSTS, at).yearly, price(TUNED, COSTS, at).yearly
    assert equal[1] is not None
    assert equal[0] == pytest.approx((1 + SAME_COST) * equal[1])
    below, above = (
        [(price(one, COSTS, at * share).yearly or 0.0) for one in (REMOTE, TUNED)]
        for share in (0.98, 1.01)
    )
    assert below[0] < below[1]
    assert above[0] > above[1]


def test_the_nearest_turn_comes_first_and_every_value_turns_the_answer() -> None:
    known = {"remote": REMOTE, "tuned": TUNED}
    found = find_sensitivity(known, "remote", COSTS, 12_000)
    assert found is not None
    factors = [turn.factor for turn in found.turns]
    assert len(factors) > 3
    assert factors == sorted(factors)
    for turn in found.turns:
        further = turn.at * (1.001 if turn.at > turn.assumed else 0.999)
        volume = further if turn.assumption == VOLUME else 12_000
        field = {} if turn.assumption == VOLUME else {turn.assumption: further}
        costs = COSTS.model_copy(update=field)
        assert (price(TUNED, costs, volume).yearly or 0.0) < (
            price(REMOTE, costs, volume).yearly or 0.0
        )


def test_what_is_not_known_or_nothing_is_not_varied() -> None:
    free = COSTS.model_copy(update={"machine_hours_per_month": 0, "retrainings_per_year": 0})
    named = turns_of(find_sensitivity({"remote": REMOTE, "tuned": TUNED}, "remote", free, 12_000))
    assert not {"machine_hours_per_month", "retrainings_per_year"} & named.keys()
    unknown = replace(REMOTE, usd_per_answer=None)
    assert find_sensitivity({"remote": unknown, "tuned": TUNED}, "tuned", COSTS, 12_000) is None
    assert find_sensitivity({"remote": REMOTE}, "remote", COSTS, 12_000) is None


def test_the_deciding_assumption_is_said_with_the_value_at_which_it_turns() -> None:
    known = {"remote": REMOTE, "tuned": TUNED}

    def said(found: Sensitivity | None) -> str | None:
        return worth.deciding(sample_result(20).model_copy(update={"sensitivity": found}))

    cheap = find_sensitivity(known, "remote", COSTS, 5000)
    assert cheap is not None
    volume = [turn for turn in cheap.turns if turn.assumption == VOLUME]
    assert said(cheap.model_copy(update={"turns": volume})) == (
        "At 5,000 requests a month remote is the cheapest of those that are as good; from 13,000 "
        "on tuned would be."
    )
    sample = sample_result(20)
    first, other = sample.candidates[:2]
    tied = sample.model_copy(
        update={
            "sensitivity": cheap.model_copy(update={"turns": volume}),
            "verdict": sample.verdict.model_copy(update={"as_good": ["remote", "twin"]}),
            "candidates": [
                first.model_copy(update={"name": "remote", "yearly_cost": 206.46}),
                other.model_copy(update={"name": "twin", "yearly_cost": 206.0}),
            ],
        }
    )
    assert "remote is, to within 1 %, among the cheapest" in str(worth.deciding(tied))
    dear = find_sensitivity(known, "tuned", COSTS, 20_000)
    assert dear is not None
    volume = [turn for turn in dear.turns if turn.assumption == VOLUME]
    assert "at 12,000 or less remote would be." in str(
        said(dear.model_copy(update={"turns": volume}))
    )
    same = find_sensitivity({"a": REMOTE, "b": replace(REMOTE, setup_seconds=9.0)}, "a", COSTS, 9)
    assert "a stays the cheapest" in str(said(same))
    assert said(None) is None
