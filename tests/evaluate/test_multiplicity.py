"""Adjusted p values against the closed test written out, and against what can be true at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from assay.evaluate.multiplicity import (
    equal_pair_counts,
    holm,
    ordered_holm,
    shaffer,
    worse_than_best,
)
from assay.evaluate.stats import Floats

PROBABILITY = st.floats(0, 1)


def subsets(count: int) -> Iterator[tuple[int, ...]]:
    for size in range(1, count + 1):
        yield from combinations(range(count), size)


def closed(
    count: int, intersections: Sequence[tuple[int, ...]], test: Callable[[tuple[int, ...]], float]
) -> list[float]:
    """A hypothesis is rejected when every intersection that it is part of is."""
    found = [[test(s) for s in intersections if i in s] for i in range(count)]
    return [min(1.0, max(p)) for p in found]


@settings(max_examples=30)
@given(p=st.lists(PROBABILITY, min_size=1, max_size=20))
def test_holm_agrees_with_statsmodels_and_keeps_the_order(p: list[float]) -> None:
    adjusted = holm(p)
    with patch("gc.collect"):  # of all that tests have loaded, once an example
        theirs = multipletests(p, method="holm")[1]
    assert adjusted == pytest.approx(theirs, abs=1e-12)
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()
    assert (adjusted >= np.array(p)).all()


def test_of_nothing_nothing_follows() -> None:
    assert len(holm([])) == len(shaffer([], 1)) == len(ordered_holm([], None)) == 0
    assert worse_than_best(np.ones((1, 1))).tolist() == [0.0]


@settings(max_examples=60)
@given(p=st.lists(PROBABILITY, min_size=1, max_size=6), data=st.data())
def test_the_order_is_the_closed_test_with_weights(p: list[float], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(p) - 1))

    def weighted_bonferroni(s: tuple[int, ...]) -> float:
        if first not in s or len(s) == 1:
            return min(len(s) * p[i] for i in s)
        rest = [i for i in s if i != first]
        return min([p[first] / 0.8, *(len(rest) * p[i] / 0.2 for i in rest)])

    every = list(subsets(len(p)))
    assert ordered_holm(p, first) == pytest.approx(closed(len(p), every, weighted_bonferroni))
    plain = closed(len(p), every, lambda s: min(len(s) * p[i] for i in s))
    assert ordered_holm(p, None) == pytest.approx(plain)


def equal_pairs(candidates: int) -> set[frozenset[int]]:
    """Every set of pairs that can be equal while all others differ."""
    pairs = list(combinations(range(candidates), 2))
    return {
        frozenset(n for n, (a, b) in enumerate(pairs) if classes[a] == classes[b])
        for classes in product(range(candidates), repeat=candidates)
    }


@pytest.mark.parametrize("candidates", [1, 2, 3, 4, 5, 6])
def test_numbers_of_pairs_that_can_be_equal(candidates: int) -> None:
    assert equal_pair_counts(candidates) == {len(s) for s in equal_pairs(candidates)}


@settings(max_examples=60, deadline=None)
@given(candidates=st.integers(2, 4), data=st.data())
def test_shaffer_lies_between_holm_and_the_closed_test(
    candidates: int, data: st.DataObject
) -> None:
    """S1 keeps the error: it rejects nothing that the closed test over possible truths keeps."""
    pairs = candidates * (candidates - 1) // 2
    p = data.draw(st.lists(PROBABILITY, min_size=pairs, max_size=pairs))
    possible = [tuple(s) for s in equal_pairs(candidates) if s]
    exact = closed(pairs, possible, lambda s: min(len(s) * p[i] for i in s))
    adjusted = shaffer(p, candidates)
    assert (adjusted <= holm(p) + 1e-12).all()
    assert (adjusted >= np.array(exact) - 1e-12).all()


def test_of_two_candidates_there_is_one_pair_and_nothing_to_divide_by() -> None:
    assert shaffer([0.03], 2).tolist() == [0.03]
    assert shaffer([0.01, 0.02, 0.04], 3) == pytest.approx([0.03, 0.03, 0.04])
    p = np.array([[1.0, 0.03], [0.02, 1.0]])
    assert worse_than_best(p, 0).tolist() == worse_than_best(p).tolist() == [0.03, 0.02]
    with pytest.raises(ValueError, match="3 pairs"):
        shaffer([0.1], 3)


def test_the_first_one_is_tested_at_most_of_the_level_and_passes_its_share_on() -> None:
    p = np.full((6, 6), 0.5)
    p[0] = 0.02
    assert worse_than_best(p, first=0)[0] == pytest.approx(0.025)
    assert worse_than_best(p)[0] == pytest.approx(0.1)
    p[0], p[1] = 0.01, 0.004
    ordered = worse_than_best(p, first=0)
    assert ordered[1] == pytest.approx(0.02), "the first is cleared, so that Holm over five is left"


def observed(truth: Floats, runs: int, rng: np.random.Generator) -> Iterator[Floats]:
    """p values of "i is worse than b by 2 errors or more" from normal scores of error 1."""
    from scipy import stats

    for _ in range(runs):
        seen = truth + rng.standard_normal(len(truth))
        yield stats.norm.sf((seen[:, None] - seen[None, :] + 2) / np.sqrt(2))


@pytest.mark.parametrize("first", [None, 0, 3])
@pytest.mark.parametrize(
    "truth", [(0, 0, 0, -2, -2, -2), (0, -2, -2, -2, -2, -2), (0, 0, 0, 0, 0, -2), (0, -2)]
)
def test_those_that_are_worse_are_cleared_no_more_often_than_the_level(
    truth: tuple[float, ...], first: int | None
) -> None:
    """At the margin itself, the least favourable place; whichever was named first."""
    runs, level = 4000, 0.05
    means = np.array(truth, dtype=float)
    named = None if first is None else min(first, len(truth) - 1)
    rng = np.random.default_rng(11)
    worse = means <= -2
    false = sum(
        bool((worse_than_best(p, named)[worse] <= level).any()) for p in observed(means, runs, rng)
    )
    assert false <= runs * (level + 3.1 * (level * (1 - level) / runs) ** 0.5)
