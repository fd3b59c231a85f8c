"""hit@k, MRR and nDCG against values worked out by hand and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from assay.evaluate.retrieval import (
    difference,
    first_places,
    hit,
    ndcg,
    reciprocal_rank,
    retrieval_scores,
    summarise,
)


def test_by_hand() -> None:
    ranked = ["a", "b", "c", "d"]
    assert [hit(ranked, {"c"}, k) for k in (1, 2, 3)] == [0, 0, 1]
    assert reciprocal_rank(ranked, {"c", "d"}) == pytest.approx(1 / 3)
    assert reciprocal_rank(ranked, {"z"}) == 0
    assert ndcg(ranked, {"b"}, 10) == pytest.approx(1 / math.log2(3))
    assert ndcg(ranked, {"a", "c"}, 10) == pytest.approx((1 + 0.5) / (1 + 1 / math.log2(3)))
    assert ndcg(ranked, {"d"}, 3) == 0
    assert ndcg(ranked, set(), 3) == 0


def test_passages_of_one_document_count_once() -> None:
    assert first_places(["a", "a", "b", "a", "c"]) == ["a", "b", "c"]
    scores = retrieval_scores([["a", "a", "a", "b"], []], [{"b"}, {"x"}])
    assert scores["mrr"] == [0.5, 0]
    assert scores["hit@3"] == [1, 0]


@given(st.permutations(list("abcdefgh")), st.sets(st.sampled_from("abcdefgh"), min_size=1))
def test_ndcg_is_scikit_learns(ranked: list[str], relevant: set[str]) -> None:
    truth = [[float(name in relevant) for name in "abcdefgh"]]
    order = [[-float(ranked.index(name)) for name in "abcdefgh"]]
    for k in (1, 3, 8):
        assert ndcg(ranked, relevant, k) == pytest.approx(ndcg_score(truth, order, k=k))


def test_intervals_hold_the_mean_and_widen_with_groups() -> None:
    rng = np.random.default_rng(0)
    by_group = rng.integers(0, 2, 60)
    values = [float(by_group[n // 10]) for n in range(600)]
    groups = [str(n // 10) for n in range(600)]
    alone, grouped = summarise({"m": values})["m"], summarise({"m": values}, groups)["m"]
    assert alone.mean == grouped.mean == pytest.approx(np.mean(values))
    assert grouped.low < alone.low < alone.mean < alone.high < grouped.high
    assert summarise({}) == {}


def test_a_paired_difference() -> None:
    a = {"hit@3": [1.0] * 90 + [0.0] * 10}
    b = {"hit@3": [1.0] * 80 + [0.0] * 20}
    found = difference(a, b)["hit@3"]
    assert found.mean == pytest.approx(0.1)
    assert 0 < found.low < found.mean < found.high
    assert difference(a, a)["hit@3"].mean == 0
