"""What is decided before the holdout is opened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assay.agent.agent import Agent
from assay.candidates.building import Candidate
from assay.compare.planning import discordance, write_plan
from assay.config import Config

CONFIG = Config.model_validate(
    {
        "name": "support",
        "task": "text",
        "data": {"file": "rows.jsonl", "columns": {"input": ["a"], "output": ["b"]}},
        "graders": [{"name": "exact"}],
        "primary": "exact",
        "candidates": ["prompt"],
    }
)


def scored(*scores: float, floor: bool = False) -> Candidate:
    made = Candidate(Agent(model="m"), (), scores)
    return replace(made, floor=floor)


def test_the_discordance_is_that_of_the_two_best() -> None:
    """It is between them that the holdout has to decide; a poor third one costs no promise."""
    best, next_best = [1.0] * 9 + [0.0], [0.0] + [1.0] * 8 + [0.0]
    assert discordance([scored(*next_best), scored(*best)]) == pytest.approx(0.1)
    assert discordance([scored(*[0.0] * 10), scored(*next_best), scored(*best)]) == pytest.approx(
        0.1
    )
    assert discordance([scored(*best), scored(*next_best, floor=True)]) is None


def test_what_a_handful_of_rows_or_equal_failures_show_is_unknown() -> None:
    """Neither is a reason to promise that a difference of 0 points could be shown."""
    assert discordance([scored(1.0), scored(0.0)]) is None
    assert discordance([scored(*[0.0] * 10), scored(*[0.0] * 10)]) is None


def test_the_winner_on_validation_stands_in_the_plan() -> None:
    """Before the holdout is opened: what it may be named after is nobody's choice afterwards."""
    built = [
        replace(scored(*[1.0] * 12, floor=True), name="floor"),
        replace(scored(*[0.0] * 4, *[1.0] * 8), name="better"),
        replace(scored(*[0.0] * 6, *[1.0] * 6), name="worse"),
        replace(scored(), name="outside"),
    ]
    plan = write_plan(built, CONFIG, rows=100, groups=None, opening=1)
    assert plan.tested_first == "better"
    assert write_plan(built[:1], CONFIG, rows=100, groups=None, opening=1).tested_first is None
    without_floor = write_plan(built[1:], CONFIG, rows=100, groups=None, opening=1)
    assert plan.minimum_detectable_effect == without_floor.minimum_detectable_effect
