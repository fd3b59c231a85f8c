"""Only a comparison that shows it lets an agent take a release's place."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.release.shelf import compared, right, shelf

from assay.compare.records import load_results
from assay.compare.replacement_section import Replacement
from assay.release.evidence import UnprovenError, judge
from assay.store.store import Store


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Store, list[str]]:
    return shelf(tmp_path)


def test_the_recommended_one_may_be_first(saved: tuple[Store, list[str]]) -> None:
    store, (a, b, c) = saved
    compared(store, {a: right(0.5), b: right(0.9)})
    assert judge(load_results(store), b, None).candidate == "candidate-1"
    with pytest.raises(UnprovenError, match=r"recommends candidate-1, and candidate-0 is worse"):
        judge(load_results(store), a, None)
    with pytest.raises(UnprovenError, match="no stored comparison includes the agent"):
        judge(load_results(store), c, None)


def test_one_that_is_shown_to_be_as_good_may_be_first_too(saved: tuple[Store, list[str]]) -> None:
    store, (a, b, _) = saved
    compared(store, {a: right(0.9, 3000), b: right(0.9, 3000, shift=1)})
    sentences = [judge(load_results(store), one, None).sentence for one in (a, b)]
    assert any("to be no worse than the best" in sentence for sentence in sentences)


def test_the_first_one_is_not_promoted_for_being_used_meanwhile(
    saved: tuple[Store, list[str]],
) -> None:
    """Not proven is not proven: somebody has to say so, with a reason, for the log."""
    store, (a, b, _) = saved
    result = compared(store, {a: right(0.7, 60), b: right(0.75, 60)[::-1]})
    assert (result.verdict.outcome, result.verdict.use_meanwhile) == ("cannot_tell", "candidate-1")
    with pytest.raises(UnprovenError, match="not show candidate-1 to be no worse than the best"):
        judge(load_results(store), b, None)


def test_under_the_name_of_a_recorded_model_who_is_no_worse_than_it_may_be_first(
    saved: tuple[Store, list[str]],
) -> None:
    store, (a, b, _) = saved
    gone = Replacement(
        replaced="outgoing", model="ft:x", score=0.5, no_worse=["candidate-0"], worse=[],
        not_shown=["candidate-1"], sentence="",
    )  # fmt: skip
    result = compared(store, {a: right(0.5), b: right(0.9)})
    found = [result.model_copy(update={"replacements": [gone]})]
    assert "no worse than ft:x, which it replaces" in judge(found, a, None, "ft:x").sentence
    for name in ("support", "ft:y", ""):
        with pytest.raises(UnprovenError, match="candidate-0 is worse"):
            judge(found, a, None, name)


def test_each_opening_promotes_at_its_own_level(saved: tuple[Store, list[str]]) -> None:
    """An agent that the first opening clears is not cleared by the tenth with the same answers."""
    store, (a, b, _) = saved
    scores = {a: right(0.9, 600), b: right(0.9, 600, shift=3)}
    compared(store, scores)
    assert "no worse than candidate-0" in judge(load_results(store), b, a).sentence
    tenth = compared(store, scores, id="d", minutes=1, opening=10)
    assert tenth.pairs[0].low > -tenth.margin, "the 95 % interval alone would do"
    with pytest.raises(UnprovenError, match="opening 10 of the holdout"):
        judge(load_results(store), b, a)


def test_where_nothing_is_recommended_nothing_is_promoted(saved: tuple[Store, list[str]]) -> None:
    store, (a, b, _) = saved
    compared(store, {a: right(0.5), b: right(0.6)}, good_enough=0.99)
    with pytest.raises(UnprovenError, match="recommends nothing"):
        judge(load_results(store), b, None)


def test_a_successor_must_be_shown_to_be_no_worse(saved: tuple[Store, list[str]]) -> None:
    store, (a, b, c) = saved
    better, same = right(0.9), right(0.9)
    few = [*right(0.9, 60)]
    compared(store, {a: better, b: right(0.6)})
    with pytest.raises(UnprovenError, match="candidate-1 is worse than candidate-0"):
        judge(load_results(store), b, a)
    assert judge(load_results(store), a, b).candidate == "candidate-0"
    compared(store, {a: better, c: same}, id="d")
    assert "no worse than candidate-0" in judge(load_results(store), c, a).sentence
    # As good on 60 examples is not shown to be no worse by 2 points.
    compared(store, {b: few, c: few[::-1]}, id="e")
    with pytest.raises(UnprovenError, match=r"not shown to be no worse \(by 2 points\)"):
        judge(load_results(store), c, b)


def test_one_that_is_recommended_for_its_price_may_take_the_place_of_a_better_one(
    saved: tuple[Store, list[str]],
) -> None:
    """What is given up for a cheaper one was said before; the release does not take it back."""
    store, (a, b, _) = saved
    scores = {a: right(0.8), b: right(0.77)}
    compared(store, scores, cheap=b)
    with pytest.raises(UnprovenError, match="is worse than"):
        judge(load_results(store), b, a)
    compared(store, scores, id="d", minutes=1, cheap=b, margin_for_cheaper=0.05)
    assert "recommends candidate-1 over candidate-0" in judge(load_results(store), b, a).sentence


def test_the_newest_comparison_decides(saved: tuple[Store, list[str]]) -> None:
    store, (a, b, _) = saved
    compared(store, {a: right(0.6), b: right(0.9)})
    assert judge(load_results(store), b, a)
    compared(store, {a: right(0.9), b: right(0.6)}, id="d", minutes=1)
    with pytest.raises(UnprovenError, match="is worse than"):
        judge(load_results(store), b, a)
    with pytest.raises(UnprovenError):
        judge(load_results(store), b, None)


def test_an_outage_proves_nothing(saved: tuple[Store, list[str]]) -> None:
    store, (a, b, c) = saved
    compared(store, {a: right(0.6), b: right(0.9), c: right(0.7)}, incomplete=b)
    with pytest.raises(UnprovenError, match="outage"):
        judge(load_results(store), b, a)
