"""The formulas of prediction-powered inference on samples small enough to reckon by hand."""

from __future__ import annotations

import numpy as np
import pytest

from assay.evaluate.prediction_powered import Sample, powered_means, shift_p

LEAST = np.zeros(1)


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def draw(n: int, rng: np.random.Generator, wrong: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """True scores and predicted ones, which differ on a share of the rows."""
    true = (rng.random((n, 1)) < 0.7).astype(float)
    return true, np.where(rng.random((n, 1)) < wrong, 1 - true, true)


def test_a_model_that_says_nothing_leaves_the_mean_of_the_labels() -> None:
    rng = np.random.default_rng(0)
    true, _ = draw(60, rng)
    flat = Sample(np.ones((60, 1))), Sample(np.ones((500, 1)))
    found = powered_means(true, *flat, least=LEAST)
    assert found.weight == 0
    assert found.mean == pytest.approx(true.mean())


def test_a_model_that_is_always_right_lets_the_inputs_speak() -> None:
    rng = np.random.default_rng(0)
    true, predicted = draw(100, rng, wrong=0.0)
    rest, _ = draw(900, rng)
    found = powered_means(true, Sample(predicted), Sample(rest), least=LEAST)
    assert found.weight == pytest.approx(0.9, abs=0.02)  # 1 / (1 + n/N), a fold of n left out
    assert found.mean == pytest.approx(np.concatenate([true, rest]).mean(), abs=0.003)


def test_a_bias_of_the_model_is_taken_out() -> None:
    rng = np.random.default_rng(0)
    true, _ = draw(2000, rng)
    rest, _ = draw(20_000, rng)
    lenient = Sample(np.minimum(true + 0.25, 1.0)), Sample(np.minimum(rest + 0.25, 1.0))
    found = powered_means(true, *lenient, least=LEAST)
    assert found.mean == pytest.approx(np.concatenate([true, rest]).mean(), abs=0.003)


def test_a_row_has_no_part_in_its_own_weight() -> None:
    """Cross-fitting: with one label changed, the weights of the rows of its fold stay."""
    from assay.evaluate.prediction_powered import _weights

    rng = np.random.default_rng(0)
    true, predicted = draw(50, rng)
    sample = Sample(predicted + rng.normal(0, 1e-3, predicted.shape))
    before = _weights(true, sample, 500)
    moved = true.copy()
    moved[7] += 1e-10  # not so much that the folds are drawn otherwise
    after = _weights(moved, sample, 500)
    assert before[7] == after[7]
    assert (before != after).any()


def test_neither_the_order_of_rows_nor_the_names_of_groups_matter() -> None:
    rng = np.random.default_rng(0)
    true, predicted = draw(80, rng)
    rest, _ = draw(400, rng)
    groups = [f"g{i // 2}" for i in range(80)]
    turned = [f"h{99 - i // 2}" for i in range(80)][::-1]
    one = powered_means(true, Sample(predicted, groups), Sample(rest), least=LEAST)
    other = powered_means(true[::-1], Sample(predicted[::-1], turned), Sample(rest), least=LEAST)
    assert one.mean == pytest.approx(other.mean)
    assert one.high == pytest.approx(other.high)


def test_groups_of_labelled_rows_and_of_inputs_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    true, predicted = (np.repeat(part, 4, axis=0) for part in draw(50, rng))
    rest = np.repeat(draw(100, rng)[1], 4, axis=0)
    by_four = [i // 4 for i in range(400)]
    width = []
    for labelled, unlabelled in ((None, None), (by_four[:200], None), (by_four[:200], by_four)):
        samples = Sample(predicted, labelled), Sample(rest, unlabelled)
        found = powered_means(true, *samples, least=LEAST)
        width.append(float(found.high[0] - found.low[0]))
    assert width[0] < width[1] < width[2]


def test_errors_that_were_not_seen_are_reckoned_with() -> None:
    """Thirty rows on which the model is right, and thousands of inputs: not sure to a hair."""
    true = column(*[1.0] * 24, *[0.0] * 6)
    rest = np.resize(true, (20_000, 1))
    found = powered_means(true, Sample(true), Sample(rest), least=LEAST)
    assert found.low < 0.75
    assert found.high > 0.85


def test_inputs_from_elsewhere_are_noticed() -> None:
    rng = np.random.default_rng(0)
    known, alike = (Sample(draw(n, rng)[1]) for n in (200, 2000))
    easy = Sample((rng.random((2000, 1)) < 0.9).astype(float))
    assert shift_p(known, alike) > 0.01
    assert shift_p(known, easy) < 0.001


def test_few_rows_without_an_error_may_come_from_where_errors_are_rare() -> None:
    """One error in a hundred inputs: of a hundred rows every third sample has none."""
    rest = np.ones((2000, 1))
    rest[:20] = 0
    assert shift_p(Sample(np.ones((100, 1))), Sample(rest)) > 0.2
    assert shift_p(Sample(np.ones((2000, 1))), Sample(rest)) < 0.01
