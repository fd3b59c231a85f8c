"""Many hypotheses at one level: adjusted p values that keep the family-wise error. Pure.

`docs/statistics.md`, "Calls and recommendation", says what each is used for and why it holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.evaluate.stats import Floats

FIRST_SHARE = 0.8
"""Share of the level for the hypothesis named beforehand; the others share the rest."""


def holm(p: Sequence[float] | Floats) -> Floats:
    """Adjusted p values, family-wise (Holm 1979, Scandinavian Journal of Statistics 6:65-70)."""
    p = np.asarray(p, dtype=float)
    return _step_down(p, np.arange(len(p), 0, -1))


def shaffer(p: Sequence[float] | Floats, candidates: int) -> Floats:
    """Adjusted p values of "these two are equal", over all pairs of `candidates`.

    Holm's steps, with the divisor of a step reduced to the number of pairs that can still be equal
    after so many are shown not to be: of three candidates, once two differ, at most one pair is
    equal (Shaffer 1986, JASA 81:826-831, method S1).

    Raises:
        ValueError: there are not as many p values as pairs.
    """
    p = np.asarray(p, dtype=float)
    pairs = candidates * (candidates - 1) // 2
    if len(p) != pairs:
        raise ValueError(f"{candidates} candidates have {pairs} pairs, not {len(p)}")
    possible = np.array(sorted(equal_pair_counts(candidates)))
    left = np.arange(pairs, 0, -1)
    return _step_down(p, possible[np.searchsorted(possible, left, side="right") - 1])


def equal_pair_counts(candidates: int) -> set[int]:
    """The numbers of pairs that can be equal: candidates fall into classes of equal ones."""
    counts: list[set[int]] = [{0}]
    for k in range(1, candidates + 1):
        counts.append({j * (j - 1) // 2 + rest for j in range(1, k + 1) for rest in counts[k - j]})
    return counts[candidates]


def ordered_holm(p: Sequence[float] | Floats, first: int | None) -> Floats:
    """Adjusted p values, family-wise, with one hypothesis tested at 0.8 of the level.

    The others share 0.2 by Holm. Once the first is rejected its share passes on to them, and once
    all of them are, theirs to it. This is the closed test (Marcus, Peritz and Gabriel 1976) whose
    intersections are tested by weighted Bonferroni, with weights 0.8 and 0.2/m where the first is
    among 1 + m hypotheses, 1/m where it is not, 1 where it is alone.

    Args:
        first: position of the hypothesis named before any p was seen; None is plain Holm.
    """
    p = np.asarray(p, dtype=float)
    if first is None or len(p) < 2:
        return holm(p)
    others = np.arange(len(p)) != first
    rest = holm(p[others])
    weighted = p[first] / FIRST_SHARE
    adjusted = np.empty_like(p)
    adjusted[others] = np.maximum(rest, np.minimum(weighted, rest / (1 - FIRST_SHARE)))
    adjusted[first] = max(p[first], min(weighted, rest.max() / (1 - FIRST_SHARE)))
    return np.minimum(adjusted, 1.0)


def worse_than_best(p: Floats, first: int | None = None) -> Floats:
    """Adjusted p values of "this one is worse than the best", whichever the best is.

    Some candidate is the best. Were it b, "i is worse than the best" is "i is worse than b", and
    b itself is none of the hypotheses: at most k − 1 can be true. So a candidate is cleared when
    for every other b it is cleared in the family of comparisons with b, each family at the whole
    level: the truth lies in one of them (partitioning, Stefansson, Kim and Hsu 1988; Finner and
    Strassburger 2002, Annals of Statistics 30:1194-1213).

    Args:
        p: [k, k]; p[i, b] of "i is worse than b by the margin or more". The diagonal is not read.
        first: position of the candidate named before any p was seen.

    Returns:
        [k]; 0 of the only candidate there is.
    """
    adjusted = np.zeros(len(p))
    for best in range(len(p)):
        others = [i for i in range(len(p)) if i != best]
        named = others.index(first) if first in others else None
        family = ordered_holm(p[others, best], named)
        adjusted[others] = np.maximum(adjusted[others], family)
    return adjusted


def _step_down(p: Floats, divisors: Sequence[int] | np.ndarray) -> Floats:
    """Each p in ascending order times the divisor of its step, never below an earlier one."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * divisors)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
