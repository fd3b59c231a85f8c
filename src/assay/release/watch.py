"""Whether a release has gone stale: fresh labelled answers against the score it was promoted with.

The score at promotion is itself uncertain, and fresh answers are looked at again and again. Both
are paid for: a release is called stale when its fresh mean is shown, at alpha/2 and valid at any
time, to lie below the lower end of the interval it had on the holdout (another alpha/2). While
nothing has changed the chance that this is ever said is at most alpha.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal

from assay.compare.result import Result
from assay.errors import AssayError, UsageError
from assay.evaluate.sequential import (
    MOST_LABELS,
    confidence_sequence,
    is_above,
    is_below,
    labels_needed,
    stake_above,
    stake_below,
)
from assay.release.labels import Labels
from assay.release.releases import Release

ALPHA = 0.05
DROP = 0.1
"""The fall that a release is watched for, where nobody says otherwise."""
_Z = 1.96  # of the 95 % interval that a comparison stores

Outcome = Literal["stale", "holds", "open"]


@dataclass(frozen=True, slots=True)
class Reference:
    """The score at promotion.

    Attributes:
        low: lower end of its 95 % interval.
        width: how widely scores spread, 0 to 1: 1 for scores that are 0 or 1.
    """

    score: float
    low: float
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class WatchReport:
    """What the labels say.

    Attributes:
        outcome: `stale`: the mean has fallen below what it had at promotion. `holds`: it has not
            fallen by `drop`. `open`: neither is shown yet.
        score, low: at promotion.
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
            raise UsageError(f"{against:g} is no score.", fix="Give more than 0, at most 1.")
        return Reference(against, against)
    found = [c for c in (result.candidates if result else []) if c.agent == release.agent]
    if result is None or not found or found[0].score is None or found[0].low is None:
        raise AssayError(
            f"{release.name} was promoted without a comparison, so there is no score that fresh "
            "answers could have fallen from.",
            fix="State one with --against 0.8.",
        )
    score, low = found[0].score, found[0].low
    most = score * (1 - score)
    error = ((found[0].high or score) - low) / (2 * _Z)
    width = min(1.0, math.sqrt(error**2 * result.data.holdout / most)) if most > 0 else 1.0
    return Reference(score, low, width)


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
        raise UsageError(f"{drop:g} is no fall of a score.", fix="Give 0.1 for 10 points.")
    scores, level = list(labels.scores), ALPHA / 2
    floor = max(held_against.score - drop, 0.0)
    outcome: Outcome = "open"
    if is_below(scores, held_against.low, level):
        outcome = "stale"
    elif is_above(scores, floor, level):
        outcome = "holds"
    low, high = confidence_sequence(scores, ALPHA)
    needed = None if outcome != "open" else _needed(scores, held_against, floor, level)
    return WatchReport(
        release=release.name,
        agent=release.label,
        outcome=outcome,
        score=held_against.score,
        low=held_against.low,
        drop=drop,
        labels=len(scores),
        skipped=labels.skipped,
        waiting=labels.waiting,
        mean=fmean(scores) if scores else None,
        mean_low=low if scores else None,
        mean_high=high if scores else None,
        needed=needed if needed is None or needed < MOST_LABELS else None,
        sentence=_sentence(outcome, scores, held_against, drop, (low, high), needed),
    )


def _needed(scores: list[float], at: Reference, floor: float, level: float) -> int:
    """Labels that show what the labels so far lean to; before the first, that show either."""
    seen = len(scores)
    below = float(stake_below(scores, at.low, level)[-1]) if seen else 0.0
    above = float(stake_above(scores, floor, level)[-1]) if seen else 0.0
    fallen, kept = at.width**2 * floor * (1 - floor), at.width**2 * at.score * (1 - at.score)
    to_stale = labels_needed(at.low, floor, fallen, level, stake=below, seen=seen)
    to_hold = labels_needed(1 - floor, 1 - at.score, kept, level, stake=above, seen=seen)
    if not seen:
        return max(to_stale, to_hold)
    return to_hold if above >= below else to_stale


def _sentence(
    outcome: Outcome,
    scores: list[float],
    at: Reference,
    drop: float,
    interval: tuple[float, float],
    needed: int | None,
) -> str:
    promoted = f"{_of(at.score)} at promotion"
    if at.low < at.score:
        promoted += f" (at least {_of(at.low)})"
    seen = "No answer has been labelled yet"
    if scores:
        low, high = interval
        seen = (
            f"{len(scores)} fresh answers score {_of(fmean(scores))} in 100 (likely {_of(low)} to "
            f"{_of(high)})"
        )
    if outcome == "stale":
        return f"Gone stale: {seen}, against {promoted}. Compare again on newer examples."
    if outcome == "holds":
        return f"Holds: {seen}, against {promoted}; it has not fallen by {_of(drop)} points."
    if needed is None or needed >= MOST_LABELS:
        return (
            f"Open: {seen}, against {promoted}. A fall of {_of(drop)} points cannot be told from "
            "chance: the score at promotion is not known that well. Watch for a larger --drop, or "
            "compare on more examples."
        )
    return (
        f"Open: {seen}, against {promoted}. About {needed} more labels will show whether it has "
        f"fallen by {_of(drop)} points."
    )


def _of(score: float) -> str:
    return f"{100 * score:.3g}"
