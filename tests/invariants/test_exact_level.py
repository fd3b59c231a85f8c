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

from assay.evaluate.stats import counted_design_effect, opening_alpha, tango_not_worse_p

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


TWINS: dict[str, list[int]] = {
    "27 rows, 2 pairs": [2] * 2 + [1] * 23,
    "50 rows, one group of 4": [4] + [1] * 46,
    "100 rows, 12 pairs": [2] * 12 + [1] * 76,
    "200 rows, 25 pairs": [2] * 25 + [1] * 150,
    "400 rows, one group of 10": [10] + [1] * 390,
    "1,000 rows, 125 pairs": [2] * 125 + [1] * 750,
}
"""Sizes of groups at or near the design effect up to which binary scores are counted."""


def levels_of_twins(sizes: list[int], draws: int, levels: Sequence[float]) -> list[float]:
    """The largest share of `draws` of each discordance that passes; rows of a group agree."""
    of, effect = np.array(sizes), counted_design_effect(sizes)
    assert effect is not None
    rng, worst = np.random.default_rng(0), [0.0 for _ in levels]
    for discordance in (0.022, 0.05, 0.1, 0.2, 0.4):
        worse, better = (discordance - MARGIN) / 2, (discordance + MARGIN) / 2
        drawn = rng.random((draws, len(of)))
        a_only = (drawn < worse) @ of
        b_only = ((drawn >= worse) & (drawn < worse + better)) @ of
        seen, times = np.unique(np.stack([a_only, b_only], axis=1), axis=0, return_counts=True)
        p = np.array(
            [
                tango_not_worse_p(a / effect, b / effect, of.sum() / effect, MARGIN)
                for a, b in seen.tolist()
            ]
        )
        passing = [float(times[p <= level].sum() / draws) for level in levels]
        worst = [max(pair) for pair in zip(worst, passing, strict=True)]
    return worst


def test_few_twins_keep_the_level() -> None:
    """Also where rows of a group always agree."""
    assert levels_of_twins(TWINS["200 rows, 25 pairs"], 20_000, [LEVEL])[0] <= 1.1 * LEVEL


@pytest.mark.soak
def test_soak_of_twins() -> None:
    lines, levels = [], (LEVEL, LEVEL / 6, LEVEL / 15)
    for name, sizes in TWINS.items():
        worst = levels_of_twins(sizes, 200_000, levels)
        assert all(found <= 1.1 * level for found, level in zip(worst, levels, strict=True)), name
        lines.append(f"| {name} | " + " | ".join(f"{100 * one:.2f} %" for one in worst) + " |")
    head = (
        f"| groups, whose rows agree | tested at {100 * LEVEL:.2f} % | at a sixth of it "
        "| at a fifteenth |\n|---|---|---|---|\n"
    )
    note = "The largest of 5 discordances from 0.022 to 0.4; 200,000 draws a figure"
    write_block("twins", head + "\n".join(lines), note)


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
