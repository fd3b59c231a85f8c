"""What must hold of every verdict, whatever the scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.compare.yearly import yearly

from assay.compare.verdict import Decision, Entry, Terms, decide

BINARY = st.sampled_from([0.0, 1.0])
PARTIAL = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
SETTINGS = Terms(resamples=200, good_enough=0.5)


@st.composite
def comparisons(draw: st.DrawFn) -> tuple[list[Entry], list[str] | None]:
    """Two to four candidates on up to sixty examples, with or without groups."""
    n = draw(st.integers(10, 60))
    score = draw(st.sampled_from([BINARY, PARTIAL]))
    entries = [
        Entry(
            name,
            draw(st.lists(score, min_size=n, max_size=n)),
            floor=draw(st.booleans()),
            fine_tuned=draw(st.booleans()),
            answer_seconds=draw(st.sampled_from([None, 0.1, 2.0])),
            **yearly(draw(st.sampled_from([None, 1.0, 2.0]))),
        )
        for name in ["d", "a", "c", "b"][: draw(st.integers(2, 4))]
    ]
    groups = draw(st.none() | st.lists(st.sampled_from("abcdefghijklmn"), min_size=n, max_size=n))
    return entries, groups


def _rearranged(
    entries: list[Entry], groups: list[str] | None, order: list[int]
) -> tuple[list[Entry], list[str] | None]:
    moved = [replace(entry, scores=entry.values[order]) for entry in entries]
    return moved, None if groups is None else [groups[i] for i in order]


@settings(max_examples=60, deadline=None)
@given(comparison=comparisons())
def test_figures_are_where_they_must_be(comparison: tuple[list[Entry], list[str] | None]) -> None:
    decision = decide(*comparison, SETTINGS)
    for candidate in decision.candidates:
        assert candidate.low is not None
        assert candidate.high is not None
        assert candidate.score is not None
        assert 0 <= candidate.low <= candidate.score + 1e-9
        assert candidate.score - 1e-9 <= candidate.high <= 1
        assert candidate.p_eligible is not None
        assert 0 <= candidate.p_eligible <= 1
    for pair in decision.pairs:
        assert -1 <= pair.low <= pair.difference + 1e-9
        assert pair.difference - 1e-9 <= pair.high <= 1
        assert 0 < pair.p <= pair.p_adjusted <= 1
        assert 0 <= pair.p_equivalence <= 1
    names = {entry.name for entry in comparison[0]}
    verdict = decision.verdict
    floors = {entry.name for entry in comparison[0] if entry.floor}
    assert verdict.recommend is None or verdict.recommend in names - floors
    assert (verdict.outcome == "recommend") == (verdict.recommend is not None)
    assert (verdict.outcome == "cannot_tell") == bool(verdict.more_examples_needed)
    assert verdict.reason.endswith(".")


@settings(max_examples=120, deadline=None)
@given(comparison=comparisons(), good_enough=st.sampled_from([None, 0.5]))
def test_for_now_nothing_dearer_is_named_than_what_scores_as_high(
    comparison: tuple[list[Entry], list[str] | None], good_enough: float | None
) -> None:
    entries = {entry.name: entry for entry in comparison[0]}
    decision = decide(*comparison, replace(SETTINGS, good_enough=good_enough))
    verdict = decision.verdict
    if verdict.outcome != "cannot_tell":
        return
    turned = {"better": "worse", "worse": "better"}
    calls = {(pair.b, pair.a): turned.get(pair.call) for pair in decision.pairs}
    calls |= {(pair.a, pair.b): pair.call for pair in decision.pairs}
    used, best = verdict.use_meanwhile, verdict.shortlist[0]
    n = len(entries[best].values)
    scores = {name: float(entry.values.mean()) for name, entry in entries.items()}
    most = max(SETTINGS.margin, 1 / n) + 1e-9
    near = [name for name in verdict.shortlist if scores[best] - scores[name] <= most]
    if any(entry.floor and scores[best] - scores[name] <= most for name, entry in entries.items()):
        assert used is None
        return
    useful = [name for name in near if entries[name].values.any()]
    if not useful:  # but perhaps one that is not good enough, and shown to be better than these
        assert used is None or (not entries[used].floor and entries[used].values.any())
        return
    assert used in useful
    assert "worse" not in [call for (a, _), call in calls.items() if a == used]

    def asked(name: str) -> tuple[float, float, float]:
        cost, seconds = entries[name].setup_cost, entries[name].answer_seconds
        seconds = float("inf") if seconds is None else seconds
        if cost is None:
            return float("inf"), seconds, -scores[name]
        return cost, -scores[name], seconds

    assert asked(used) == min(map(asked, useful))


def _by_name(decision: Decision) -> dict[tuple[str, str], tuple[float, ...]]:
    figures = {}
    for pair in decision.pairs:
        figures[pair.a, pair.b] = (pair.difference, pair.low, pair.high, pair.p, pair.p_adjusted)
        figures[pair.b, pair.a] = (
            -pair.difference,
            -pair.high,
            -pair.low,
            pair.p,
            pair.p_adjusted,
        )
    return figures


@settings(max_examples=60, deadline=None)
@given(comparison=comparisons(), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_candidates_does_not_matter(
    comparison: tuple[list[Entry], list[str] | None], seed: int
) -> None:
    entries, groups = comparison
    shuffled = [entries[i] for i in np.random.default_rng(seed).permutation(len(entries))]
    one, two = decide(entries, groups, SETTINGS), decide(shuffled, groups, SETTINGS)
    assert one.verdict == two.verdict
    figures = _by_name(one)
    assert figures == _by_name(two)
    turned = {"better": "worse", "worse": "better"}
    calls = {(pair.a, pair.b): pair.call for pair in two.pairs}
    for pair in one.pairs:
        straight = calls.get((pair.a, pair.b))
        assert pair.call == straight or pair.call == turned.get(
            calls.get((pair.b, pair.a), ""), calls.get((pair.b, pair.a))
        )


@settings(max_examples=60, deadline=None)
@given(comparison=comparisons(), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_examples_and_the_names_of_groups_do_not_matter(
    comparison: tuple[list[Entry], list[str] | None], seed: int
) -> None:
    entries, groups = comparison
    order = np.random.default_rng(seed).permutation(len(entries[0].values)).tolist()
    moved, moved_groups = _rearranged(entries, groups, order)
    if moved_groups is not None:
        moved_groups = [chr(219 - ord(name)) for name in moved_groups]
    one, two = decide(entries, groups, SETTINGS), decide(moved, moved_groups, SETTINGS)
    assert one.verdict == two.verdict
    assert _by_name(one) == _by_name(two)


def test_the_same_input_gives_the_same_verdict() -> None:
    rng = np.random.default_rng(0)
    entries = [Entry(name, rng.random(80)) for name in "abc"]
    assert decide(entries, None, Terms()) == decide(entries, None, Terms())
