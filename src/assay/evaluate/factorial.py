"""What two candidates add to one another: a 2×2 of scores on the same examples. Pure.

                without b     with b
    without a   neither       b
    with a      a             both

Each effect is a mean of per-example differences, so its interval is that of a paired mean, by group
where rows belong together. The interaction is what `a` adds beside `b` less what it adds alone,
(both − b) − (a − neither): above 0 the two help one another, below 0 each does in part what the
other does. The figures explain; they take no part in the verdict and are not corrected for number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.config.strict import ClosedModel
from assay.evaluate.resampling import studentise, units

_RESAMPLES = 4000


class Effect(ClosedModel):
    """A mean difference of scores with its 95 % interval."""

    difference: float
    low: float
    high: float


class Factorial(ClosedModel):
    """Two candidates, alone and together.

    Attributes:
        a, b: the two candidates; `neither`, `both`: the candidates without and with the two.
        a_alone: what a adds where b is not; a_beside: where it is. Likewise b.
        interaction: a_beside − a_alone, the same as b_beside − b_alone.
    """

    a: str
    b: str
    neither: str
    both: str
    a_alone: Effect
    a_beside: Effect
    b_alone: Effect
    b_beside: Effect
    interaction: Effect


def factorial(
    names: tuple[str, str, str, str],
    scores: tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]],
    groups: Sequence[str] | None,
    alpha: float = 0.05,
) -> Factorial:
    """The five effects of a 2×2.

    Args:
        names: of neither, a, b, both.
        scores: of each in that order, one from 0 to 1 for each example, the same examples.
        groups: of the examples; None where they are independent.

    Raises:
        ValueError: no examples, or not the same number for all.
    """
    neither, a, b, both = (np.asarray(one, dtype=float) for one in scores)
    if not len(neither) or len({len(neither), len(a), len(b), len(both)}) > 1:
        raise ValueError("the four need the same examples, and some")
    a_alone, a_beside, b_alone, b_beside = a - neither, both - b, b - neither, both - a
    columns = np.stack([a_alone, a_beside, b_alone, b_beside, a_beside - a_alone], axis=1)
    bound = np.array([1.0, 1.0, 1.0, 1.0, 2.0])
    rng = np.random.default_rng(0)
    found = studentise(units(columns, groups), _RESAMPLES, rng, least=-bound, most=bound)
    low, high = found.interval(alpha)
    effects = [
        Effect(difference=float(m), low=float(x), high=float(y))
        for m, x, y in zip(found.mean, low, high, strict=True)
    ]
    return Factorial(
        a=names[1],
        b=names[2],
        neither=names[0],
        both=names[3],
        a_alone=effects[0],
        a_beside=effects[1],
        b_alone=effects[2],
        b_beside=effects[3],
        interaction=effects[4],
    )
