"""Differences between candidates: whose come first, and what is said of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from assay.compare.reasons import quoted
from assay.compare.report import wording
from assay.compare.result import PairResult, Result

CALLS = {
    "better": "better",
    "worse": "worse",
    "equivalent": "no difference that matters",
    "cannot_tell": "cannot tell",
}


def divided_pairs(result: Result) -> tuple[list[PairResult], list[PairResult]]:
    """The pairs of the candidate that matters most, which comes first in each, best rival first;
    then all others. It is the one that the verdict names, else the one that scores best."""
    ranked = [c.name for c in wording.rank(result)]
    named = result.verdict.named or next(iter(ranked), None)
    own = [p if p.a == named else p.turned() for p in result.pairs if named in (p.a, p.b)]
    others = [p for p in result.pairs if named not in (p.a, p.b)]
    return sorted(own, key=lambda pair: ranked.index(pair.b)), others


def call(pair: PairResult) -> str:
    """What was concluded from a pair; a star where `intervals` has to explain it."""
    return CALLS[pair.call] + (" *" if is_puzzling(pair) else "")


def is_puzzling(pair: PairResult) -> bool:
    """Whether an interval leaves 0 out and the call is "cannot tell" all the same."""
    return pair.call == "cannot_tell" and (pair.low > 0 or pair.high < 0)


def intervals(result: Result, pairs: Sequence[PairResult]) -> str | None:
    """Why an interval without 0 can stand beside "cannot tell"; None where none does.

    Args:
        pairs: those of the result that are shown.
    """
    if not any(map(is_puzzling, pairs)):
        return None
    return (
        "* Probably a difference, but not proven: the range is that of one pair by itself. "
        f"{stricter(result)}"
    )


def why_recommended(result: Result) -> str | None:
    """Why one is recommended that is not proven to be better than each other; None where none is,
    or it is proven."""
    name = result.verdict.recommend
    calls = {pair.call for pair in result.pairs if name in (pair.a, pair.b)}
    if name is None or "cannot_tell" not in calls:
        return None
    cheaper = "; for a cheaper one `margin_for_cheaper`" if result.plan.margin_for_cheaper else ""
    return (
        f"{quoted(name)} is recommended though some of these cannot be told: it need not be proven "
        f"better, only proven not to be behind by more than you allow (`margin`{cheaper})."
    )


def stricter(result: Result) -> str:
    """Why a difference takes more than an interval without 0 to be called one."""
    number, pairs = result.opening.number, len(result.pairs)
    among = "" if pairs == 1 else f"With {pairs} pairs, one can look different by luck, so "
    proof = "stronger proof is asked for" if among else "Stronger proof is asked for"
    time = f"the {wording.ordinal(number)} time"
    if not among:
        return f"{proof} each time the holdout is used (this was {time})."
    return f"{among}{proof}, and stronger still each time the holdout is used (this was {time})."
