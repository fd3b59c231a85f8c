"""What a comparison found: the complete candidates with every figure of them, and who is eligible.
Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.compare import reasons
from assay.compare.costs import cost_to_own
from assay.compare.entries import Entry, Terms
from assay.compare.pairs import PairFigures, ScorePair
from assay.compare.result import Call
from assay.evaluate import stats
from assay.evaluate.multiplicity import holm, worse_than_best

LEAST_UNITS = 10
"""Effective groups (examples, where there are no groups) below which no call is made."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The complete candidates and every figure of them.

    Attributes:
        p_eligible, p_gain: adjusted, see `eligibility` and `gain_from_training`.
        units: effective groups; examples where there are no groups.
        has_named_groups: groups are more than near-duplicates, so that new ones can be asked for.
        not_judged: the candidates that answers are missing of.
        in_words: candidates are called by their titles, see `label`.
    """

    complete: tuple[Entry, ...]
    groups: stats.Groups | None
    terms: Terms
    examples: int
    units: float
    level: float
    figures: PairFigures
    calls: dict[tuple[str, str], Call]
    scores: dict[str, float]
    p_eligible: dict[str, float]
    p_gain: dict[str, float]
    has_named_groups: bool = True
    not_judged: tuple[Entry, ...] = ()
    in_words: bool = False

    @property
    def judged(self) -> bool:
        """Whether there are enough units (groups or examples) for calls."""
        return self.units >= LEAST_UNITS

    @property
    def group_count(self) -> int | None:
        """Groups, however uneven; None where examples are independent."""
        return None if self.groups is None else len(stats.group_sizes(self.groups))

    def label(self, entry: Entry) -> str:
        """What a sentence calls a candidate."""
        return reasons.quoted(entry.title) if self.in_words and entry.title else entry.name

    def eligible(self, entry: Entry) -> bool:
        """Whether a candidate is shown to be no worse than every other by the margin."""
        return self.judged and self.p_eligible[entry.name] <= self.level

    def is_gain_shown(self, entry: Entry) -> bool:
        """Whether nobody trains for what may be chance: the entry was not trained, or its lead over
        every way without training is shown, or one of these is eligible (then the cost decides)."""
        others = [other for other in self.complete if not other.fine_tuned]
        if not entry.fine_tuned or not others or any(map(self.eligible, others)):
            return True
        # What is shown must not contradict the interval beside it, which is that of one pair.
        ahead = all(self.pair(entry, other).low > 0 for other in others)
        return self.judged and ahead and self.p_gain[entry.name] <= self.level

    def is_shown_of_trainings(self, entry: Entry, gap: float, error: float) -> bool:
        """Whether `gap`, known to within the standard `error`, is above 0 on average over trainings
        of the entry's kind. Never of one that was trained once: nobody knows how they differ."""
        spread = entry.training_spread
        if spread is None:
            return False
        level = min(self.level / max(len(self.p_gain), 1), self.terms.alpha / 2)
        return stats.training_p(gap, error, spread, entry.trainings) <= level

    def call(self, a: Entry, b: Entry) -> Call:
        """The call of a against b, whichever was entered first."""
        if (a.name, b.name) in self.calls:
            return self.calls[a.name, b.name]
        turned: dict[Call, Call] = {"better": "worse", "worse": "better"}
        straight = self.calls[b.name, a.name]
        return turned.get(straight, straight)

    def fits(self, entry: Entry) -> bool:
        """Whether a candidate is not surely, at the level of the opening, below `good_enough`."""
        needed = self.terms.good_enough
        return needed is None or self.figures.intervals[entry.name].most >= needed

    def pair(self, a: Entry, b: Entry) -> ScorePair:
        """The figures of a against b, whichever was entered first."""
        straight = self.figures.pairs.get((a.name, b.name))
        return straight or self.figures.pairs[b.name, a.name].turned()

    def best_first(self, entries: Sequence[Entry]) -> list[Entry]:
        """By score; equal scores by cost to own (unknown last), then by name."""

        def rank(entry: Entry) -> tuple[float, float, str]:
            cost = cost_to_own(entry)
            return -self.scores[entry.name], math.inf if cost is None else cost, entry.name

        return sorted(entries, key=rank)


def eligibility(complete: Sequence[Entry], figures: PairFigures, terms: Terms) -> dict[str, float]:
    """Adjusted p of "worse than the best by more than it may be", by name (`worse_than_best`).

    A candidate may be worse by the margin, or by `margin_for_cheaper` of `terms`, if any, than one
    that is known to be dearer to own. With no other candidate there is nothing to be worse than,
    and p is 0. A plan that names none of `complete` as first gives all the same share of the level.
    """
    position = {entry.name: i for i, entry in enumerate(complete)}
    cost = {entry.name: cost_to_own(entry) for entry in complete}
    lenient = terms.margin_for_cheaper is not None
    p = np.ones((len(complete), len(complete)))
    for pair in (turned for found in figures.pairs.values() for turned in (found, found.turned())):
        cheaper = lenient and _is_cheaper(cost, pair.a, pair.b)
        p[position[pair.a], position[pair.b]] = pair.a_acceptable if cheaper else pair.a_not_worse
    first = position.get(terms.tested_first) if terms.tested_first is not None else None
    return dict(zip(position, map(float, worse_than_best(p, first)), strict=True))


def gain_from_training(complete: Sequence[Entry], figures: PairFigures) -> dict[str, float]:
    """Adjusted p of "no better than the best way without training", by name of the fine-tuned ones.

    To be better than the best is to be better than each, so that the largest one-sided p counts
    without a correction (intersection-union; Berger 1982, Technometrics 24:295); then by Holm over
    the fine-tuned ones. Empty where nothing, or everything, was trained.
    """
    turned = [pair for found in figures.pairs.values() for pair in (found, found.turned())]
    others = {entry.name for entry in complete if not entry.fine_tuned}
    tuned = [entry.name for entry in complete if entry.fine_tuned] if others else []
    largest = [
        max(
            pair.p / 2 if pair.difference > 0 else 1 - pair.p / 2
            for pair in turned
            if pair.a == name and pair.b in others
        )
        for name in tuned
    ]
    return dict(zip(tuned, map(float, holm(largest)), strict=True))


def _is_cheaper(cost: dict[str, float | None], one: str, other: str) -> bool:
    mine, theirs = cost[one], cost[other]
    return mine is not None and theirs is not None and mine < theirs
