"""What is decided before the holdout is opened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assay.agent.agent import Agent
from assay.candidates.building import Candidate
from assay.compare.entries import Terms
from assay.compare.planning import detectable_effect, discordance, planned_effect, write_plan
from assay.compare.report.detectable import why_not_as_stated
from assay.config import Config
from tests.compare.sample import sample_result

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


def test_a_fine_tuned_best_needs_the_lead_that_shows_its_gain() -> None:
    """Only the best on validation is asked: a fine-tuned one behind it changes nothing."""
    best, behind = scored(*[1.0] * 16, *[0.0] * 4), scored(*[0.0] * 3, *[1.0] * 11, *[0.0] * 6)

    def planned(*, best_tuned: bool, behind_tuned: bool) -> float:
        built = [
            replace(best, name="best", fine_tuned=best_tuned),
            replace(behind, name="behind", fine_tuned=behind_tuned),
        ]
        plan = write_plan(built, CONFIG, rows=100, groups=None, opening=1)
        return plan.minimum_detectable_effect

    plain = planned(best_tuned=False, behind_tuned=False)
    assert planned(best_tuned=False, behind_tuned=True) == plain
    one, two = (
        planned(best_tuned=True, behind_tuned=False),
        planned(best_tuned=True, behind_tuned=True),
    )
    assert plain + 0.9 * CONFIG.margin < one < two


def test_groups_and_a_later_opening_need_a_larger_lead_and_many_rows_none() -> None:
    terms = Terms(discordance=0.13)
    one = planned_effect(200, None, terms)
    assert 0.05 < one < 0.055
    assert planned_effect(200, 40, terms) > one
    assert planned_effect(200, None, replace(terms, opening=2)) > one
    assert planned_effect(5000, None, terms) == 0.0


def test_why_it_can_show_less_than_was_stated_before_is_said_and_only_then() -> None:
    both = CONFIG.model_copy(update={"candidates": ["prompt", "few-shot"], "baselines": False})
    stated = detectable_effect(both, 100, None, 1)

    def said(*wrong: int) -> str | None:
        """Of two candidates, each right but on so many rows of its own, of 100."""
        built, start = [], 0
        for name, count in zip(("prompt", "few-shot", "fine-tune"), wrong, strict=False):
            scores = [float(not start <= i < start + count) for i in range(100)]
            built.append(replace(scored(*scores), name=name, fine_tuned=name == "fine-tune"))
            start += count
        plan = write_plan(built, both, rows=100, groups=None, opening=1)
        assert plan.stated_effect == stated
        effect = plan.minimum_detectable_effect
        sample = sample_result()
        update = {"plan": plan, "minimum_detectable_effect": effect}
        return why_not_as_stated(sample.model_copy(update=update))

    assert said(0, 0) is None, "unknown, as before"
    more = said(25, 20)
    assert more is not None
    assert f"about {100 * stated:.0f} points" in more
    assert "disagree on 30 in 100" in more
    assert "disagreed on 45 in 100" in more
    assert "fine-tuned" not in more
    tuned = said(25, 20, 19)
    assert tuned is not None
    assert "gain must be shown" in tuned
