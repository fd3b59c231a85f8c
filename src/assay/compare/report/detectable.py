"""The smallest lead that a comparison would recommend, which differences it can call, and why the
lead is not what was stated before."""

from __future__ import annotations

from assay.compare.report.wording import RIGHT_ANSWERS, score_meaning
from assay.compare.result import Result
from assay.evaluate.stats import UNKNOWN_DISCORDANCE, Z_95, detectable_difference
from assay.quantities import say_count

ASSUMPTION = (
    f"if two candidates disagree on {100 * UNKNOWN_DISCORDANCE:.0f} in 100 examples (how often "
    "they do is measured while they are built); a fine-tuned one, whose gain must be shown, needs "
    "a lead that is larger by about the margin"
)
"""Under which an effect is stated before anything is built."""


def smallest_lead(effect: float, places: int = 1) -> str:
    """What a comparison would recommend with a power of 0.8, to go on a sentence with.

    Args:
        effect: the smallest lead, 0 to 1.
        places: digits of its points (of 100) after the decimal point.
    """
    points = f"{100 * effect:.{places}f}"
    if float(points) == 0:
        return (
            "no lead is needed: of candidates that are equally good, one would be shown to be "
            "within the margin and recommended in 8 of 10 comparisons"
        )
    return (
        "the smallest lead that would be recommended in 8 of 10 comparisons is about "
        f"{points} point{'' if points == '1' else 's'}"
    )


def effect(result: Result) -> str:
    """What was computed before the holdout was opened, and from what."""
    lead, plan = smallest_lead(result.minimum_detectable_effect), result.plan
    if plan.discordance == plan.stated_discordance:
        return f"As planned, {lead}."
    return f"As planned from how often the two best on validation disagreed there, {lead}."


def needed_of_pairs(result: Result) -> str | None:
    """Which differences are called between the candidates as their answers turned out to differ on
    the holdout; None where there is no pair."""
    floors = {c.name for c in result.candidates if c.floor}
    rivals = sum(not c.floor for c in result.candidates)
    # The floor costs nothing here: once it is shown to be worse than one of them, Shaffer's divisor
    # is the number of pairs without it.
    level = result.opening.alpha / max(rivals * (rivals - 1) // 2, 1) / 2
    found = [
        detectable_difference((pair.high - pair.low) / (2 * Z_95), level)
        for pair in result.pairs
        if not {pair.a, pair.b} & floors
    ]
    if not found:
        return None
    least, most = (f"{100 * end:.0f}" for end in (min(found), max(found)))
    between = f"about {say_count(int(least), 'point')}"
    if least != most:
        between = f"{least} to {most} points, depending on the pair,"
    return (
        f"As the scores differ here, a true difference of {between} is proven 8 times in 10, and a "
        "smaller one less often."
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
    if any(c.name == plan.tested_first and c.fine_tuned for c in result.candidates):
        causes.append("the best on validation is fine-tuned, so that its gain must be shown, too")
    if not causes:
        return None
    were = say_count(round(100 * stated), "point was", "points were")
    return f"Before, about {were} stated: {', and '.join(causes)}."
