"""What is concluded from the figures of a comparison: outcome, recommendation, what fine-tuning is
worth. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from assay.compare import reasons
from assay.compare.costs import about_as_cheap, break_even_requests, cheapest, cost_to_own
from assay.compare.entries import Entry
from assay.compare.findings import LEAST_UNITS, Findings, eligibility
from assay.compare.for_now import for_now, none_for_now
from assay.compare.result import Verdict
from assay.compare.settling import Need, examples_needed
from assay.evaluate import stats


def conclude(findings: Findings) -> Verdict:
    """The outcome, which is not final while a candidate is not judged.

    That none will do is said of all candidates, so it cannot be said then. Its reason is written
    twice: with the names that are typed, and with what the candidates are.
    """
    in_words = _conclude(replace(findings, in_words=True)).reason
    return _conclude(findings).model_copy(update={"reason_in_words": in_words})


def _conclude(findings: Findings) -> Verdict:
    verdict = _of_complete(findings)
    if not findings.not_judged:
        return verdict
    changes: dict[str, object] = {
        "not_judged": [entry.name for entry in findings.not_judged],
        "reason": f"{verdict.reason} "
        + reasons.not_judged([findings.label(entry) for entry in findings.not_judged]),
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
        top = max(ranked, key=lambda entry: findings.figures.intervals[entry.name].most)
        reason = reasons.not_good_enough(
            findings.label(top),
            findings.scores[top.name],
            findings.figures.intervals[top.name].high,
            findings.figures.intervals[top.name].most,
            good_enough,
            findings.terms.scale,
        )
        return _with_fine_tuning(findings, Verdict(outcome="none", reason=reason))
    floor = next((entry for entry in ranked if entry.floor), None)
    if floor is not None and findings.eligible(floor):
        reason = reasons.floor_suffices(
            findings.label(floor),
            findings.scores[floor.name],
            findings.terms.margin,
            sum(not entry.floor for entry in ranked),
            findings.terms.scale,
        )
        reason += _below_needed(findings, floor)
        verdict = Verdict(outcome="none", use_meanwhile=floor.name, reason=reason)
        return _with_fine_tuning(findings, verdict)
    shown = [e for e in ranked if findings.eligible(e) and not e.floor and findings.fits(e)]
    choice = [entry for entry in shown if findings.is_gain_shown(entry)]
    if choice:
        unshown = [findings.label(entry) for entry in shown if entry not in choice]
        return _with_fine_tuning(findings, _recommend(findings, choice, unshown))
    return _with_fine_tuning(findings, _cannot_tell(findings, ranked))


def _recommend(findings: Findings, choice: Sequence[Entry], unshown: Sequence[str]) -> Verdict:
    """Recommend the cheapest of the choice.

    Args:
        unshown: labels of fine-tuned ones that are as good, but whose gain may be chance.
    """
    chosen = cheapest(choice, findings.scores)
    assert chosen is not None
    terms, best = findings.terms, findings.best_first(findings.complete)[0]
    costs = {findings.label(entry): cost_to_own(entry) for entry in choice}
    strictly = eligibility(
        findings.complete, findings.figures, replace(terms, margin_for_cheaper=None)
    )
    limits = findings.figures.intervals[chosen.name]
    others = [entry for entry in findings.complete if entry is not chosen]
    reason = reasons.recommended(
        findings.label(chosen),
        findings.scores[chosen.name],
        (limits.chosen_low, limits.high),
        terms.margin,
        given_up=None if strictly[chosen.name] <= findings.level else terms.margin_for_cheaper,
        enough=terms.good_enough is None or limits.least >= terms.good_enough,
        alone=not others,
        best=all(findings.call(chosen, other) == "better" for other in others),
        fitting=[findings.label(entry) for entry in choice],
        cost=cost_to_own(chosen),
        alike=len(about_as_cheap(choice)),
        unpriced=[name for name, cost in costs.items() if cost is None],
        unshown=unshown,
        passed_over=None if best is chosen else (findings.label(best), findings.scores[best.name]),
        scale=terms.scale,
    )
    reason += _below_needed(findings, chosen)
    verdict = Verdict(
        outcome="recommend",
        recommend=chosen.name,
        as_good=[entry.name for entry in choice],
        reason=reason,
    )
    return _named(findings, chosen, verdict)


def _named(findings: Findings, named: Entry, verdict: Verdict) -> Verdict:
    """The verdict with the interval of the one it names, and what using it may cost."""
    limits, needed = findings.figures.intervals[named.name], findings.terms.good_enough
    return verdict.model_copy(
        update={
            "score_low": limits.chosen_low,
            "score_high": limits.high,
            "enough": None if needed is None else limits.least >= needed,
            "enough_low": None if needed is None else limits.least,
        }
    )


def _may_lose(findings: Findings, used: Entry) -> float | None:
    """How far the best other may be ahead: the largest upper limit of a difference, 0 at least.

    One of the others is the best, so that each limit by itself covers it; None without others. No
    score is above 1, so that none is further ahead than that of the lowest likely score of `used`.
    """
    others = [e for e in findings.complete if e is not used and not e.floor]
    ahead = [-findings.pair(used, other).low for other in others]
    most = 1.0 - findings.figures.intervals[used.name].chosen_low
    return min(max([0.0, *ahead]), most) if ahead else None


def _below_needed(findings: Findings, used: Entry) -> str:
    needed = findings.terms.good_enough
    if needed is None:
        return ""
    ranked = findings.best_first(findings.complete)
    enough = [findings.label(entry) for entry in ranked if findings.fits(entry)]
    limits = findings.figures.intervals[used.name]
    return reasons.below_needed(
        findings.label(used),
        (limits.least, limits.most),
        limits.chosen_low,
        needed,
        enough,
        findings.terms.scale,
    )


def _too_few(findings: Findings, ranked: Sequence[Entry]) -> Verdict:
    need = examples_needed(findings, ranked)
    seen = reasons.seen(findings.examples, findings.group_count, findings.units)
    used, why = for_now(findings, ranked) if findings.examples else (None, None)
    reason = reasons.too_few(seen, LEAST_UNITS)
    if used is None and findings.examples:
        reason += none_for_now(findings, ranked)
    reason += _next_step(findings, used, why, need)
    return _undecided(findings, ranked, used, need, reason)


def _cannot_tell(findings: Findings, ranked: Sequence[Entry]) -> Verdict:
    """Contenders are not called worse than another. The shortlist, of which one is used: those of
    them that are not surely below `good_enough`."""
    contenders = [
        entry
        for entry in ranked
        if not any(findings.call(entry, o) == "worse" for o in ranked if o is not entry)
    ]
    shortlist = [entry for entry in contenders if findings.fits(entry)] or [
        entry for entry in ranked if findings.fits(entry)
    ]
    first = shortlist[0]
    # To be recommended it must be shown against all, also against those that will not do.
    need = examples_needed(findings, [first, *(e for e in contenders if e is not first)])
    (used, why), terms = for_now(findings, shortlist), findings.terms
    needed, scale = terms.good_enough, terms.scale
    shown = [entry for entry in ranked if findings.eligible(entry) and not entry.floor]
    if shown and needed is not None and not any(map(findings.fits, shown)):
        names = [findings.label(entry) for entry in shortlist]
        reason = reasons.only_below_needed(names, needed, scale)
        reason += _next_step(findings, None, None, need)
    else:
        reason = reasons.undecided(
            [findings.label(entry) for entry in contenders],
            None if used is None else findings.label(used),
            findings.examples,
            terms.margin,
            scale,
        )
        if needed is not None and len(contenders) > 1:
            below = [findings.label(entry) for entry in contenders if not findings.fits(entry)]
            reason += reasons.no_choice(below, needed, scale)
        if used is None:
            reason += none_for_now(findings, shortlist)
        reason += _next_step(findings, used, why, need)
        reason += "" if used is None else _below_needed(findings, used)
    return _undecided(findings, shortlist, used, need, reason)


def _next_step(findings: Findings, used: Entry | None, why: str | None, need: Need) -> str:
    """What to use and why that one, what it costs if it is wrong, and what would settle it."""
    terms, name = findings.terms, None if used is None else findings.label(used)
    loss = None if used is None else _may_lose(findings, used)
    return reasons.next_step(name, why, loss, need.text, terms.scale, terms.monthly_requests)


def _undecided(
    findings: Findings, shortlist: Sequence[Entry], used: Entry | None, need: Need, reason: str
) -> Verdict:
    verdict = Verdict(
        outcome="cannot_tell",
        shortlist=[entry.name for entry in shortlist],
        use_meanwhile=used.name if used else None,
        may_lose=_may_lose(findings, used) if used else None,
        more_examples_needed=need.if_equal,
        more_if_as_seen=need.if_as_seen,
        more_groups_needed=need.groups_if_equal,
        more_groups_if_as_seen=need.groups_if_as_seen,
        reason=reason,
    )
    return _named(findings, used, verdict) if used else verdict


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
    ours = next((entry for entry in tuned if entry.name == verdict.named), tuned[0])
    alternatives = [entry for entry in others if findings.eligible(entry)]
    rival = cheapest(alternatives, findings.scores)
    even = break_even_requests(ours, rival, findings.terms.monthly_requests) if rival else None
    worth = _worth_it(findings, verdict, ours, others, alternatives)
    holds = worth is not True or _is_of_trainings(findings, ours, others, alternatives)
    return verdict.model_copy(
        update={
            "fine_tuning_worth_it": worth if holds else None,
            "version_worth_it": worth,
            "break_even_requests": even,
        }
    )


def _worth_it(
    findings: Findings,
    verdict: Verdict,
    ours: Entry,
    others: Sequence[Entry],
    alternatives: Sequence[Entry],
) -> bool | None:
    """True, False, or None where quality or cost is not known well enough. Never False of one that
    the verdict says to use, and never True because nothing else is eligible.

    Args:
        others: those that were not trained, the best first; `alternatives`: the eligible ones.
    """
    call = findings.call(ours, others[0])
    used = ours.name in (verdict.recommend, verdict.use_meanwhile)
    unless_better = False if call in ("worse", "equivalent") and not used else None
    if verdict.outcome == "none":
        return False
    if verdict.outcome == "cannot_tell":
        return unless_better
    if not findings.eligible(ours):
        return False
    if not alternatives:
        return True if _leaves_no_choice(findings, ours, others) else None
    known = [cost_to_own(entry) for entry in (ours, *alternatives)]
    if verdict.recommend == ours.name:
        return None if None in known else True
    return unless_better if known[0] is None or set(known[1:]) == {None} else False


def _is_of_trainings(
    findings: Findings, ours: Entry, others: Sequence[Entry], alternatives: Sequence[Entry]
) -> bool:
    """Whether that ours is worth it holds of trainings of its kind, and not of this one alone: they
    are no worse than any other candidate by the margin where one without training will do, else
    better than each of these."""
    if alternatives:
        rivals = [entry for entry in findings.complete if entry is not ours]
        allowance = findings.terms.margin
    else:
        rivals, allowance = list(others), 0.0
    pairs = [findings.pair(ours, other) for other in rivals]
    if not all(
        findings.is_shown_of_trainings(ours, pair.difference + allowance, pair.error)
        for pair in pairs
    ):
        return False
    needed, limits = findings.terms.good_enough, findings.figures.intervals[ours.name]
    if alternatives or needed is None or _costs_no_more(ours, others):
        return True
    error = (findings.scores[ours.name] - limits.low) / stats.Z_95
    return findings.is_shown_of_trainings(ours, findings.scores[ours.name] - needed, error)


def _leaves_no_choice(findings: Findings, ours: Entry, others: Sequence[Entry]) -> bool:
    """Whether no weighing of quality against money is left to the user: it costs no more than any
    of the others, or it alone is what the user called good enough."""
    needed, limits = findings.terms.good_enough, findings.figures.intervals[ours.name]
    enough = needed is not None and limits.least >= needed
    if enough and not any(findings.fits(entry) for entry in others):
        return True
    return _costs_no_more(ours, others)


def _costs_no_more(ours: Entry, others: Sequence[Entry]) -> bool:
    """Whether it costs no more than any of the others, all of which have a known cost."""
    cost = cost_to_own(ours)
    rivals = [cost_to_own(entry) for entry in others if not entry.floor]
    return cost is not None and all(rival is not None and cost <= rival for rival in rivals)
