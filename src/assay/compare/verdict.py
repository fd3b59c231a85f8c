"""The verdict: from the scores of all candidates on the holdout to what should be used.

    decision = decide(entries, groups, Settings(good_enough=0.8))
    decision.verdict.outcome          # recommend | none | cannot_tell

Pure: no files, no clock, no model; the same input gives the same verdict. Rules, formulas and how
often they are wrong: docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.compare.conclusion import LEAST_UNITS, Bench, conclude, eligibility
from assay.compare.entries import Entry, Settings, check
from assay.compare.ownership import cost_to_own
from assay.compare.pairs import Measured, measure
from assay.compare.result import Call, PairResult, Verdict
from assay.evaluate import stats

__all__ = ["CandidateFigures", "Decision", "Entry", "Settings", "decide", "planned_effect"]

FEW_UNITS = 30
"""Groups below which the verdict carries a warning."""


@dataclass(frozen=True, slots=True)
class CandidateFigures:
    """What is known of one candidate; figures are None when it is incomplete.

    Attributes:
        low, high: interval of the score at 1 − alpha.
        eligible: shown to be no worse than every other by the margin.
        p_eligible: Holm-adjusted p of the contrary.
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
    """All that follows from the scores.

    Attributes:
        candidates: in the order of the entries.
        pairs: every pair of complete candidates, in the order of the entries.
        minimum_detectable_effect: from what was known before the holdout was opened.
        level: the family-wise level that this opening has.
    """

    candidates: tuple[CandidateFigures, ...]
    pairs: tuple[PairResult, ...]
    minimum_detectable_effect: float
    level: float
    warnings: tuple[str, ...]
    verdict: Verdict

    def candidate(self, name: str) -> CandidateFigures:
        """The figures of one candidate; KeyError when there is none of that name."""
        for candidate in self.candidates:
            if candidate.name == name:
                return candidate
        raise KeyError(name)


def planned_effect(
    candidates: int, examples: int, groups: stats.Groups | None, settings: Settings
) -> float:
    """The minimum detectable effect, from what is known before the holdout is opened."""
    sizes = [] if groups is None else stats.group_sizes(groups)
    rho = stats.UNKNOWN_INTRACLASS if settings.intraclass is None else settings.intraclass
    return stats.minimum_detectable_effect(
        examples,
        candidates * (candidates - 1) // 2,
        stats.opening_alpha(settings.alpha, settings.opening),
        discordance=settings.discordance,
        design_effect=stats.design_effect(sizes, rho),
    )


def decide(entries: Sequence[Entry], groups: Sequence[str] | None, settings: Settings) -> Decision:
    """Apply the rules of a verdict.

    Args:
        entries: all candidates, with their scores on the same examples.
        groups: the group of each example; None when examples are independent.
        settings: what was fixed before the holdout was opened.

    Raises:
        ValueError: entries that cannot be compared (see `assay.compare.entries.check`).
    """
    examples = check(entries, groups)
    level = stats.opening_alpha(settings.alpha, settings.opening)
    complete = tuple(entry for entry in entries if not entry.incomplete)
    members = None if groups is None else stats.group_numbers(groups)
    measured = measure(complete, members, settings, level)
    units = examples if members is None else len(np.unique(members))
    scores = {e.name: float(e.values.mean()) if examples else 0.0 for e in complete}
    pairs = _call_pairs(measured, level, judged=units >= LEAST_UNITS)
    bench = Bench(
        complete=complete,
        groups=members,
        settings=settings,
        examples=examples,
        units=units,
        level=level,
        measured=measured,
        calls={(pair.a, pair.b): pair.call for pair in pairs},
        scores=scores,
        p_eligible=eligibility(complete, measured),
        not_judged=tuple(entry.name for entry in entries if entry.incomplete),
    )
    return Decision(
        candidates=tuple(_figures(bench, entry) for entry in entries),
        pairs=tuple(pairs),
        minimum_detectable_effect=planned_effect(len(entries), examples, members, settings),
        level=level,
        warnings=tuple(_warnings(bench)),
        verdict=conclude(bench),
    )


def _call_pairs(measured: Measured, level: float, *, judged: bool) -> list[PairResult]:
    """Calls by Holm over all pairs; differences first, then equivalence over the same family."""
    pairs = list(measured.pairs.values())
    different = stats.holm([pair.p for pair in pairs])
    equivalent = stats.holm([pair.equivalence for pair in pairs])
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
                call=call,
                a_only=pair.a_only,
                b_only=pair.b_only,
            )
        )
    return results


def _figures(bench: Bench, entry: Entry) -> CandidateFigures:
    cost = cost_to_own(entry, bench.settings.monthly_requests)
    if entry.incomplete:
        return CandidateFigures(entry.name, None, None, None, False, None, cost)
    low, high = bench.measured.intervals[entry.name]
    return CandidateFigures(
        name=entry.name,
        score=bench.scores[entry.name],
        low=low,
        high=high,
        eligible=bench.eligible(entry),
        p_eligible=bench.p_eligible[entry.name],
        cost_to_own=cost,
    )


def _warnings(bench: Bench) -> list[str]:
    lines = []
    kind = "examples" if bench.groups is None else "groups"
    if bench.complete and bench.units < LEAST_UNITS:
        lines.append(f"{bench.units} {kind}: below {LEAST_UNITS} no call is made.")
    elif bench.complete and bench.units < FEW_UNITS:
        lines.append(f"{bench.units} {kind}: below {FEW_UNITS} intervals and calls are rough.")
    if bench.not_judged:
        names = ", ".join(bench.not_judged)
        lines.append(f"Incomplete, so that no call is made of it: {names}.")
    return lines
