"""How often a candidate that is worse by the margin is called no worse, of scores that are right or
wrong: exactly, by summing over all that may be seen. `make soak` writes the table of
docs/statistics.md.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats
from tests.figures import write_block
from tests.invariants.verdict_simulation import MARGIN

from assay.evaluate.stats import opening_alpha, tango_not_worse_p

LEVEL = opening_alpha(0.05, 1)
DISCORDANCES = (0.02, 0.022, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.3, 0.4)
"""Shares of examples on which two candidates differ; at 0.02 only the better one is ever right."""
MOST = (max(DISCORDANCES) + MARGIN) / 2
"""Largest chance of an example that only the better one has right."""


def exact_levels(n: int, level: float, discordances: Sequence[float]) -> list[float]:
    """The chance to pass at each discordance, of n examples."""
    better = np.arange(int(stats.binom.ppf(1 - 1e-12, n, MOST)) + 1)
    # With so many that only the better one has right, the worse one passes from so many on.
    least = np.array(
        [
            bisect_left(
                range(n - int(b) + 1),
                True,
                key=lambda a, b=b: tango_not_worse_p(a, int(b), n, MARGIN) <= level,
            )
            for b in better
        ]
    )
    found = []
    for discordance in discordances:
        worse, chance = (discordance - MARGIN) / 2, (discordance + MARGIN) / 2
        passing = stats.binom.sf(least - 1, n - better, worse / (1 - chance))
        found.append(float(stats.binom.pmf(better, n, chance) @ passing))
    return found


def test_not_worse_holds_its_level_at_the_worst_true_discordance() -> None:
    assert max(exact_levels(200, LEVEL, DISCORDANCES)) <= 1.05 * LEVEL


@pytest.mark.soak
def test_soak_of_exact_levels() -> None:
    lines, levels = [], (LEVEL, LEVEL / 6, LEVEL / 15)
    for n in (50, 100, 200, 500, 1000, 3000):
        worst = [max(exact_levels(n, level, DISCORDANCES)) for level in levels]
        assert all(found <= 1.2 * level for found, level in zip(worst, levels, strict=True)), (
            n,
            worst,
        )
        lines.append(f"| {n:,} | " + " | ".join(f"{100 * one:.2f} %" for one in worst) + " |")
    head = (
        f"| n | tested at {100 * LEVEL:.2f} % | at a sixth of it | at a fifteenth |\n"
        "|---|---|---|---|\n"
    )
    note = f"The largest of {len(DISCORDANCES)} discordances from 0.02 to 0.4; exact, nothing drawn"
    write_block("exact levels", head + "\n".join(lines), note)
