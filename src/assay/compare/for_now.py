"""What to use until more is known, and why that one. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from assay.compare.costs import SAME_COST, about_as_cheap, cost_to_own, least_demanding
from assay.compare.entries import Entry
from assay.compare.findings import Findings
from assay.compare.reasons import listed


def for_now(findings: Findings, shortlist: Sequence[Entry]) -> tuple[Entry | None, str | None]:
    """What to use until more is known, and what singles it out; None: its score alone.

    None to use: the best has nothing right, or one that reads no input is as near.

    The least demanding of those whose score is at most the margin, or one example, behind the best
    of the shortlist: the margin does not matter to the user, and one example shows nothing; a
    larger difference is more likely true than not. One that reads no input, or gives nothing right,
    is never named: it is there to be beaten.

    Args:
        shortlist: the best score first.
    """
    best, scores = shortlist[0], findings.scores
    if _near_floor(findings, best) is not None:
        return None, None
    near = [entry for entry in shortlist if _is_near(findings, entry, best)]
    useful = [entry for entry in near if scores[entry.name] > 0]
    used = least_demanding(useful, scores)
    if used is not None:
        cheaper = _cheaper(findings, used, shortlist)
        if used is best:
            return used, _BEST_SO_FAR + cheaper if cheaper else None
        why = _advantage(used, useful, scores)
        return used, why and why + cheaper
    # Where all that may be good enough are shown to be worse than one that is not.
    beaten = any(findings.call(best, o) == "worse" for o in findings.complete if o is not best)
    first = findings.best_first(findings.complete)[0] if beaten else best
    return first if scores[first.name] else None, None


def _near_floor(findings: Findings, best: Entry) -> Entry | None:
    """One that reads no input and is at most the margin, or one example, behind the best."""
    return next((e for e in findings.complete if e.floor and _is_near(findings, e, best)), None)


def none_for_now(findings: Findings, shortlist: Sequence[Entry]) -> str:
    """An addition to the reason of `cannot_tell`: why none is named until more is known.

    Args:
        shortlist: the best first.
    """
    best, scores, scale = shortlist[0], findings.scores, findings.terms.scale
    floor, score = _near_floor(findings, best), scale.first(scores[best.name])
    if floor is None or not scores[best.name]:
        return " No candidate has anything right so far, so use none for now."
    name = findings.label(floor)
    if floor is best:
        return (
            f" The best score so far, {score}, is that of {name}, which reads no input, so use "
            "none for now."
        )
    return (
        f" {findings.label(best)}, the best so far, scores {score}, and {name}, which reads no "
        f"input, {scale.again(scores[floor.name])}: hardly less, so use none for now."
    )


def _is_near(findings: Findings, entry: Entry, best: Entry) -> bool:
    most = max(findings.terms.margin, 1 / findings.examples)
    return findings.scores[best.name] - findings.scores[entry.name] <= most + 1e-9


def _advantage(used: Entry, near: Sequence[Entry], scores: dict[str, float]) -> str | None:
    """What the least demanding of those near the best has before them, as far as it is known."""
    costs = [cost_to_own(entry) for entry in near]
    if cost_to_own(used) is not None:
        alike = about_as_cheap(near)
        if len(alike) > 1:
            level = [entry for entry in alike if scores[entry.name] == scores[used.name]]
            slower = [entry.answer_seconds for entry in level if entry is not used]
            mine = used.answer_seconds
            return _of_equal_cost(
                len(alike),
                len(level),
                is_known=None not in costs,
                is_fastest=mine is not None and all(s is not None and s > mine for s in slower),
            )
        return _of_one("cheapest to own", is_known=None not in costs)
    if used.answer_seconds is not None:
        seconds = [entry.answer_seconds for entry in near]
        return _of_one("fastest", is_known=None not in seconds)
    return None


def _cheaper(findings: Findings, used: Entry, shortlist: Sequence[Entry]) -> str:
    """Who of the shortlist costs less than the one used, for a lower score; floors and those that
    give nothing right are no alternatives."""
    cost = cost_to_own(used)
    if cost is None:
        return ""
    most, mine = cost / (1 + SAME_COST), findings.scores[used.name]
    names = [
        findings.label(entry)
        for entry in shortlist
        if not entry.floor
        and 0 < findings.scores[entry.name] < mine
        and (other := cost_to_own(entry)) is not None
        and other < most
    ]
    return _cheaper_but_lower(names)


_BEST_SO_FAR = "the best score so far"
_NEAR = "those that score about as high as the best"


def _of_one(what: str, *, is_known: bool) -> str:
    """What one has before the others that score about as high as the best.

    Args:
        what: such as "cheapest to own".
        is_known: it is known of all of them.
    """
    known = "" if is_known else ", as far as that is known,"
    return f"the {what}{known} of {_NEAR}"


def _of_equal_cost(alike: int, level: int, *, is_known: bool, is_fastest: bool) -> str:
    """What one has before the others that score about as high as the best and are as cheap to own.

    Args:
        alike: so many, itself included, cost practically the same.
        level: of these so many, itself included, have its score.
        is_known: the cost of all that score about as high as the best.
        is_fastest: of those of its score.
    """
    known = "" if is_known else " (as far as that is known)"
    if level == 1:
        return f"the best of the {alike} cheapest to own{known} among {_NEAR}"
    first = "the fastest" if is_fastest else "one"
    return f"{first} of {level} with the same score, the cheapest to own{known} among {_NEAR}"


def _cheaper_but_lower(names: Sequence[str]) -> str:
    """An addition to what singles one out: who is cheaper, but scores too low to be named."""
    if not names:
        return ""
    verb = ("costs", "scores") if len(names) == 1 else ("cost", "score")
    return f" ({listed(names)} {verb[0]} less but {verb[1]} lower)"
