"""The result's part on routes: whom they asked, and what that was worth."""

from __future__ import annotations

from assay.config.strict import ClosedModel
from assay.evaluate.routing import RouteFigures, RoutingCurve, ScoreDifference


class RoutedArm(ClosedModel):
    """One agent that a route asks, measured on the whole holdout by itself.

    Attributes:
        answers: share of the holdout whose answer it gave.
        asked: share of the holdout it was asked; in a cascade the cheap arm is asked all.
        cost_per_1000: of 1000 more answers; a machine that is there anyway is not counted.
    """

    name: str
    agent: str
    score: float
    answers: float
    asked: float
    cost_per_1000: float | None = None


class Routing(ClosedModel):
    """What a route was worth on the holdout.

    Attributes:
        kind: `rules`, `cascade` or `learned`.
        arms: the cheapest first.
        target: share of the strong arm's quality that its threshold was chosen for on validation;
            null where something else was asked for.
        against_target: how far the route is above that share of the strong arm's quality.
        worth: at the threshold that was chosen.
        curve: over all thresholds; null of a route by rules.
    """

    candidate: str
    kind: str
    arms: list[RoutedArm]
    target: float | None = None
    against_target: ScoreDifference | None = None
    worth: RouteFigures
    curve: RoutingCurve | None = None
