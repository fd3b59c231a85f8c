"""Cost to own: every part counted once, unknown never counted as nothing."""

from __future__ import annotations

import pytest

from assay.compare.costs import CostDrivers, price
from assay.config import Costs

COSTS = Costs(
    machine_hour_usd=0.5,
    person_hour_usd=100,
    prompt_hours=2,
    curation_hours=8,
    retrainings_per_year=3,
    hours_per_retraining=1,
)


def test_a_prompt_costs_its_writing_and_its_requests() -> None:
    made = price(CostDrivers(True, False, False, 0.0, 0.36), COSTS, 1000)
    assert made.curation == 200
    assert made.training == 0
    assert made.upkeep == 0
    assert made.per_request == pytest.approx(0.5 * 0.36 / 3600)
    assert made.yearly == pytest.approx(200 + 12_000 * 0.5 * 0.36 / 3600)


def test_a_trained_one_is_curated_trained_and_kept_fresh() -> None:
    made = price(CostDrivers(True, True, True, 7200.0, 0.36), COSTS, 0)
    assert made.curation == 1000
    assert made.training == pytest.approx(1.0)
    assert made.setup == pytest.approx(1001)
    assert made.upkeep == pytest.approx(3 * 1.0 + 3 * 100)
    assert made.yearly == pytest.approx(1001 + 303)


def test_nothing_is_known_of_an_outside_model() -> None:
    made = price(CostDrivers(False, False, False, 0.0, None, known=False), COSTS, 10)
    assert made.yearly is None
    assert made.per_request is None


@pytest.mark.parametrize("unknown", ["machine_hour_usd", "person_hour_usd"])
def test_an_unknown_price_makes_the_sum_unknown(unknown: str) -> None:
    costs = COSTS.model_copy(update={unknown: None})
    assert price(CostDrivers(True, True, True, 10.0, 0.1), costs, 10).yearly is None


def test_an_unknown_speed_makes_requests_unknown_and_keeps_the_rest() -> None:
    made = price(CostDrivers(True, False, False, 0.0, None), COSTS, 10)
    assert made.requests is None
    assert made.yearly is None
    assert made.curation == 200
    assert price(CostDrivers(True, False, False, 0.0, None), COSTS, 0).requests == 0


def test_a_provider_is_paid_by_the_answer_and_not_by_the_hour() -> None:
    told = CostDrivers(True, False, False, 0.0, 0.36, remote=True, usd_per_answer=0.002)
    made = price(told, COSTS, 1000)
    assert made.per_request == 0.002
    assert made.yearly == pytest.approx(200 + 12_000 * 0.002)
    unknown = price(CostDrivers(True, False, False, 0.0, 0.36, remote=True), COSTS, 1000)
    assert unknown.per_request is None
    assert unknown.yearly is None
