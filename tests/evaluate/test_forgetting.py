"""What a tuned version lost: signs, intervals, and nothing found where nothing changed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.evaluate.forgetting import GeneralAbility, InstructionAnswer, ParagraphLoss, forgetting

LOSSES = st.lists(st.floats(0.5, 900.0), min_size=40, max_size=40)
FOLLOWED = st.lists(st.booleans(), min_size=40, max_size=40)


def account(losses: list[float], followed: list[bool], probe: str = "p") -> GeneralAbility:
    """Paragraphs of 50 to 89 tokens of two kinds, instructions of two kinds."""
    return GeneralAbility(
        probe=probe,
        paragraphs=tuple(
            ParagraphLoss(kind=("news", "code")[i % 2], tokens=50 + i, nats=nats)
            for i, nats in enumerate(losses)
        ),
        instructions=tuple(
            InstructionAnswer(
                kind=("list", "JSON")[i % 2],
                instruction=f"do {i}",
                answer=f"{'done' if right else 'not'} {i}",
                followed=right,
            )
            for i, right in enumerate(followed)
        ),
    )


@given(LOSSES, FOLLOWED)
@settings(max_examples=25)
def test_equal_accounts_differ_by_exactly_nothing(losses: list[float], right: list[bool]) -> None:
    found = forgetting(account(losses, right), account(losses, right))
    assert (found.text.lost, found.text.low, found.text.high) == (0.0, 0.0, 0.0)
    assert found.instructions.lost == 0.0
    assert found.instructions.low <= 0.0 <= found.instructions.high
    assert not found.worse
    assert found.forgotten == ()


@given(LOSSES, LOSSES, FOLLOWED, FOLLOWED)
@settings(max_examples=25)
def test_what_one_lost_the_other_gained(
    before: list[float], after: list[float], was: list[bool], now: list[bool]
) -> None:
    there = forgetting(account(before, was), account(after, now))
    back = forgetting(account(after, now), account(before, was))
    for one, other in ((there.text, back.text), (there.instructions, back.instructions)):
        assert one.lost == pytest.approx(-other.lost)
        assert one.low - 1e-9 <= one.lost <= one.high + 1e-9
        # Resampled in another order, so that the ends agree up to Monte Carlo error.
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=0.05)
        assert math.isfinite(one.low)
        assert math.isfinite(one.high)
    assert there.text.lost == pytest.approx(there.text.tuned - there.text.base, abs=1e-9)
    lost = there.instructions.base - there.instructions.tuned
    assert there.instructions.lost == pytest.approx(lost, abs=1e-9)


def test_tokens_weigh_paragraphs_and_kinds_are_kept_apart() -> None:
    before = account([50.0 + i for i in range(40)], [True] * 40)
    after = account(
        [(50.0 + i) * (2 if i % 2 else 1) for i in range(40)], [True] * 20 + [False] * 20
    )
    found = forgetting(before, after)
    assert found.text.base == pytest.approx(1.0)
    assert [(k.kind, k.base, k.tuned) for k in found.text.kinds] == [
        ("news", pytest.approx(1.0), pytest.approx(1.0)),
        ("code", pytest.approx(1.0), pytest.approx(2.0)),
    ]
    assert found.text.low > 0
    assert found.worse
    assert [(k.base, k.tuned) for k in found.instructions.kinds] == [(1.0, 0.5), (1.0, 0.5)]
    assert found.instructions.lost == 0.5
    assert 0.3 < found.instructions.low < 0.5 < found.instructions.high < 0.7


def test_one_changed_answer_is_no_loss_that_shows() -> None:
    losses = [100.0] * 40
    found = forgetting(account(losses, [True] * 40), account(losses, [False] + [True] * 39))
    assert found.instructions.lost == pytest.approx(1 / 40)
    assert found.instructions.low <= 0
    assert not found.worse


def test_what_is_shown_as_forgotten_is_of_different_kinds() -> None:
    losses = [100.0] * 40
    found = forgetting(account(losses, [True] * 40), account(losses, [False] * 40))
    assert [one.instruction for one in found.forgotten] == ["do 0", "do 1"]
    assert found.forgotten[0].before == "done 0"
    assert found.forgotten[0].after == "not 0"


def test_two_probes_are_not_compared() -> None:
    one, other = (account([1.0] * 40, [True] * 40, probe) for probe in "ab")
    with pytest.raises(ValueError, match="different probes"):
        forgetting(one, other)
