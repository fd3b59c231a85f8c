"""Costs to own, break-even, and whether fine-tuning is worth it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from assay.compare.costs import break_even_requests, cheapest, cost_to_own
from assay.compare.result import Verdict
from assay.compare.verdict import Entry, Terms, decide
from tests.compare.yearly import yearly

PROMPT = Entry("prompt", [], setup_cost=120.0, cost_per_request=0.002, upkeep_per_year=0.0)
TUNED = Entry(
    "tuned", [], fine_tuned=True, setup_cost=600.0, cost_per_request=0.0005, upkeep_per_year=240.0
)


def scored(entry: Entry, count: int, n: int = 2000) -> Entry:
    return replace(entry, scores=[1.0] * count + [0.0] * (n - count))


def verdict(*entries: Entry, monthly: int = 100_000, margin: float = 0.02) -> Verdict:
    settings = Terms(monthly_requests=monthly, margin=margin)
    return decide(entries, None, settings).verdict


def test_cost_to_own_is_the_first_year() -> None:
    assert cost_to_own(PROMPT, 10_000) == pytest.approx(120 + 240)
    assert cost_to_own(TUNED, 10_000) == pytest.approx(600 + 60 + 240)


@pytest.mark.parametrize("part", ["setup_cost", "cost_per_request", "upkeep_per_year"])
def test_a_part_that_is_not_known_makes_the_whole_unknown(part: str) -> None:
    assert cost_to_own(replace(PROMPT, **{part: None}), 10_000) is None
    assert break_even_requests(TUNED, replace(PROMPT, **{part: None}), 10_000) is None
    assert break_even_requests(replace(TUNED, **{part: None}), PROMPT, 10_000) is None


def test_break_even_is_where_the_costs_cross() -> None:
    monthly = 100_000
    requests = break_even_requests(TUNED, PROMPT, monthly)
    assert requests is not None
    years = requests / (12 * monthly)

    def spent(setup: float, request: float, upkeep: float) -> float:
        return setup + requests * request + years * upkeep

    assert spent(600, 0.0005, 240) == pytest.approx(spent(120, 0.002, 0))


def test_it_never_breaks_even_when_each_request_costs_more() -> None:
    assert break_even_requests(replace(TUNED, cost_per_request=0.003), PROMPT, 10_000) is None
    assert break_even_requests(TUNED, PROMPT, 0) is None
    assert break_even_requests(TUNED, PROMPT, 1_000) is None  # upkeep eats the saving


def test_it_breaks_even_at_once_when_nothing_is_dearer() -> None:
    assert break_even_requests(replace(TUNED, setup_cost=10.0), PROMPT, 100_000) == 0.0


def test_cheapest_ranks_known_costs_first_then_score_then_name() -> None:
    a, b = Entry("a", [], **yearly(5.0)), Entry("b", [], **yearly(5.0))
    unknown, other = Entry("unknown", []), Entry("other", [])
    assert cheapest([unknown, a, b], {"a": 0.5, "b": 0.6, "unknown": 0.9}, 1) is b
    assert cheapest([b, a], {"a": 0.5, "b": 0.5}, 1) is a
    assert cheapest([unknown, other], {"unknown": 0.9, "other": 0.5}, 1) is unknown
    assert cheapest([], {}, 1) is None


def test_worth_it_when_clearly_better_and_nothing_else_will_do() -> None:
    found = verdict(scored(PROMPT, 1000), scored(TUNED, 1600))
    assert found.recommend == "tuned"
    assert found.fine_tuning_worth_it is True
    assert found.break_even_requests is None


def test_worth_it_when_better_and_paid_back_within_the_year() -> None:
    entries = scored(PROMPT, 1600), scored(TUNED, 1615)
    assert decide(entries, None, Terms()).pairs[0].call == "worse"
    busy = verdict(*entries, monthly=100_000)
    assert (busy.recommend, busy.fine_tuning_worth_it) == ("tuned", True)
    assert busy.break_even_requests is not None
    assert busy.break_even_requests < 12 * 100_000
    quiet = verdict(*entries, monthly=20_000)
    assert (quiet.recommend, quiet.fine_tuning_worth_it) == ("prompt", False)
    assert quiet.break_even_requests is not None
    assert quiet.break_even_requests > 12 * 20_000


def test_not_worth_it_when_worse() -> None:
    assert verdict(scored(PROMPT, 1600), scored(TUNED, 1000)).fine_tuning_worth_it is False


def test_as_good_and_cheaper_to_own_is_worth_it() -> None:
    entries = scored(PROMPT, 1600), scored(TUNED, 1600)
    assert verdict(*entries, monthly=100_000).fine_tuning_worth_it is True
    assert verdict(*entries, monthly=10_000).fine_tuning_worth_it is False


def test_better_but_at_an_unknown_cost_cannot_be_told() -> None:
    unpriced = replace(TUNED, setup_cost=None)
    found = verdict(scored(PROMPT, 1600), scored(unpriced, 1615))
    assert found.fine_tuning_worth_it is None
    assert found.break_even_requests is None


def test_what_is_recommended_is_never_called_not_worth_it() -> None:
    prompt, tuned = replace(PROMPT, setup_cost=None), replace(TUNED, setup_cost=None)
    found = verdict(scored(prompt, 1600), scored(tuned, 1601))
    assert (found.recommend, found.fine_tuning_worth_it) == ("tuned", None)
    alike = verdict(scored(replace(prompt, name="zero-shot"), 1600), scored(tuned, 1600))
    assert (alike.recommend, alike.fine_tuning_worth_it) == ("zero-shot", False)


def test_what_is_used_for_now_is_never_called_not_worth_it() -> None:
    n = 2000
    ahead, behind, noise = np.zeros(n), np.zeros(n), np.zeros(n)
    ahead[:1001], behind[:1000], noise[1000:1980] = 1, 1, 1
    entries = [
        replace(PROMPT, scores=behind),
        replace(TUNED, scores=ahead),
        replace(PROMPT, name="few-shot", scores=noise),
    ]
    decision = decide(entries, None, Terms())
    assert decision.pairs[0].call == "equivalent"
    found = decision.verdict
    assert (found.outcome, found.use_meanwhile) == ("cannot_tell", "tuned")
    assert found.fine_tuning_worth_it is None


def test_nothing_is_said_without_fine_tuning_or_without_an_alternative() -> None:
    assert verdict(scored(PROMPT, 1600)).fine_tuning_worth_it is None
    assert verdict(scored(TUNED, 1600)).fine_tuning_worth_it is None


def test_cannot_tell_leaves_it_open() -> None:
    rng = np.random.default_rng(0)
    entries = [
        replace(entry, scores=(rng.random(150) < 0.7).astype(float)) for entry in (PROMPT, TUNED)
    ]
    found = decide(entries, None, Terms()).verdict
    assert found.outcome == "cannot_tell"
    assert found.fine_tuning_worth_it is None
