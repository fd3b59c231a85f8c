"""What to mend first where a comparison recommends none of its candidates."""

from __future__ import annotations

from assay.compare.result import Result

_CURVE = (
    "Draw a learning curve first: where it still rises, more examples help; where it is flat, "
    "only a better prompt or a stronger model may."
)


def first(result: Result) -> str:
    """The remedy that comes first by what was measured: the labels, if enough of them are doubtful;
    else more examples or a stronger model, between which a learning curve decides.

    Args:
        result: whose outcome is `none`.
    """
    needed, look = result.good_enough, result.second_look
    scored = [c for c in result.candidates if c.score is not None and not c.floor]
    if needed is None or result.verdict.use_meanwhile or not scored:
        return (
            "Check first, on single rows, that a person could give the answer from the input "
            f"alone. {_CURVE}"
        )
    best = max(scored, key=lambda c: c.score or 0.0)
    below = needed - (best.score or 0.0)
    distance = f"{best.name} is {100 * below:.1f} points below what you called good enough"
    if look is None:
        return f"{distance}. {_CURVE}"
    doubtful = len(look.ids) / look.rows
    if look.ids and (look.ceiling < needed or doubtful >= below):
        return (
            f"{distance}, and {100 * doubtful:.1f} in 100 labels are doubtful: look at these "
            "labels first, before you pay for more examples or a stronger model."
        )
    return f"{distance}, and only {100 * doubtful:.1f} in 100 labels are doubtful. {_CURVE}"
