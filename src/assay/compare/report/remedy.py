"""What to mend first where a comparison recommends none of its candidates."""

from __future__ import annotations

from collections.abc import Sequence

from assay.compare.reasons import quoted
from assay.compare.report import wording
from assay.compare.result import CandidateResult, Result
from assay.errors import Step
from assay.evaluate.powerlaw import FEWEST_ROWS


def first(result: Result) -> str:
    """The remedy that comes first by what was measured: the one field of a record without which
    the best would be good enough; the labels, if enough of them are doubtful; else more examples or
    a stronger model, between which a learning curve decides.

    Args:
        result: whose outcome is `none`, or which names none for now.
    """
    needed, look = result.good_enough, result.second_look
    scored = [c for c in result.candidates if c.score is not None and not c.floor]
    scored.sort(key=lambda c: -(c.score or 0.0))
    best = next(iter(scored), None)
    drawn = _more_examples(result, scored)
    if not any(c.prompt_tokens is not None or c.kind == "outside" for c in result.candidates):
        drawn = f"let candidates with a language model take part, since none did. Then {drawn}"
    if (
        needed is None
        or result.verdict.use_meanwhile
        or best is None
        or (best.score or 0.0) >= needed
    ):
        return (
            "Check first, on single rows, that a person could give the answer from the input "
            f"alone. Then {drawn}"
        )
    below = needed - (best.score or 0.0)
    distance = f"{quoted(best.name)} is {100 * below:.1f} points below what you called good enough"
    if hard := _hard_field(result, best, needed):
        field, others = hard
        return (
            f"{distance}, for one field alone: {field} is right in "
            f"{wording.in_100(best.per_class[field])} of 100 records that have it, all others "
            f"together in about {wording.in_100(others)} or more. Check first, on single rows, "
            "that a person could write this field, as it is written there, from the input alone. "
            f"Then {drawn}"
        )
    if look is None:
        return f"{distance}. First {drawn}"
    doubtful = len(look.ids) / look.rows
    labels = f"{100 * doubtful:.1f} in 100 of the measured labels may be wrong"
    if look.ids and (look.ceiling < needed or doubtful >= below):
        return (
            f"{distance}, and {labels}: look at these "
            "labels first, before you pay for more examples or a stronger model."
        )
    few = f"and only {labels}" if look.ids else "and none of the measured labels looks wrong"
    return f"{distance}, {few}. First {drawn}"


def _hard_field(result: Result, best: CandidateResult, needed: float) -> tuple[str, float] | None:
    """The only field without which the records of the best would be good enough, and the share of
    them in which all others are right, at least; None where there is none, or no whole record
    counts.
    """
    if result.primary != "record-exact" or len(best.per_class) < 2:
        return None
    wrong = {name: 1 - right for name, right in best.per_class.items()}
    without = {name: 1 - sum(wrong.values()) + wrong[name] for name in wrong}
    enough = [name for name in without if without[name] >= needed]
    return (enough[0], without[enough[0]]) if len(enough) == 1 else None


def _more_examples(result: Result, best_first: Sequence[CandidateResult]) -> str:
    """How to find out; of the best that is built here, which no saved agent and no file is."""
    if result.data.train < FEWEST_ROWS:
        return (
            "collect more examples, and compare again: to tell beforehand whether they would help "
            f"takes {FEWEST_ROWS} training examples, and there are {result.data.train}."
        )
    kinds = [c.kind for c in best_first if c.kind in result.names]
    curve = Step.DRAW_CURVE.of(kinds[0]) if kinds else Step.DRAW_CURVE
    return (
        f"find out whether more examples would help, with {curve}: if the score still rises "
        "with the number of examples, they do; if not, only a better prompt or a stronger model "
        "may."
    )
