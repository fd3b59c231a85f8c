"""What a route is worth: quality by cost, beside the best single arm, random and the oracle. Pure.

Every comparison is with what costs the same. Random mixing sends requests to the same arms equally
often, without a look at them; a route that is no better has learned nothing, however good its
quality looks. See docs/providers.md for the formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy

from assay.config.strict import Strict
from assay.evaluate.resampling import studentise, units
from assay.evaluate.stats import Floats, Groups

LEVEL = 0.05
RESAMPLES = 2000
POINTS = 21
"""Shares of the strong arm at which the curve is drawn, as evenly as ties allow."""
BEYOND = 2.0
"""A threshold that no need exceeds, and whose negative every need does."""

_SCORE, _DIFFERENCE, _COVARIANCE = (0.0, 1.0), (-1.0, 1.0), (-3.0, 3.0)
"""Between what bounds an example's part in a mean lies."""
_EQUAL = 1e-9

Call = Literal["better", "worse", "tie"]


class Estimate(Strict):
    """A mean over examples with its 95 % interval."""

    value: float
    low: float
    high: float


class ScoreDifference(Strict):
    """How far a route is ahead, and whether that is more than chance; a `tie` is not."""

    difference: Estimate
    call: Call


class RoutingCurvePoint(Strict):
    """The route at one threshold.

    Attributes:
        share: of the requests that the strong arm answers.
        random: quality of random mixing that costs the same.
    """

    share: float
    quality: Estimate
    random: float


class Oracle(Strict):
    """Always an arm with the best score, the cheapest of those: what no route can surpass."""

    quality: float
    share: float


class RouteFigures(Strict):
    """A route at its own threshold.

    Attributes:
        shares: of the requests, by the arm that answered, in the arms' order.
        quality: mean score.
        random: the route against random mixing that costs the same.
        best_single: the route against the best single arm, whose place among the arms is
            `best_arm`.
    """

    shares: tuple[float, ...]
    quality: Estimate
    random: ScoreDifference
    best_single: ScoreDifference
    best_arm: int
    oracle: Oracle


class RoutingCurve(Strict):
    """A route between two arms over all thresholds.

    Attributes:
        area: quality above random mixing at equal cost, the mean over all shares from 0 to 1.
    """

    points: tuple[RoutingCurvePoint, ...]
    area: ScoreDifference


@dataclass(frozen=True, slots=True)
class ArmCosts:
    """Of a request, in any unit, for the cheap and for the strong arm.

    Attributes:
        both: the cheap arm is asked first and paid for every request (a cascade).
    """

    cheap: float = 0.0
    strong: float = 1.0
    both: bool = False

    def random_share(self, share: Floats) -> Floats:
        """Share of the strong arm in random mixing that costs what the route costs.

        Where the strong arm is not dearer, money says nothing: the shares are equal.
        """
        more = self.strong - self.cheap
        if not self.both or more <= 0:
            return share
        mixed: Floats = np.minimum(share * self.strong / more, 1.0)
        return mixed


def worth(
    scores: Floats,
    answered: Floats,
    *,
    costs: ArmCosts | None = None,
    groups: Groups | None = None,
) -> RouteFigures:
    """A route as it was decided.

    Args:
        scores: [examples, arms], 0 to 1, the cheapest arm first.
        answered: [examples], which arm answered.
        costs: of a cascade of two arms, whose cheap arm is paid too; else each request pays the
            arm that answers it, whatever that costs.
    """
    count, arms = scores.shape
    chosen = np.asarray(answered, dtype=int)
    routed = scores[np.arange(count), chosen]
    went = np.eye(arms)[chosen]
    shares, means = went.mean(axis=0), scores.mean(axis=0)
    # Of each example, its part in the covariance of going to an arm with that arm's score.
    ahead = ((went - shares) * (scores - means)).sum(axis=1)
    if costs is not None:
        gain = scores[:, 1] - scores[:, 0]
        ahead = ahead - float(costs.random_share(shares[1]) - shares[1]) * gain
    best = int(means.argmax())
    columns = np.stack([routed, ahead, routed - scores[:, best]], axis=1)
    quality, by_chance, single = _estimates(columns, groups, [_SCORE, _COVARIANCE, _DIFFERENCE])
    return RouteFigures(
        shares=tuple(float(share) for share in shares),
        quality=quality,
        random=_against(by_chance),
        best_single=_against(single),
        best_arm=best,
        oracle=oracle(scores),
    )


def curve(
    scores: Floats, need: Floats, *, costs: ArmCosts | None = None, groups: Groups | None = None
) -> RoutingCurve:
    """A route between two arms, over all thresholds of what it decides by.

    Args:
        scores: [examples, 2], cheap and strong.
        need: [examples]; those above a threshold go to the strong arm.
    """
    costs = costs or ArmCosts()
    gain = scores[:, 1] - scores[:, 0]
    cuts = _thinned(cuts_of(need), need)
    strong = need[:, None] > cuts[None, :]
    quality = np.where(strong, scores[:, 1:], scores[:, :1])
    area = _area(scores, need, costs)
    columns = np.concatenate([quality, area[:, None]], axis=1)
    *points, whole = _estimates(columns, groups, [_SCORE] * len(cuts) + [_COVARIANCE])
    at = strong.mean(axis=0)
    mixed = scores[:, 0].mean() + costs.random_share(at) * gain.mean()
    return RoutingCurve(
        points=tuple(
            RoutingCurvePoint(share=float(share), quality=point, random=float(random))
            for share, point, random in zip(at, points, mixed, strict=True)
        ),
        area=_against(whole),
    )


def area_above_random(scores: Floats, need: Floats, *, costs: ArmCosts | None = None) -> float:
    """The value of `RoutingCurve.area`, to choose settings by."""
    return float(_area(scores, need, costs or ArmCosts()).mean())


def _area(scores: Floats, need: Floats, costs: ArmCosts) -> Floats:
    """Each example's part in the area: its place times its gain, both about their means."""
    count = len(need)
    gain = scores[:, 1] - scores[:, 0]
    # Where an example stands among all, 0 (last to go to the strong arm) to 1; equals share it.
    place = (scipy.stats.rankdata(need) - 0.5) / count
    shares = (np.arange(count) + 0.5) / count
    dearer = float((costs.random_share(shares) - shares).mean())
    area: Floats = (place - 0.5) * (gain - gain.mean()) - dearer * gain
    return area


def oracle(scores: Floats) -> Oracle:
    """The best arm of each example, the first of those that are equal; scores [examples, arms]."""
    best = scores.argmax(axis=1)
    return Oracle(quality=float(scores.max(axis=1).mean()), share=float((best > 0).mean()))


def cuts_of(need: Floats) -> Floats:
    """Every threshold that divides the examples differently, from all strong to none."""
    values = np.unique(need)
    between = (values[1:] + values[:-1]) / 2
    return np.concatenate([[-BEYOND], between, [BEYOND]])


def threshold_for(
    scores: Floats, need: Floats, *, target: float, most_strong: float | None = None
) -> float:
    """The threshold that does what was asked for on these examples.

    Args:
        target: the fewest requests to the strong arm with at least this share of its quality.
        most_strong: in place of the target, the best quality with at most this share of the
            requests going to the strong arm; of equals the one with the fewest.
    """
    cuts = cuts_of(need)
    share = _share_above(need, cuts)
    # Gains in the order in which examples go to the strong arm, added up.
    order = np.argsort(-need, kind="stable")
    gained = np.concatenate([[0.0], np.cumsum((scores[:, 1] - scores[:, 0])[order])])
    sums = scores[:, 0].sum() + gained[np.rint(share * len(need)).astype(int)]
    if most_strong is not None:
        allowed = np.flatnonzero(share <= most_strong + _EQUAL)
        best = max(allowed, key=lambda i: (round(float(sums[i]), 9), -share[i]))
        return float(cuts[best])
    enough = np.flatnonzero(sums >= target * scores[:, 1].sum() - _EQUAL)
    # All to the strong arm is always enough of its own quality.
    return float(cuts[min(enough, key=lambda i: share[i])])


def reached(
    scores: Floats, routed: Floats, target: float, groups: Groups | None = None
) -> ScoreDifference:
    """A route's scores [examples] against a share of the strong arm's (the last of `scores`)."""
    [ahead] = _estimates((routed - target * scores[:, -1])[:, None], groups, [_DIFFERENCE])
    return _against(ahead)


def _thinned(cuts: Floats, need: Floats) -> Floats:
    """Of many thresholds those nearest to even shares."""
    share = _share_above(need, cuts)
    wanted = np.linspace(1.0, 0.0, POINTS)
    nearest = {int(np.abs(share - value).argmin()) for value in wanted}
    return cuts[sorted(nearest)]


def _share_above(need: Floats, cuts: Floats) -> Floats:
    """[cuts]: the share of the examples whose need is above each."""
    above = len(need) - np.searchsorted(np.sort(need), cuts, side="right")
    return np.asarray(above / len(need), dtype=float)


def _estimates(
    columns: Floats, groups: Groups | None, bounds: Sequence[tuple[float, float]]
) -> list[Estimate]:
    """Mean and interval of each column [examples, columns], each with the bounds of its values."""
    least, most = np.array(bounds).T
    rng = np.random.default_rng(0)
    found = studentise(units(columns, groups), RESAMPLES, rng, least=least, most=most)
    low, high = found.interval(LEVEL)
    return [
        Estimate(value=float(mean), low=float(below), high=float(above))
        for mean, below, above in zip(found.mean, low, high, strict=True)
    ]


def _against(difference: Estimate) -> ScoreDifference:
    call: Call = "tie"
    if difference.low > 0:
        call = "better"
    elif difference.high < 0:
        call = "worse"
    return ScoreDifference(difference=difference, call=call)
