"""The smallest difference that a comparison can show, of which pair that holds, and why it is not
what was stated before."""

from __future__ import annotations

from assay.compare.report.wording import RIGHT_ANSWERS, score_meaning
from assay.compare.result import Result
from assay.evaluate.stats import UNKNOWN_DISCORDANCE, detectable_difference

_Z_95 = 1.96
"""Standard errors from the middle of an interval of 95 % to its end."""

ASSUMPTION = (
    f"if two candidates disagree on {100 * UNKNOWN_DISCORDANCE:.0f} in 100 examples; how often "
    "they do is measured while they are built"
)
"""Under which an effect is stated before anything is built."""


def effect(result: Result) -> str:
    """What was reckoned before the holdout was opened, and of which two candidates that holds."""
    points, plan = f"{100 * result.minimum_detectable_effect:.1f} points", result.plan
    if plan.discordance == plan.stated_discordance:
        return f"This comparison was planned to detect differences of about {points}."
    return (
        "Between the two that were best on validation, this comparison was planned to detect "
        f"differences of about {points}."
    )


def needed_of_pairs(result: Result) -> str | None:
    """Which differences can be detected between the candidates as their answers turned out to
    differ on the holdout; None where there is no pair."""
    floors = {c.name for c in result.candidates if c.floor}
    rivals = sum(not c.floor for c in result.candidates)
    found = [
        detectable_difference(
            (pair.high - pair.low) / (2 * _Z_95), rivals * (rivals - 1) // 2, result.opening.alpha
        )
        for pair in result.pairs
        if not {pair.a, pair.b} & floors
    ]
    if not found:
        return None
    least, most = (f"{100 * end:.0f}" for end in (min(found), max(found)))
    between = f"about {least} points"
    if least != most:
        between = f"{least} to {most} points, depending on the pair,"
    return (
        f"As the scores differ on the holdout, a true difference of {between} is detected 8 "
        "times in 10; a smaller one is called less often."
    )


def why_not_as_stated(result: Result) -> str | None:
    """Why it differs from what was stated before any candidate was built; None where it does not,
    and of results whose plan does not tell what was assumed."""
    plan, effect = result.plan, result.minimum_detectable_effect
    stated, assumed = plan.stated_effect, plan.stated_discordance
    if stated is None or assumed is None or f"{100 * stated:.0f}" == f"{100 * effect:.0f}":
        return None
    causes = []
    if plan.discordance != assumed:
        unit = "" if score_meaning(result) == RIGHT_ANSWERS else " (mean squared difference)"
        causes.append(
            f"two candidates were assumed to disagree on {100 * assumed:.0f} in 100 "
            f"examples{unit}, and the two best disagreed on {100 * plan.discordance:.0f} in 100 "
            "of validation"
        )
    if plan.rivals != plan.stated_rivals:
        causes.append("the number of candidates is not the one that was assumed")
    if not causes:
        return None
    return f"Before, about {100 * stated:.0f} points were stated: {', and '.join(causes)}."
