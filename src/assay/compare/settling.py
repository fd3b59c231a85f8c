"""What would settle a comparison that cannot tell: new examples, or groups of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from assay.compare.entries import Entry
from assay.compare.findings import LEAST_UNITS, Findings
from assay.compare.pairs import ScorePair
from assay.evaluate import stats
from assay.evaluate.multiplicity import FIRST_SHARE

MOST_EXAMPLES = 100_000
"""More examples than this are never asked for; it stands for "more than can be had"."""
FEWEST = 30
"""A new holdout of fewer examples is not taken (`data.dataset.renew`)."""


@dataclass(frozen=True, slots=True)
class Need:
    """Examples of a new holdout that would settle it with a power of 0.8.

    A locked holdout is never added to: its rows go to training, and a new one is opened for the
    first time, at the first opening's level.

    Attributes:
        if_as_seen: if the best is ahead by as much as it looks.
        if_equal: if there is no difference.
        groups_if_as_seen, groups_if_equal: the same in groups of the mean size; None without
            groups.
    """

    if_as_seen: int
    if_equal: int
    groups_if_as_seen: int | None
    groups_if_equal: int | None

    @property
    def text(self) -> str:
        """Both numbers in a sentence for a person."""
        if self.groups_if_equal is None or self.groups_if_as_seen is None:
            seen, equal, unit = self.if_as_seen, self.if_equal, "new examples"
        else:
            seen, equal = self.groups_if_as_seen, self.groups_if_equal
            unit = "new groups of examples that belong together"
        if seen == equal:
            return f"about {seen:,} {unit} would settle this"
        return (
            f"to settle this takes about {seen:,} {unit} if the candidates differ as much as it "
            f"looks, and about {equal:,} if they do not differ"
        )


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a new holdout has to show of a pair: that the first is ahead of the second, or no worse
    by the margin.

    Attributes:
        effect: the lead, or the margin and the lead.
        level: of its one-sided test.
    """

    pair: ScorePair
    effect: float
    level: float


def examples_needed(findings: Findings, shortlist: Sequence[Entry]) -> Need:
    """What would show the first of the shortlist to be no worse than each of the others; where it
    is alone there, than every other candidate. Of a fine-tuned one: its gain over every way without
    training, too, or that the best of these is no worse.

    From how often they disagree, at the share of the level that each is tested at. Never fewer than
    there are: where the number was enough and chance was not kind, fewer would not do.
    """
    first, margin = shortlist[0], findings.terms.margin
    others = shortlist[1:] or [e for e in findings.complete if e is not first]
    level = stats.opening_alpha(findings.terms.alpha, 1)
    named = FIRST_SHARE * level
    equal = _size(findings, [_Claim(findings.pair(first, o), margin, named) for o in others])
    seen = _size(findings, _no_worse(findings, first, others, named))
    untrained = [entry for entry in findings.complete if not entry.fine_tuned]
    if first.fine_tuned and untrained and not any(map(findings.eligible, untrained)):
        share = min(level / len(findings.p_gain), findings.terms.alpha / 2)
        pairs = [findings.pair(first, other) for other in untrained]
        trained = [other for other in others if other.fine_tuned]
        gain = [_Claim(pair, pair.difference, share) for pair in pairs]
        gain += _no_worse(findings, first, trained, named)
        # Or the best of the untrained is no worse, which a small lead leaves to be shown.
        best = findings.best_first(untrained)[0]
        rivals = [first, *(other for other in others if other is not best)]
        enough = _no_worse(findings, best, rivals, named)
        seen = min(_size(findings, gain), _size(findings, enough))
    return _need(findings, seen, equal)


def replacement_needed(findings: Findings, one: Entry, old: Entry, tested: int) -> Need:
    """What would show a candidate to be no worse than the model that goes, as the first of so many
    that are tested by Holm."""
    level = stats.opening_alpha(findings.terms.alpha, 1) / tested
    equal = _size(findings, [_Claim(findings.pair(one, old), findings.terms.margin, level)])
    return _need(findings, _size(findings, _no_worse(findings, one, [old], level)), equal)


def _need(findings: Findings, seen: int, equal: int) -> Need:
    """Examples as they are told: see `examples_needed`."""
    per_unit = findings.examples / findings.units if findings.units else 1.0
    least = max(findings.examples, math.ceil(LEAST_UNITS * per_unit), FEWEST)
    seen, equal = (two_digits(max(size, least)) for size in (seen, equal))
    return Need(seen, equal, _in_groups(findings, seen), _in_groups(findings, equal))


def _no_worse(
    findings: Findings, one: Entry, others: Sequence[Entry], level: float
) -> list[_Claim]:
    """That a candidate is no worse than each of the others, at differences as they look."""
    pairs = [findings.pair(one, other) for other in others]
    return [_Claim(pair, findings.terms.margin + pair.difference, level) for pair in pairs]


def _size(findings: Findings, claims: Sequence[_Claim]) -> int:
    """Examples that show all the claims with a power of 0.8; more than can be had where one of them
    does not look true, and 0 without any."""
    if any(claim.effect <= 0 for claim in claims):
        return MOST_EXAMPLES
    few = findings.examples < LEAST_UNITS
    known = findings.terms.discordance
    unseen = stats.UNKNOWN_DISCORDANCE if known is None else known
    graded = [claim.pair.a_only is None for claim in claims]
    return stats.examples_needed(
        [claim.effect for claim in claims],
        [claim.level for claim in claims],
        # Candidates that differ by the margin disagree at least that often.
        [
            max(unseen if few else claim.pair.squared, findings.terms.margin)
            * (1.0 if few else _design_effect(findings, claim.pair))
            for claim in claims
        ],
        graded,
    )


def _design_effect(findings: Findings, pair: ScorePair) -> float:
    """Of the differences that were seen, or as they are counted; 1 without groups."""
    if findings.groups is None:
        return 1.0
    sizes = stats.group_sizes(findings.groups)
    counted = stats.counted_design_effect(sizes)
    if counted is not None and pair.a_only is not None:
        return counted
    values = {entry.name: entry.values for entry in findings.complete}
    rho = stats.intraclass_correlation(values[pair.a] - values[pair.b], findings.groups)
    return stats.design_effect(sizes, rho)


def two_digits(size: int) -> int:
    """Rounded up to two digits, all that such an estimate is worth, and bounded."""
    step = int(10 ** max(len(str(size)) - 2, 0))
    return min(math.ceil(size / step) * step, MOST_EXAMPLES)


def _in_groups(findings: Findings, examples: int) -> int | None:
    """As many groups of the mean size as hold so many examples; None without groups that a user has
    named: of near-duplicates nobody brings new groups, but examples."""
    count = findings.group_count
    if not count or not findings.examples or not findings.has_named_groups:
        return None
    return two_digits(math.ceil(examples * count / findings.examples))
