"""The preference losses against numbers worked out by hand, and what their gradients do."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.train.tiny import EOS, rows, tiny_model
from torch import Tensor

from assay.config import FineTune
from assay.train.methods import dpo, ipo, kto, orpo
from assay.train.methods.kto import ThumbObjective, mismatch
from assay.train.preference import PairLogps, PairObjective
from assay.train.sequences import TrainingSequence
from assay.train.step import evaluate, sequence_logps
from assay.train.units import Pair, Thumb

LOGPS = st.floats(-60, -0.5)


def _row(prompt: int, answer: int, weight: float = 1.0) -> TrainingSequence:
    ids = [*range(3, 3 + prompt), *range(50, 50 + answer - 1), EOS]
    return TrainingSequence(ids, [False] * prompt + [True] * answer, weight)


def _pair(reference: tuple[float, float] | None = None, weight: float = 1.0) -> Pair:
    return Pair((_row(5, 2, weight), _row(5, 4, weight)), reference)


def _t(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _known(chosen: Tensor, rejected: Tensor, *tokens: float) -> PairLogps:
    """Pairs whose reference is 0: their log-ratios are their log-probabilities."""
    zero = torch.zeros_like(chosen)
    return PairLogps(chosen, rejected, zero, zero, *(_t(n) for n in tokens or (1.0, 1.0)))


def test_dpo_by_hand() -> None:
    # beta (r_c - r_l) = 0.5 * (1 - (-1)) = 1; -log sigmoid(1) = log(1 + 1/e) = 0.3132617
    assert float(dpo.loss(_known(_t(1.0), _t(-1.0)), 0.5)) == pytest.approx(0.3132616875)
    assert float(dpo.loss(_known(_t(0.0), _t(0.0)), 0.1)) == pytest.approx(math.log(2))


def test_ipo_by_hand() -> None:
    # the margin aimed at is 1 / (2 * 0.25) = 2; (3 - (-1) - 2)^2 = 4
    assert float(ipo.loss(_known(_t(3.0), _t(-1.0)), 0.25)) == pytest.approx(4.0)
    assert float(ipo.loss(_known(_t(2.0), _t(0.0)), 0.25)) == 0.0


def test_kto_by_hand() -> None:
    liked = torch.tensor([True, False])
    # up: 1 - sigmoid(0.5 * (3 - 1)) = 0.2689414; down: 2 * (1 - sigmoid(0.5 * (1 - 3))) = 1.4621172
    losses = kto.loss(_t(3.0, 3.0), liked, _t(1.0), 0.5, up=1.0, down=2.0)
    assert losses.tolist() == pytest.approx([0.2689414214, 1.4621171573])


def test_kto_shift_is_the_mean_and_never_negative() -> None:
    assert kto.shift_of(_t(1.0, 4.0)) == 2.5
    assert kto.shift_of(_t(-3.0, 1.0)) == 0.0


def test_orpo_by_hand() -> None:
    # mean probabilities 1/2 and 1/5: odds 1 and 1/4, log odds ratio log 4;
    # log 2 - 0.1 log sigmoid(log 4) = log 2 + 0.1 log(5/4) = 0.7154615
    chosen, rejected = _t(2 * math.log(0.5)), _t(3 * math.log(0.2))
    loss = orpo.loss(_known(chosen, rejected, 2.0, 3.0), 0.1)
    assert float(loss) == pytest.approx(math.log(2) + 0.1 * math.log(1.25))


def test_orpo_survives_an_answer_that_is_certain() -> None:
    chosen = _t(0.0).requires_grad_()
    loss = orpo.loss(_known(chosen, _t(-4.0), 2.0, 2.0), 0.1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert math.isfinite(float(loss.detach()))
    assert chosen.grad is not None
    assert math.isfinite(float(chosen.grad))


@given(LOGPS, LOGPS, LOGPS, LOGPS, st.floats(0.01, 2))
def test_pairs_equal_trls_formulas(
    chosen: float, rejected: float, ref_chosen: float, ref_rejected: float, beta: float
) -> None:
    """TRL's order of operations, in numpy: log-ratios of the two models first (dpo), odds by
    log1mexp (orpo); for ipo the same without TRL's division by the lengths."""
    pair = _pair((ref_chosen, ref_rejected))
    logps = torch.tensor([chosen, rejected], dtype=torch.float64)
    logits = (chosen - rejected) - (ref_chosen - ref_rejected)
    sigmoid = np.logaddexp(0.0, -beta * logits)
    assert float(PairObjective(dpo.loss, beta)(logps, [pair])) == pytest.approx(
        sigmoid, rel=1e-9, abs=1e-12
    )
    squared = (logits - 1 / (2 * beta)) ** 2
    assert float(PairObjective(ipo.loss, beta)(logps, [pair])) == pytest.approx(
        squared, rel=1e-7, abs=1e-9
    )
    mean_c, mean_r = chosen / 2, rejected / 4
    odds = (mean_c - mean_r) - (np.log1p(-np.exp(mean_c)) - np.log1p(-np.exp(mean_r)))
    expected = -mean_c + beta * np.logaddexp(0.0, -odds)
    assert float(PairObjective(orpo.loss, beta)(logps, [pair])) == pytest.approx(expected, rel=1e-9)


@given(LOGPS, LOGPS, st.booleans(), st.floats(0, 10), st.floats(0.01, 2))
def test_thumbs_equal_trls_formula(
    logp: float, reference: float, liked: bool, shift: float, beta: float
) -> None:
    thumb = Thumb((_row(5, 3),), (reference, -7.0), liked, _row(5, 2))
    sign = 1 if liked else -1
    expected = 1 - 1 / (1 + np.exp(-beta * sign * ((logp - reference) - shift)))
    loss = ThumbObjective(beta, _t(shift), 1.0, 1.0)(_t(logp), [thumb])
    assert float(loss) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("method", [dpo, ipo, orpo])
def test_the_gradient_raises_the_chosen_and_lowers_the_rejected(method: Any) -> None:
    logps = torch.tensor([-3.0, -4.0], requires_grad=True)
    PairObjective(method.loss, 0.1)(logps, [_pair((-3.0, -4.0))]).backward()  # type: ignore[no-untyped-call]
    assert logps.grad is not None
    assert logps.grad[0] < 0 < logps.grad[1]


def test_ipo_turns_back_once_the_margin_is_reached() -> None:
    logps = torch.tensor([0.0, -20.0], requires_grad=True)  # margin 20, aimed at 5
    PairObjective(ipo.loss, 0.1)(logps, [_pair((0.0, 0.0))]).backward()  # type: ignore[no-untyped-call]
    assert logps.grad is not None
    assert logps.grad[0] > 0 > logps.grad[1]


def test_the_gradient_of_a_thumb_follows_it() -> None:
    logps = torch.tensor([-3.0, -3.0], requires_grad=True)
    thumbs = [
        Thumb((_row(5, 3),), (-3.0, 0.0), True, _row(5, 2)),
        Thumb((_row(5, 3),), (-3.0, 0.0), False, _row(5, 2)),
    ]
    ThumbObjective(0.1, torch.tensor(0.0), 1.0, 3.0)(logps, thumbs).backward()  # type: ignore[no-untyped-call]
    assert logps.grad is not None
    assert logps.grad.tolist() == pytest.approx([-0.025, 0.075])  # 0.1 * 1/4, and by weight


@pytest.mark.parametrize("method", [dpo, ipo, orpo])
def test_pairs_are_summed_by_weight(method: Any) -> None:
    objective = PairObjective(method.loss, 0.2)
    logps = torch.tensor([-3.0, -4.0, -2.0, -9.0])
    light, heavy = _pair((-3.5, -3.0)), _pair((-2.5, -7.0), weight=3.0)
    one = float(objective(logps[:2], [light]))
    other = float(objective(logps[2:], [_pair((-2.5, -7.0))]))
    assert float(objective(logps, [light, heavy])) == pytest.approx(one + 3 * other)


def test_the_mismatched_answer_belongs_to_another_prompt() -> None:
    a, b = [5, 6, 7], [8, 9]
    made = [
        Thumb((TrainingSequence([*a, 20, EOS], [False] * 3 + [True] * 2),)),
        Thumb((TrainingSequence([*a, 30, EOS], [False] * 3 + [True] * 2),), desirable=False),
        Thumb((TrainingSequence([*b, 40, 41, EOS], [False] * 2 + [True] * 3),)),
    ]
    ids = [thumb.measured[-1].ids for thumb in mismatch(made, 100)]
    assert ids == [[*a, 40, 41, EOS], [*a, 40, 41, EOS], [*b, 20, EOS]]
    short = mismatch(made, 5)[0].measured[-1]
    assert (short.ids, short.trained) == ([*a, 40, 41], [False] * 3 + [True] * 2)
    alone = mismatch(made[:1], 100)[0].measured[-1]
    assert alone.ids == made[0].rows[0].ids


def test_the_shift_of_kto_is_that_of_the_whole_step_however_it_is_cut() -> None:
    """Two thirds of the thumbs point up; the rarer kind weighs twice as much."""
    model = tiny_model()
    thumbs = [Thumb((row,), desirable=place % 3 > 0) for place, row in enumerate(rows(9))]
    units = [
        replace(u, reference=(-20.0, -21.0 - place)) for place, u in enumerate(mismatch(thumbs, 64))
    ]
    settings = FineTune(method="kto", beta=0.05)
    objective = kto.objective(settings, units)(model, units)
    assert isinstance(objective, ThumbObjective)
    assert (objective.up, objective.down) == (1.0, 2.0)
    moved = sequence_logps(model, [u.measured[-1] for u in units])
    expected = max(0.0, sum(float(v) + 21.0 + i for i, v in enumerate(moved)) / 9)
    assert float(objective.shift) == pytest.approx(expected, rel=1e-5)
    assert objective.shift > 0
    whole = evaluate(model, units, objective, 10_000)
    cut = evaluate(model, units, objective, 40)
    assert cut == pytest.approx(whole, rel=1e-5)
