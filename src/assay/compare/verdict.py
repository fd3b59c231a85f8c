"""The verdict: from the scores of all candidates on the holdout to what should be used.

    decision = decide(entries, groups, Terms(good_enough=0.8))
    decision.verdict.outcome          # recommend | none | cannot_tell

Pure: no files, no clock, no model; the same input gives the same verdict. Rules, formulas and how
often they are wrong: docs/statistics.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from assay.compare import reasons
from assay.compare.conclusion import conclude
from assay.compare.costs import cost_to_own
from assay.compare.entries import Entry, Terms, check
from assay.compare.findings import LEAST_UNITS, Findings, eligibility, gain_from_training
from assay.compare.pairs import PairFigures, measure
from assay.compare.replacement import find_replacements
from assay.compare.replacement_section import Replacement
from assay.compare.result import Call, PairResult, Verdict
from assay.data.partition import CLUSTER
from assay.evaluate import stats
from assay.evaluate.bounds import effective_groups
from assay.evaluate.multiplicity import holm, shaffer

__all__ = ["CandidateFigures", "Decision", "Entry", "Terms", "decide"]

FEW_UNITS = 30
"""Effective groups below which the verdict carries a warning."""


@dataclass(frozen=True, slots=True)
class CandidateFigures:
    """Figures of one candidate; None when it is incomplete.

    Attributes:
        low, high: interval of the score at 1 − alpha.
        eligible: shown to be no worse than every other by the margin.
        p_eligible: adjusted p of the contrary.
        cost_to_own: USD in the first year; None when not known.
    """

    name: str
    score: float | None
    low: float | None
    high: float | None
    eligible: bool
    p_eligible: float | None
    cost_to_own: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """Figures, calls and verdict of a comparison.

    Attributes:
        candidates: in the order of the entries.
        pairs: every pair of complete candidates, in the order of the entries.
        level: the family-wise level that this opening has.
    """

    candidates: tuple[CandidateFigures, ...]
    pairs: tuple[PairResult, ...]
    level: float
    warnings: tuple[str, ...]
    verdict: Verdict
    replacements: tuple[Replacement, ...] = ()

    def candidate(self, name: str) -> CandidateFigures:
        """The figures of one candidate; KeyError when there is none of that name."""
        for candidate in self.candidates:
            if candidate.name == name:
                return candidate
        raise KeyError(name)


def _has_named(groups: Sequence[str]) -> bool:
    """Whether a user's group holds several examples; near-duplicates are groups, too."""
    sizes = Counter(groups)
    return any(count > 1 and not name.startswith(CLUSTER) for name, count in sizes.items())


def decide(entries: Sequence[Entry], groups: Sequence[str] | None, terms: Terms) -> Decision:
    """Apply the rules of a verdict.

    Args:
        entries: all candidates, with their scores on the same examples.
        groups: the group of each example; None when examples are independent.
        terms: what was fixed before the holdout was opened.

    Raises:
        ValueError: entries that cannot be compared (see `assay.compare.entries.check`).
    """
    examples = check(entries, groups)
    level = stats.opening_alpha(terms.alpha, terms.opening)
    complete = tuple(entry for entry in entries if not entry.incomplete)
    members = None if groups is None else stats.group_numbers(groups)
    figures = measure(complete, members, terms, level)
    units = float(examples) if members is None else effective_groups(members)
    scores = {e.name: float(e.values.mean()) if examples else 0.0 for e in complete}
    pairs = _call_pairs(figures, len(complete), level, judged=units >= LEAST_UNITS)
    findings = Findings(
        complete=complete,
        groups=members,
        terms=terms,
        examples=examples,
        units=units,
        level=level,
        figures=figures,
        calls={(pair.a, pair.b): pair.call for pair in pairs},
        scores=scores,
        p_eligible=eligibility(complete, figures, terms),
        p_gain=gain_from_training(complete, figures),
        has_named_groups=groups is not None and _has_named(groups),
        not_judged=tuple(entry for entry in entries if entry.incomplete),
    )
    return Decision(
        candidates=tuple(_figures(findings, entry) for entry in entries),
        pairs=tuple(pairs),
        level=level,
        warnings=tuple(_warnings(findings)),
        verdict=conclude(findings),
        replacements=find_replacements(findings),
    )


def _call_pairs(
    figures: PairFigures, candidates: int, level: float, *, judged: bool
) -> list[PairResult]:
    """Calls over all pairs: differences by Shaffer's steps, then equivalence by Holm."""
    pairs = list(figures.pairs.values())
    different = shaffer([pair.p for pair in pairs], candidates)
    equivalent = holm([pair.equivalence for pair in pairs])
    results = []
    for pair, p_different, p_equivalent in zip(pairs, different, equivalent, strict=True):
        call: Call = "cannot_tell"
        if judged and p_different <= level:
            call = "better" if pair.difference > 0 else "worse"
        elif judged and p_equivalent <= level:
            call = "equivalent"
        results.append(
            PairResult(
                a=pair.a,
                b=pair.b,
                difference=pair.difference,
                low=pair.low,
                high=pair.high,
                p=pair.p,
                p_adjusted=float(p_different),
                p_equivalence=float(p_equivalent),
                a_not_worse=pair.a_not_worse,
                b_not_worse=pair.b_not_worse,
                call=call,
                a_only=pair.a_only,
                b_only=pair.b_only,
            )
        )
    return results


def _figures(findings: Findings, entry: Entry) -> CandidateFigures:
    cost = cost_to_own(entry)
    if entry.incomplete:
        return CandidateFigures(entry.name, None, None, None, False, None, cost)
    limits = findings.figures.intervals[entry.name]
    return CandidateFigures(
        name=entry.name,
        score=findings.scores[entry.name],
        low=limits.low,
        high=limits.high,
        eligible=findings.eligible(entry),
        p_eligible=findings.p_eligible[entry.name],
        cost_to_own=cost,
    )


def _warnings(findings: Findings) -> list[str]:
    lines = []
    seen = reasons.seen(findings.examples, findings.group_count, findings.units)
    if findings.complete and not findings.judged:
        lines.append(f"{seen}: a verdict needs at least {LEAST_UNITS}.")
    elif findings.complete and findings.units < FEW_UNITS:
        lines.append(f"{seen}: below {FEW_UNITS}, ranges and differences are rough.")
    if findings.not_judged:
        names = ", ".join(f"`{entry.name}`" for entry in findings.not_judged)
        lines.append(f"Incomplete, so no call is made for: {names}.")
    return lines
