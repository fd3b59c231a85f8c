"""What to mend first where a comparison recommends none of its candidates."""

from __future__ import annotations

from assay.compare.reasons import quoted
from assay.compare.result import CandidateResult, Result

ON_PAGE = "“Draw a learning curve” on the page Training"


def first(result: Result, curve: str | None = None) -> str:
    """The remedy that comes first by what was measured: the labels, if enough of them are doubtful;
    else more examples or a stronger model, between which a learning curve decides.

    Args:
        result: whose outcome is `none`.
        curve: how a learning curve is drawn; None: at a terminal, of the best candidate.
    """
    needed, look = result.good_enough, result.second_look
    scored = [c for c in result.candidates if c.score is not None and not c.floor]
    best = max(scored, key=lambda c: c.score or 0.0, default=None)
    drawn = _more_examples(curve or _command(result, best))
    if needed is None or result.verdict.use_meanwhile or best is None:
        return (
            "Check first, on single rows, that a person could give the answer from the input "
            f"alone. Then {drawn}"
        )
    below = needed - (best.score or 0.0)
    distance = f"{quoted(best.name)} is {100 * below:.1f} points below what you called good enough"
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


def _command(result: Result, best: CandidateResult | None) -> str:
    if best is None:
        return "`assay curve`"
    is_built = best.kind in result.names  # no saved agent and no file of answers
    return f"`assay curve --candidate {best.kind}`" if is_built else "`assay curve`"


def _more_examples(curve: str) -> str:
    return (
        f"find out whether more examples would help, with {curve}: if the score still rises "
        "with the number of examples, they do; if not, only a better prompt or a stronger model "
        "may."
    )
