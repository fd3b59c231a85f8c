"""The smallest difference that a comparison can show, and why it is not what was stated before."""

from __future__ import annotations

from assay.compare.report.wording import RIGHT_ANSWERS, score_meaning
from assay.compare.result import Result
from assay.evaluate.stats import UNKNOWN_DISCORDANCE

ASSUMPTION = (
    f"if two candidates disagree on {100 * UNKNOWN_DISCORDANCE:.0f} in 100 examples; how often "
    "they do is measured while they are built"
)
"""Under which an effect is stated before anything is built."""


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
