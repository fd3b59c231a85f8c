"""The learning rate of each step: a warm-up, then down to 0 by a schedule, or constant."""

from __future__ import annotations

import math

from assay.config import FineTune
from assay.config.training import Schedule


def learning_rate(done: int, total: int, settings: FineTune) -> float:
    """Of the step after `done` steps: linear warm-up from 0, then down to 0 by `settings.schedule`.

    The warm-up lasts `settings.warmup` of all steps; the first step and the last are above 0.
    """
    return settings.learning_rate * rate_share(done, total, settings.warmup, settings.schedule)


def rate_share(done: int, total: int, warmup: float, schedule: Schedule = "cosine") -> float:
    """Of the highest learning rate, see `learning_rate`.

    Args:
        warmup: share of all steps.
        schedule: after it: half a cosine down to 0, a line down to 0, or the highest rate.
    """
    first = round(warmup * total)
    if done < first:
        return (done + 1) / (first + 1)
    gone = (done - first) / (total - first)
    if schedule == "linear":
        return 1 - gone
    return 1.0 if schedule == "constant" else 0.5 * (1 + math.cos(math.pi * gone))
