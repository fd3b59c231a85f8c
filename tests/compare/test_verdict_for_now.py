"""What a verdict that cannot tell says to use until more is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assay.compare.report.wording import headline
from assay.compare.verdict import Entry, decide
from tests.compare.test_verdict import SETTINGS, calls, right
from tests.compare.yearly import yearly


def test_what_using_one_for_now_may_cost_is_said() -> None:
    entries = [Entry("a", right(66, 120)), Entry("b", right(60, 120, start=26))]
    decision = decide(entries, None, SETTINGS)
    verdict, pair = decision.verdict, decision.pairs[0]
    assert verdict.use_meanwhile == "a"
    assert verdict.may_lose == pytest.approx(-pair.low)
    most = round(100 * -pair.low)
    said = f"should another be better, it likely scores at most {most} in 100 higher"
    assert f"{said} ({most}00 of 10,000 requests a month). To settle" in verdict.reason
    few = decide(entries, None, replace(SETTINGS, monthly_requests=5)).verdict
    assert f"{said}. To settle" in few.reason, "less than one request"
    assert decide([Entry("a", right(5, 9))], None, SETTINGS).verdict.may_lose is None


def test_a_score_of_100_on_few_rows_may_still_be_behind() -> None:
    """What was scored is not what is true, so that it bounds no loss."""
    verdict = decide([Entry("a", right(43, 43)), Entry("b", right(41, 43))], None, SETTINGS).verdict
    assert verdict.use_meanwhile == "a"
    assert verdict.score_low is not None
    assert verdict.may_lose is not None
    assert 0.02 < verdict.may_lose <= 1 - verdict.score_low


def test_for_now_the_cheapest_of_those_that_may_be_the_best_is_named() -> None:
    best = Entry("best", right(66, 120), **yearly(9.0))
    near = Entry("near", right(65, 120, start=26), **yearly(2.0))
    behind = Entry("behind", right(58, 120), **yearly(1.0))
    floor = Entry("majority", right(60, 120, start=30), floor=True, **yearly(0.0))
    found = decide([best, near, behind, floor], None, SETTINGS)
    assert found.verdict.shortlist == ["best", "near", "majority", "behind"]
    assert calls(found)["best", "behind"] == "cannot_tell", "but its interval leaves out 0"
    assert found.verdict.use_meanwhile == "near"
    cheapest = "the cheapest to own of those that score about as high as the best"
    cheaper = "(behind costs less but scores lower)"
    assert f"Use near for now, {cheapest} {cheaper}" in found.verdict.reason
    cents = replace(best, setup_cost=2.01), near
    assert decide(cents, None, SETTINGS).verdict.use_meanwhile == "best"
    alike = replace(near, name="twin", answer_seconds=1.0, setup_cost=2.01)
    tied = decide([best, near, alike], None, SETTINGS).verdict
    assert tied.use_meanwhile == "twin", "as cheap and as good, and its speed is known"
    among = "among those that score about as high as the best"
    level = f"2 with the same score, the cheapest to own {among}"
    assert f"Use twin for now, one of {level}:" in tied.reason
    slow = replace(near, answer_seconds=2.0)
    tied = decide([best, slow, alike], None, SETTINGS).verdict
    assert f"Use twin for now, the fastest of {level}:" in tied.reason
    tied = decide([best, slow, alike, behind], None, SETTINGS).verdict
    assert f"the fastest of {level} {cheaper}: should" in tied.reason
    less = replace(near, name="less", scores=right(64, 120, start=30))
    tied = decide([best, near, less], None, SETTINGS).verdict
    assert f"Use near for now, the best of the 2 cheapest to own {among}:" in tied.reason

    def named(*entries: Entry) -> str | None:
        return decide(entries, None, SETTINGS).verdict.use_meanwhile

    unpriced = [replace(e, setup_cost=None, answer_seconds=1.0) for e in (best, near)]
    assert named(*unpriced, behind) == "best", "the score, where all else is the same"
    assert named(unpriced[0], replace(unpriced[1], answer_seconds=0.5)) == "near"
    assert named(replace(unpriced[0], answer_seconds=0.5), unpriced[1]) == "best"
    assert named(best, unpriced[1]) == "best", "an unknown cost is not the cheapest"
    partly = decide([replace(best, setup_cost=None), near], None, SETTINGS).verdict
    assert "Use near for now, the cheapest to own, as far as that is known, of" in partly.reason
    few = [Entry(e.name, e.values[:8], floor=e.floor, **yearly(1.0)) for e in (best, floor)]
    assert named(few[0], replace(few[1], setup_cost=0.0)) == "best"
    assert named(replace(few[0], scores=[0.0] * 8), replace(few[1], scores=[1.0] * 8)) is None


@pytest.mark.parametrize("n", [8, 41])
def test_for_now_none_is_named_where_one_that_reads_no_input_is_as_near_as_nothing(n: int) -> None:
    wrong = Entry("wrong", [0.0] * n, **yearly(1.0))
    floor = Entry("majority", [0.0] * n, floor=True, **yearly(0.0))
    none_right = decide([wrong, floor], None, SETTINGS).verdict
    assert (none_right.outcome, none_right.named) == ("cannot_tell", None)
    assert none_right.score_low is None, "of none is said what it likely scores"
    assert "No candidate has anything right so far, so use none for now. " in none_right.reason
    assert headline(none_right) == "Use none of these for now; not proven"
    leads = decide([wrong, replace(floor, scores=right(3, n))], None, SETTINGS).verdict
    assert headline(leads).startswith("Use none of these")
    told = "is that of majority, which reads no input, so use none for now. "
    assert (told in leads.reason) == (leads.outcome == "cannot_tell") == (n == 8)
    one = decide([replace(wrong, scores=right(1, n)), floor], None, SETTINGS).verdict
    assert one.named is None, "one example shows nothing"
    assert "and majority, which reads no input, 0 in 100: hardly less, so use none" in one.reason
    assert decide([replace(wrong, scores=right(1, n))], None, SETTINGS).verdict.named == "wrong"
    two = decide([replace(wrong, scores=right(2, n)), floor], None, SETTINGS).verdict
    assert two.use_meanwhile == "wrong"


@pytest.mark.parametrize(
    ("n", "behind", "used"),
    [(200, 4, "cheap"), (200, 5, "dear"), (20, 1, "cheap"), (20, 2, "dear")],
)
def test_for_now_one_that_is_behind_by_the_margin_or_one_example_may_be_named(
    n: int, behind: int, used: str
) -> None:
    count = round(0.7 * n)
    entries = [
        Entry("dear", right(count, n), **yearly(9.0)),
        Entry("cheap", right(count - behind, n, start=n - count), **yearly(1.0)),
    ]
    verdict = decide(entries, None, SETTINGS).verdict
    assert verdict.use_meanwhile == used
    told = "Use dear for now, the best score so far (cheap costs less but scores lower): should"
    assert (told in verdict.reason) == (used == "dear")
