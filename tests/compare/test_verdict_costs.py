"""Costs to own, break-even, and whether fine-tuning is worth it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from assay.compare.costs import break_even_requests, cheapest, cost_to_own
from assay.compare.result import Verdict
from assay.compare.verdict import Entry, Terms, decide
from tests.compare.yearly import yearly

PROMPT = Entry("prompt", [], setup_cost=120.0)
TUNED = Entry("tuned", [], fine_tuned=True, setup_cost=600.0, trainings=3, training_spread=0.0)
PER_REQUEST = {"prompt": 0.002, "tuned": 0.0005}
UPKEEP = {"prompt": 0.0, "tuned": 240.0}


def running(entry: Entry, monthly: int) -> Entry:
    """The entry with what it costs to run at a volume, where its set-up has a price."""
    if entry.setup_cost is None:
        return entry
    usd = 12 * monthly * PER_REQUEST.get(entry.name, 0.002) + UPKEEP.get(entry.name, 0.0)
    return replace(entry, running_cost=usd)


def scored(entry: Entry, count: int, n: int = 2000) -> Entry:
    return replace(entry, scores=[1.0] * count + [0.0] * (n - count))


def verdict(*entries: Entry, monthly: int = 100_000, margin: float = 0.02) -> Verdict:
    settings = Terms(monthly_requests=monthly, margin=margin)
    return decide([running(entry, monthly) for entry in entries], None, settings).verdict


def test_cost_to_own_is_the_first_year() -> None:
    assert cost_to_own(running(PROMPT, 10_000)) == pytest.approx(120 + 240)
    assert cost_to_own(running(TUNED, 10_000)) == pytest.approx(600 + 60 + 240)


@pytest.mark.parametrize("part", ["setup_cost", "running_cost"])
def test_a_part_that_is_not_known_makes_the_whole_unknown(part: str) -> None:
    prompt, tuned = running(PROMPT, 10_000), running(TUNED, 10_000)
    assert cost_to_own(replace(prompt, **{part: None})) is None
    assert break_even_requests(tuned, replace(prompt, **{part: None}), 10_000) is None
    assert break_even_requests(replace(tuned, **{part: None}), prompt, 10_000) is None


def test_break_even_is_where_the_costs_cross() -> None:
    monthly = 100_000
    requests = break_even_requests(running(TUNED, monthly), running(PROMPT, monthly), monthly)
    assert requests is not None
    years = requests / (12 * monthly)

    def spent(setup: float, request: float, upkeep: float) -> float:
        return setup + requests * request + years * upkeep

    assert spent(600, 0.0005, 240) == pytest.approx(spent(120, 0.002, 0))


def test_it_never_breaks_even_when_each_request_costs_more() -> None:
    dearer = replace(TUNED, running_cost=360.0)
    assert break_even_requests(dearer, running(PROMPT, 10_000), 10_000) is None
    assert break_even_requests(running(TUNED, 0), running(PROMPT, 0), 0) is None
    # Upkeep eats the saving.
    assert break_even_requests(running(TUNED, 1_000), running(PROMPT, 1_000), 1_000) is None


def test_it_breaks_even_at_once_when_nothing_is_dearer() -> None:
    tuned, prompt = running(TUNED, 100_000), running(PROMPT, 100_000)
    assert break_even_requests(replace(tuned, setup_cost=10.0), prompt, 100_000) == 0.0


def test_cheapest_ranks_known_costs_first_then_score_then_name() -> None:
    a, b = Entry("a", [], **yearly(5.0)), Entry("b", [], **yearly(5.0))
    unknown, other = Entry("unknown", []), Entry("other", [])
    assert cheapest([unknown, a, b], {"a": 0.5, "b": 0.6, "unknown": 0.9}) is b
    assert cheapest([b, a], {"a": 0.5, "b": 0.5}) is a
    cents = replace(b, setup_cost=5.04)
    assert cheapest([a, cents], {"a": 0.5, "b": 0.6}) is cents, "nobody gives up a score for cents"
    assert cheapest([a, replace(b, setup_cost=5.06)], {"a": 0.5, "b": 0.6}) is a
    faster = replace(cents, answer_seconds=0.1)
    assert cheapest([a, faster], {"a": 0.5, "b": 0.5}) is faster
    assert cheapest([unknown, other], {"unknown": 0.9, "other": 0.5}) is unknown
    assert cheapest([], {}) is None


def test_never_worth_it_only_because_nothing_else_is_as_good() -> None:
    better = scored(PROMPT, 1000), scored(TUNED, 1600)
    found = verdict(*better, monthly=10_000)
    assert found.recommend == "tuned"
    assert found.fine_tuning_worth_it is None
    assert found.break_even_requests is None
    # Better and no dearer, or the only one that is good enough: nothing is left to weigh.
    assert verdict(*better, monthly=100_000).fine_tuning_worth_it is True
    entries = [running(entry, 10_000) for entry in better]
    needed = decide(entries, None, Terms(good_enough=0.7)).verdict
    assert (needed.recommend, needed.fine_tuning_worth_it) == ("tuned", True)
    enough = decide(entries, None, Terms(good_enough=0.4)).verdict
    assert (enough.recommend, enough.fine_tuning_worth_it) == ("tuned", None)


@pytest.mark.parametrize(
    ("trainings", "spread", "holds"),
    [(3, 0.001, True), (3, 0.1, None), (1, None, None), (0, None, None)],
)
@pytest.mark.parametrize("tuned_right", [1600, 1700])
def test_worth_it_is_said_of_the_way_only_where_more_than_one_training_shows_it(
    trainings: int, spread: float | None, holds: bool | None, tuned_right: int
) -> None:
    """As good as the prompt and cheaper, or better and cheaper: of this version it is known."""
    tuned = replace(TUNED, trainings=trainings, training_spread=spread)
    found = verdict(scored(PROMPT, 1600), scored(tuned, tuned_right))
    assert found.recommend == "tuned"
    assert (found.version_worth_it, found.fine_tuning_worth_it) == (True, holds)


def test_that_only_fine_tuning_is_good_enough_must_hold_of_another_training_too() -> None:
    """It is dear, so that being the only one that is good enough decides."""
    entries = [running(scored(e, right), 10_000) for e, right in ((PROMPT, 800), (TUNED, 1600))]

    def worth(spread: float) -> tuple[bool | None, bool | None]:
        both = [entries[0], replace(entries[1], training_spread=spread)]
        found = decide(both, None, Terms(good_enough=0.75)).verdict
        return found.version_worth_it, found.fine_tuning_worth_it

    assert worth(0.001) == (True, True)
    assert worth(0.03) == (True, None), "the gain is shown, that it is enough is not"


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


@pytest.mark.parametrize(("only_tuned", "outcome"), [(40, "cannot_tell"), (60, "recommend")])
def test_training_is_recommended_only_for_a_gain_that_is_shown(
    only_tuned: int, outcome: str
) -> None:
    """Here the tuned one is eligible and the prompt is not: by the margin alone it would win."""
    only_prompt, n = 28, 400
    tuned, prompt = np.zeros(n), np.zeros(n)
    tuned[:only_tuned], prompt[only_tuned : only_tuned + only_prompt] = 1, 1
    tuned[200:], prompt[200:] = 1, 1
    entries = [replace(TUNED, scores=tuned), replace(PROMPT, scores=prompt)]
    decision = decide(entries, None, Terms())
    assert [one.eligible for one in decision.candidates] == [True, False]
    found = decision.verdict
    assert found.outcome == outcome
    assert "tuned" in (found.recommend, found.use_meanwhile)
    if outcome == "recommend":
        return
    assert decision.pairs[0].low < 0
    assert found.fine_tuning_worth_it is None
    # Examples that show a lead of 3 points, and those that show the prompt to be within 2 points.
    disagreement = (only_tuned + only_prompt) / n
    asked = (
        (1.96 + 0.842) ** 2 * disagreement / 0.03**2,
        (1.97 + 0.842) ** 2 * disagreement / 0.02**2,
    )
    given = found.more_if_as_seen, found.more_examples_needed
    assert given == pytest.approx(asked, rel=0.05)
    alone = [replace(e, fine_tuned=True, name=e.name + "-2") for e in entries]
    assert decide(alone, None, Terms()).verdict.recommend == "tuned-2", "nothing else takes part"


def test_a_tuned_one_whose_own_gain_may_be_chance_is_told_beside_one_that_gains() -> None:
    n = 2000
    tuned, coarse, prompt = np.zeros(n), np.zeros(n), np.zeros(n)
    tuned[:66], coarse[20:74], prompt[80:120] = 1, 1, 1
    for scores in (tuned, coarse, prompt):
        scores[1000:] = 1
    entries = [
        replace(TUNED, scores=tuned),
        replace(TUNED, name="tuned-8bit", scores=coarse, running_cost=0.0),
        replace(PROMPT, scores=prompt),
    ]
    decision = decide(entries, None, Terms())
    assert [one.eligible for one in decision.candidates] == [True, True, False]
    found = decision.verdict
    assert (found.recommend, found.as_good) == ("tuned", ["tuned"])
    assert found.reason.endswith(
        "That is shown for tuned-8bit, too, but not that training gains anything there."
    )


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
        replace(TUNED, scores=ahead, setup_cost=0.0, running_cost=0.0),
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
