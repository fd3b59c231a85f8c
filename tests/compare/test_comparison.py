"""What is decided before the holdout is opened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assay.agent.agent import Agent
from assay.candidates.building import Candidate
from assay.compare.comparison import discordance


def scored(*scores: float, floor: bool = False) -> Candidate:
    made = Candidate(Agent(model="m"), (), scores)
    return replace(made, floor=floor)


def test_the_discordance_is_that_of_the_pair_that_disagrees_most() -> None:
    right, wrong, half = [1.0] * 10, [0.0] * 10, [1.0] * 5 + [0.0] * 5
    assert discordance([scored(*half), scored(*right)]) == pytest.approx(0.5)
    assert discordance([scored(*half), scored(*right), scored(*wrong)]) == pytest.approx(1.0)
    assert discordance([scored(*half), scored(*right, floor=True)]) is None


def test_what_a_handful_of_rows_or_equal_failures_show_is_unknown() -> None:
    """Neither is a reason to promise that a difference of 0 points could be shown."""
    assert discordance([scored(1.0), scored(0.0)]) is None
    assert discordance([scored(*[0.0] * 10), scored(*[0.0] * 10)]) is None
