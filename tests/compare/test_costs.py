"""Cost to own: every part counted once, unknown never counted as nothing."""

from __future__ import annotations

from dataclasses import replace

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
    machine_hours_per_month=0,
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


def test_a_machine_is_paid_while_it_is_kept_on_or_longer_where_it_answers_longer() -> None:
    kept_on = COSTS.model_copy(update={"machine_hours_per_month": 100})
    local = CostDrivers(False, False, False, 0.0, 36.0)  # a hundred requests an hour
    quiet, full = price(local, kept_on, 1000), price(local, kept_on, 20_000)
    assert (quiet.requests, quiet.idle) == (pytest.approx(60), pytest.approx(540))
    assert (full.requests, full.idle) == (pytest.approx(1200), 0)
    assert quiet.yearly == pytest.approx(12 * 100 * 0.5)
    assert quiet.of_1000(1000) == pytest.approx(50)
    assert quiet.of_1000(0) is None
    unknown = kept_on.model_copy(update={"machine_hour_usd": None})
    assert price(local, unknown, 0).yearly is None


def test_a_provider_is_paid_by_the_answer_and_not_by_the_hour() -> None:
    told = CostDrivers(
        True, False, False, 0.0, 0.36, on_machine=False, at_provider=True, usd_per_answer=0.002
    )
    kept_on = COSTS.model_copy(update={"machine_hours_per_month": 730})
    made = price(told, kept_on, 1000)
    assert made.per_request == 0.002
    assert made.yearly == pytest.approx(200 + 12_000 * 0.002)
    unknown = price(replace(told, usd_per_answer=None), kept_on, 1000)
    assert unknown.per_request is None
    assert unknown.yearly is None


def test_a_route_with_an_arm_here_and_one_there_pays_both() -> None:
    costs = COSTS.model_copy(update={"machine_hours_per_month": 730})
    route = CostDrivers(
        True, False, False, 0.0, 0.36, on_machine=True, at_provider=True, usd_per_answer=0.002
    )
    made = price(route, costs, 1000)
    assert made.yearly == pytest.approx(200 + 12 * 730 * 0.5 + 12_000 * 0.002)
    parts = (made.curation, made.training, made.requests, made.idle, made.upkeep)
    assert made.yearly == pytest.approx(sum(part or 0.0 for part in parts))
