"""Whether a release has gone stale: fresh labelled answers against the score it was promoted with.

The score at promotion is itself uncertain, and fresh answers are looked at again and again. Both
are paid for: for every score that the release may truly have had at promotion, the doubt that is
left about it and a bet that is valid at any time are joined (`evaluate/sequential.py`). While
nothing has changed the chance that `stale` is ever said is at most alpha; while it has fallen by
the drop, so is that of `holds`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, Literal

import numpy as np

from assay.compare.result import Result
from assay.compare.settling import two_digits
from assay.errors import AssayError, UsageError
from assay.evaluate.sequential import (
    MOST_LABELS,
    Bounds,
    bounds_below,
    confidence_sequence,
    is_below,
    labels_needed,
)
from assay.evaluate.stats import Z_95, Floats
from assay.release.labels import Labels
from assay.release.releases import Release

ALPHA = 0.05
DROP = 0.1
"""The fall that a release is watched for, where nobody says otherwise."""
MANY_LABELS = 1_000
"""More than this are asked for only beside what would take fewer."""

Outcome = Literal["stale", "holds", "open"]


@dataclass(frozen=True, slots=True)
class Reference:
    """The score at promotion.

    Attributes:
        low, high: ends of its 95 % interval; both the score where it is not in doubt.
        width: how widely scores spread, 0 to 1: 1 for scores that are 0 or 1.
        chosen_among: so many candidates; whoever is chosen of them, chance has favoured.
        chosen_low: the lower end that reckons with that, where the verdict states it.
    """

    score: float
    low: float
    high: float
    width: float = 1.0
    chosen_among: int = 1
    chosen_low: float | None = None

    @property
    def error(self) -> float:
        """Standard error of the score."""
        return (self.high - self.low) / (2 * Z_95)

    def stale_bounds(self) -> Bounds:
        """What shows that fresh scores have fallen."""
        return bounds_below(self.score, self.low, self.high, ALPHA, chosen_among=self.chosen_among)

    def holds_bounds(self, drop: float) -> Bounds:
        """What shows of 1 − scores that they have not fallen by `drop`."""
        turned = bounds_below(1 - self.score, 1 - self.high, 1 - self.low, ALPHA)
        return [(min(m + drop, 1.0), goal) for m, goal in turned]


@dataclass(frozen=True, slots=True)
class WatchReport:
    """What the labels say.

    Attributes:
        outcome: `stale`: the mean has fallen below what it had at promotion. `holds`: it has not
            fallen by `drop`. `open`: neither is shown yet.
        score, low, high: at promotion, with the 95 % interval.
        mean, mean_low, mean_high: of the labels, with their 95 % confidence sequence; None
            before the first.
        needed: about so many more labels settle, with a power of 0.8, whether it has fallen by
            `drop` or, after the first ones, what these lean to; None when it is settled, or when
            more would be needed than can be had.
        sentence: all of it in words.
    """

    release: str
    agent: str
    outcome: Outcome
    score: float
    low: float
    high: float
    drop: float
    labels: int
    skipped: int
    waiting: int
    mean: float | None
    mean_low: float | None
    mean_high: float | None
    needed: int | None
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def reference(result: Result | None, release: Release, against: float | None) -> Reference:
    """What fresh answers are held against.

    Args:
        result: of the comparison that the release was promoted on; None when it was forced.
        against: a score stated by the user instead.

    Raises:
        UsageError: the stated score is no score.
        AssayError: nothing was stated, and no comparison measured the agent.
    """
    if against is not None:
        if not 0 < against <= 1:
            raise UsageError(
                f"{against:g} is not a score.", fix="Give a number above 0 and at most 1."
            )
        return Reference(against, against, against)
    found = [c for c in (result.candidates if result else []) if c.agent == release.agent]
    if result is None or not found or found[0].score is None:
        raise AssayError(
            f"{release.name} was promoted without a comparison, so there is no score to "
            "compare fresh answers with.",
            fix="Give one, such as --against 0.8.",
        )
    score, low, high = found[0].score, found[0].low or 0.0, found[0].high or 1.0
    rivals = sum(c.score is not None and not c.floor for c in result.candidates)
    named = found[0].name in (result.verdict.recommend, result.verdict.use_meanwhile)
    chosen_low = result.verdict.score_low if named else None
    at = Reference(score, low, high, chosen_among=max(rivals, 1), chosen_low=chosen_low)
    most = score * (1 - score)
    width = min(1.0, at.error * math.sqrt(result.data.holdout / most)) if most > 0 else 1.0
    return replace(at, width=width)


def watch(
    release: Release, labels: Labels, held_against: Reference, drop: float = DROP
) -> WatchReport:
    """Say whether a release has gone stale, or how many labels that still takes.

    Args:
        drop: the fall, as a difference of scores, that is to be noticed.

    Raises:
        UsageError: the drop is no difference of scores.
    """
    if not 0 < drop < 1:
        raise UsageError(
            f"{drop:g} is not a valid fall of a score.", fix="Give, for example, 0.1 for 10 points."
        )
    scores = np.asarray(labels.scores, dtype=float)
    outcome: Outcome = "open"
    if is_below(scores, held_against.stale_bounds(), ALPHA):
        outcome = "stale"
    elif is_below(1 - scores, held_against.holds_bounds(drop), ALPHA):
        outcome = "holds"
    low, high = confidence_sequence(labels.scores, ALPHA)
    counts = _count_labels(scores, held_against, drop) if outcome == "open" else None
    return WatchReport(
        release=release.name,
        agent=release.label,
        outcome=outcome,
        score=held_against.score,
        low=held_against.low,
        high=held_against.high,
        drop=drop,
        labels=len(scores),
        skipped=labels.skipped,
        waiting=labels.waiting,
        mean=fmean(scores) if len(scores) else None,
        mean_low=low if len(scores) else None,
        mean_high=high if len(scores) else None,
        needed=None if counts is None else counts.needed,
        sentence=_sentence(outcome, scores, held_against, drop, (low, high), counts),
    )


@dataclass(frozen=True, slots=True)
class _LabelCounts:
    """About so many labels settle it, beside those there are, to two digits; None: more than can be
    had.

    Attributes:
        to_stale: where it has fallen by the drop.
        to_hold: where it is as good as at promotion.
        leans_to_hold: which of both the labels so far are nearer to; None before the first.
    """

    to_stale: int | None
    to_hold: int | None
    leans_to_hold: bool | None

    @property
    def needed(self) -> int | None:
        """Labels that show what the labels so far lean to; before the first, that show either."""
        if self.leans_to_hold is not None:
            return self.to_hold if self.leans_to_hold else self.to_stale
        if self.to_stale is None or self.to_hold is None:
            return None
        return max(self.to_stale, self.to_hold)


def _count_labels(scores: Floats, at: Reference, drop: float) -> _LabelCounts:
    """Labels that show that it has fallen by the drop, or that it has not; none do where it cannot
    fall so far."""
    if drop > at.score:
        return _LabelCounts(None, None, None)
    fallen = at.score - drop

    def needed(scores: Floats, bounds: Bounds, mean: float) -> int | None:
        variance = at.width**2 * mean * (1 - mean)
        found = labels_needed(scores, bounds, mean, variance, ALPHA, error=at.error)
        return two_digits(found) if found < MOST_LABELS else None

    return _LabelCounts(
        needed(scores, at.stale_bounds(), fallen),
        needed(1 - scores, at.holds_bounds(drop), 1 - at.score),
        bool(scores.mean() > (at.score + fallen) / 2) if len(scores) else None,
    )


def _sentence(
    outcome: Outcome,
    scores: Floats,
    at: Reference,
    drop: float,
    interval: tuple[float, float],
    counts: _LabelCounts | None,
) -> str:
    promoted = f"{_of(at.score)} at promotion"
    if at.error:
        low = at.low if at.chosen_low is None else at.chosen_low
        picked = at.chosen_low is not None and at.chosen_among > 1
        chosen = (
            f", as the best of the {at.chosen_among} that could be recommended" if picked else ""
        )
        promoted += f" (likely {_of(low)} to {_of(at.high)}{chosen})"
    seen = f"no answer has been judged yet. The score was {promoted}"
    if len(scores):
        low, high = interval
        fresh = (
            "1 fresh answer scores" if len(scores) == 1 else f"{len(scores)} fresh answers score"
        )
        seen = (
            f"{fresh} {_of(fmean(scores))} of 100 on average (likely "
            f"{_of(low)} to {_of(high)}), against {promoted}"
        )
    if outcome == "stale":
        return f"Stale: {seen}. Compare again on newer examples."
    if counts is None:
        return f"Holds: {seen}; it has not fallen by {_of(drop)} points."
    return f"Undecided: {seen}. {_open_sentence(counts, at, drop)}"


def _open_sentence(counts: _LabelCounts, at: Reference, drop: float) -> str:
    """How many labels would show what. Both cases are told before the first label and the one that
    the labels lean to after it, in the same words: a count is of one case."""
    points, needed = f"{_of(drop)} points", counts.needed
    if drop > at.score:
        return (
            f"A score of {_of(at.score)} cannot fall by {points}, so there is no such fall to "
            "watch for."
        )
    is_first = counts.leans_to_hold is None
    if is_first and needed is not None and needed <= MANY_LABELS:
        return f"About {needed:,} judged answers will show whether it has fallen by {points}."
    more = "" if is_first else " more"

    def takes(count: int | None) -> str:
        known = f"about {count:,}" if count is not None else f"more than {MOST_LABELS:,}"
        return f"it takes {known}{more} judged answers to show"

    holds = f"If it is still as good, {takes(counts.to_hold)} that it has not fallen by {points}."
    uncertain = ", because the score at promotion is itself uncertain" if at.error else ""
    fallen = f"If it has fallen by {points}, {takes(counts.to_stale)} it{uncertain}."
    said = holds if counts.leans_to_hold else fallen
    if is_first:
        said = f"{holds} {fallen}"
    fewer = _fewer(at, drop) if needed is None or needed > MANY_LABELS else ""
    return f"{said}{fewer}"


def _fewer(at: Reference, drop: float) -> str:
    """What would take fewer labels: a larger drop, or a score that is known from more examples."""
    said = ""
    for larger in (1.5 * drop, 2 * drop, 3 * drop, 5 * drop):
        if larger < at.score and (needed := _few_needed(at, larger)):
            said += (
                f" With about {needed:,} judged answers, a fall of {_of(larger)} points can be "
                "shown."
            )
            break
    for times in (2, 4, 10, 25):
        low, high = (at.score + (end - at.score) / math.sqrt(times) for end in (at.low, at.high))
        if at.error and (needed := _few_needed(replace(at, low=low, high=high), drop)):
            said += (
                f" To notice {_of(drop)} points, compare on {times} times as many examples first: "
                f"then about {needed:,} judged answers are enough."
            )
            break
    return said


def _few_needed(at: Reference, drop: float) -> int | None:
    """Labels from the first one on; None: too many to be of help."""
    needed = _count_labels(np.empty(0), at, drop).needed
    return needed if needed is not None and needed <= MANY_LABELS else None


def _of(score: float) -> str:
    return f"{round(100 * score, 1):g}"
