"""What training cost the model in general, in sentences for page and terminal."""

from __future__ import annotations

import math

from assay.compare.reasons import signed
from assay.evaluate.forgetting import SMALL, Ability, Forgetting
from assay.quantities import say_number


def in_a_line(found: Forgetting) -> str:
    """What training cost the model in general, in one line."""
    text, followed = found.text, found.instructions
    lost = "It has lost general ability." if found.worse else "It has lost a little."
    return (
        "Beside the job: perplexity on general text (how hard it is to predict; lower is better) "
        f"{perplexity(text.base)} before training, {perplexity(text.tuned)} after; "
        f"{count(followed, followed.base)} of {followed.items} simple instructions followed "
        f"before, {count(followed, followed.tuned)} after. "
        + (lost if found.worse or text.low > 0 else "No loss shows.")
    )


def text_lost(text: Ability) -> str:
    """How well general text is predicted now."""
    return (
        f"Its perplexity on general text is {perplexity(text.tuned)}, {perplexity(text.base)} "
        f"before training; {perplexity(text.lost)} times what it was (95 % interval "
        f"{perplexity(text.low)} to {perplexity(text.high)}; lower is better)."
    ) + _whether(text, SMALL)


def instructions_lost(followed: Ability) -> str:
    """How many of the simple instructions are followed now."""
    return (
        f"It follows {count(followed, followed.tuned)} of {followed.items} simple instructions, "
        f"{count(followed, followed.base)} before training ({signed(-followed.lost)} points of "
        f"100, 95 % interval {signed(-followed.high)} to {signed(-followed.low)})."
    ) + _whether(followed)


def _whether(ability: Ability, small: float = 0.0) -> str:
    if ability.low > 0:
        return " That is a loss." if ability.low > small else " That is a small loss."
    return " That is a gain." if ability.high < 0 else " No loss shows."


def perplexity(nats: float) -> str:
    """e to the power of nats: a perplexity, or of a difference the ratio of two. Of a ruined model
    it is vast, and stays a number."""
    return say_number(math.exp(min(nats, 700.0)), 4)


def count(ability: Ability, share: float) -> int:
    """How many of the items a share is."""
    return round(share * ability.items)
