"""What is concluded from the figures of a comparison: outcome, recommendation, what fine-tuning is
worth, what would settle it. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.compare import reasons
from assay.compare.costs import break_even_requests, cheapest, cost_to_own
from assay.compare.entries import Entry, Terms
from assay.compare.pairs import PairFigures, ScorePair
from assay.compare.result import Call, Verdict
from assay.evaluate import stats
from assay.evaluate.multiplicity import worse_than_best

LEAST_UNITS = 10
"""Effective groups (examples, where there are no groups) below which no call is made."""
MOST_EXAMPLES = 100_000
"""More examples than this are never asked for; it stands for "more than can be had"."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The complete candidates and every figure of them.

    Attributes:
        units: effective groups; examples where there are no groups.
        not_judged: names of the candidates that answers are missing of.
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
    not_judged: tuple[str, ...] = ()

    @property
    def judged(self) -> bool:
        """Whether there are enough units (groups or examples) for calls."""
        return self.units >= LEAST_UNITS

    @property
    def group_count(self) -> int | None:
        """Groups, however uneven; None where examples are independent."""
        return None if self.groups is None else len(stats.group_sizes(self.groups))

    def eligible(self, entry: Entry) -> bool:
        """Whether a candidate is shown to be no worse than every other by the margin."""
        return self.judged and self.p_eligible[entry.name] <= self.level

    def call(self, a: Entry, b: Entry) -> Call:
        """The call of a against b, whichever was entered first."""
        if (a.name, b.name) in self.calls:
            return self.calls[a.name, b.name]
        turned: dict[Call, Call] = {"better": "worse", "worse": "better"}
        straight = self.calls[b.name, a.name]
        return turned.get(straight, straight)

    def fits(self, entry: Entry) -> bool:
        """Whether a candidate is not surely below `good_enough`."""
        needed = self.terms.good_enough
        return needed is None or self.figures.intervals[entry.name][1] >= needed

    def best_first(self, entries: Sequence[Entry]) -> list[Entry]:
        """By score; equal scores by cost to own (unknown last), then by name."""

        def rank(entry: Entry) -> tuple[float, float, str]:
            cost = cost_to_own(entry, self.terms.monthly_requests)
            return -self.scores[entry.name], math.inf if cost is None else cost, entry.name

        return sorted(entries, key=rank)


def eligibility(
    complete: Sequence[Entry], figures: PairFigures, tested_first: str | None
) -> dict[str, float]:
    """Adjusted p of "worse than the best by the margin", by name, see `worse_than_best`.

    With no other candidate there is nothing to be worse than, and p is 0.

    Args:
        tested_first: the candidate that the plan names; None, or one that is not complete, gives
            all the same share of the level.
    """
    position = {entry.name: i for i, entry in enumerate(complete)}
    p = np.ones((len(complete), len(complete)))
    for pair in figures.pairs.values():
        a, b = position[pair.a], position[pair.b]
        p[a, b], p[b, a] = pair.a_not_worse, pair.b_not_worse
    first = position.get(tested_first) if tested_first is not None else None
    return dict(zip(position, map(float, worse_than_best(p, first)), strict=True))


def conclude(findings: Findings) -> Verdict:
    """The outcome, which is not final while a candidate is not judged.

    That none will do is said of all candidates, so it cannot be said then.
    """
    verdict = _of_complete(findings)
    if not findings.not_judged:
        return verdict
    changes: dict[str, object] = {
        "not_judged": list(findings.not_judged),
        "reason": f"{verdict.reason} {reasons.not_judged(findings.not_judged)}",
    }
    if verdict.outcome == "none":
        changes |= {"outcome": "cannot_tell", "fine_tuning_worth_it": None}
    return verdict.model_copy(update=changes)


def _of_complete(findings: Findings) -> Verdict:
    """What follows from the candidates that are complete; every branch is one rule."""
    if not findings.complete:
        return Verdict(outcome="cannot_tell", reason="No candidate has a complete set of answers.")
    ranked = findings.best_first(findings.complete)
    if not findings.judged:
        return _too_few(findings, ranked)
    good_enough = findings.terms.good_enough
    if good_enough is not None and not any(findings.fits(entry) for entry in ranked):
        top = max(ranked, key=lambda entry: findings.figures.intervals[entry.name][1])
        reason = reasons.not_good_enough(
            top.name, findings.figures.intervals[top.name][1], good_enough
        )
        return _with_fine_tuning(findings, Verdict(outcome="none", reason=reason))
    floor = next((entry for entry in ranked if entry.floor), None)
    if floor is not None and findings.eligible(floor):
        reason = reasons.floor_suffices(
            floor.name,
            findings.scores[floor.name],
            findings.terms.margin,
            sum(not entry.floor for entry in ranked),
        )
        reason += _below_needed(findings, floor)
        verdict = Verdict(outcome="none", use_meanwhile=floor.name, reason=reason)
        return _with_fine_tuning(findings, verdict)
    choice = [e for e in ranked if findings.eligible(e) and not e.floor and findings.fits(e)]
    if choice:
        return _with_fine_tuning(findings, _recommend(findings, choice))
    return _with_fine_tuning(findings, _cannot_tell(findings, ranked))


def _recommend(findings: Findings, choice: Sequence[Entry]) -> Verdict:
    chosen = cheapest(choice, findings.scores, findings.terms.monthly_requests)
    assert chosen is not None
    costs = {e.name: cost_to_own(e, findings.terms.monthly_requests) for e in choice}
    reason = reasons.recommended(
        chosen.name,
        findings.scores[chosen.name],
        findings.figures.intervals[chosen.name],
        findings.terms.margin,
        alone=len(findings.complete) == 1,
        fitting=[entry.name for entry in choice],
        cost=costs[chosen.name],
        unpriced=[name for name, cost in costs.items() if cost is None],
    )
    reason += _below_needed(findings, chosen)
    return Verdict(outcome="recommend", recommend=chosen.name, reason=reason)


def _below_needed(findings: Findings, used: Entry) -> str:
    needed = findings.terms.good_enough
    if needed is None:
        return ""
    enough = [
        entry.name for entry in findings.best_first(findings.complete) if findings.fits(entry)
    ]
    return reasons.below_needed(used.name, findings.figures.intervals[used.name], needed, enough)


def _too_few(findings: Findings, ranked: Sequence[Entry]) -> Verdict:
    meanwhile = ranked[0].name if findings.examples else None
    more = _more_examples(findings, ranked)
    return Verdict(
        outcome="cannot_tell",
        shortlist=[entry.name for entry in ranked],
        use_meanwhile=meanwhile,
        more_examples_needed=more,
        more_groups_needed=_in_groups(findings, more),
        reason=reasons.too_few(
            reasons.seen(findings.examples, findings.group_count, findings.units),
            LEAST_UNITS,
            meanwhile,
            _needed(findings, more),
        ),
    )


def _cannot_tell(findings: Findings, ranked: Sequence[Entry]) -> Verdict:
    """The shortlist: candidates not called worse than another nor surely below `good_enough`."""
    shortlist = [
        entry
        for entry in ranked
        if findings.fits(entry)
        and not any(findings.call(entry, o) == "worse" for o in ranked if o is not entry)
    ] or [entry for entry in ranked if findings.fits(entry)]
    names = [entry.name for entry in shortlist]
    more = _more_examples(findings, shortlist)
    needed = findings.terms.good_enough
    below = [e for e in ranked if findings.eligible(e) and not e.floor and not findings.fits(e)]
    if below and needed is not None:
        reason = reasons.only_below_needed(names, needed, _needed(findings, more))
    else:
        reason = reasons.undecided(
            names, findings.examples, findings.terms.margin, names[0], _needed(findings, more)
        )
    return Verdict(
        outcome="cannot_tell",
        shortlist=names,
        use_meanwhile=names[0],
        more_examples_needed=more,
        more_groups_needed=_in_groups(findings, more),
        reason=reason,
    )


def _in_groups(findings: Findings, examples: int) -> int | None:
    """As many groups of the mean size as hold so many examples; None without groups."""
    count = findings.group_count
    if not count or not findings.examples:
        return None
    return math.ceil(examples * count / findings.examples)


def _needed(findings: Findings, examples: int) -> str:
    """What is asked for, in the unit that is drawn: rows of a group that is there say little."""
    groups = _in_groups(findings, examples)
    return f"{examples:,} more examples" if groups is None else f"{groups:,} more groups"


def _more_examples(findings: Findings, shortlist: Sequence[Entry]) -> int:
    """Further examples that would settle it, at the level that the next opening has.

    Sized for the margin from how often candidates of the shortlist disagree, not from how far
    apart they are. Never less than a tenth of what there is: where the size was enough and chance
    was not kind, a handful more would not help.
    """
    terms = findings.terms
    names = {entry.name for entry in shortlist}
    pairs = [p for p in findings.figures.pairs.values() if p.a in names and p.b in names]
    unseen = stats.UNKNOWN_DISCORDANCE if terms.discordance is None else terms.discordance
    level = stats.opening_alpha(terms.alpha, terms.opening + 1) / len(findings.complete)
    few = findings.examples < LEAST_UNITS
    sizes = [
        stats.examples_needed(
            terms.margin,
            level,
            # Candidates that differ by the margin disagree at least that often.
            discordance=max(unseen if few else pair.squared, terms.margin),
            design_effect=1.0 if few else _design_effect(findings, pair),
        )
        for pair in pairs
    ]
    per_unit = findings.examples / findings.units if findings.units else 1.0
    least = math.ceil(LEAST_UNITS * per_unit)
    enough = max([*sizes, least])
    more = max(enough - findings.examples, math.ceil(findings.examples / 10), 1)
    # Two digits are all that such an estimate is worth.
    step = int(10 ** max(len(str(more)) - 2, 0))
    return min(math.ceil(more / step) * step, MOST_EXAMPLES)


def _design_effect(findings: Findings, pair: ScorePair) -> float:
    """Of the differences that were seen; 1 without groups."""
    if findings.groups is None:
        return 1.0
    values = {entry.name: entry.values for entry in findings.complete}
    rho = stats.intraclass_correlation(values[pair.a] - values[pair.b], findings.groups)
    return stats.design_effect(stats.group_sizes(findings.groups), rho)


def _with_fine_tuning(findings: Findings, verdict: Verdict) -> Verdict:
    """Add what the verdict means for fine-tuning.

    Break-even is against the cheapest eligible alternative. Worth it means that it beats the best
    other candidate, in quality or, where both are eligible, in cost to own, and that it has paid
    back within a year at the stated volume.
    """
    ranked = findings.best_first(findings.complete)
    tuned = [entry for entry in ranked if entry.fine_tuned]
    others = [entry for entry in ranked if not entry.fine_tuned]
    if not tuned or not others:
        return verdict
    ours = next((entry for entry in tuned if entry.name == verdict.recommend), tuned[0])
    monthly = findings.terms.monthly_requests
    alternatives = [entry for entry in others if findings.eligible(entry)]
    rival = cheapest(alternatives, findings.scores, monthly)
    even = break_even_requests(ours, rival, monthly) if rival else None
    worth = _worth_it(findings, verdict, ours, others[0], rival)
    return verdict.model_copy(update={"fine_tuning_worth_it": worth, "break_even_requests": even})


def _worth_it(
    findings: Findings, verdict: Verdict, ours: Entry, best_other: Entry, rival: Entry | None
) -> bool | None:
    """True, False, or None where quality or cost is not known well enough.

    Args:
        rival: the cheapest eligible alternative.
    """
    call = findings.call(ours, best_other)
    if verdict.outcome == "none":
        return False
    if verdict.outcome == "cannot_tell":
        return False if call in ("worse", "equivalent") else None
    if rival is None:
        return True if call == "better" else None
    monthly = findings.terms.monthly_requests
    our_cost, rival_cost = cost_to_own(ours, monthly), cost_to_own(rival, monthly)
    if not findings.eligible(ours):
        return False
    if our_cost is None or rival_cost is None:
        return False if call in ("worse", "equivalent") else None
    return verdict.recommend == ours.name
