"""Training is recommended where it gains something, and not where it gains nothing.

The seeded part runs in `make test`, `make soak` writes the table of docs/statistics.md.
"""

from __future__ import annotations

from unittest.mock import patch

import pytest
from tests.figures import soak_runs, write_block
from tests.invariants.verdict_simulation import Cell, allowed, simulate

from assay.compare.findings import Findings

LEADS = (0.0, 0.02, 0.05, 0.1)
SIZES = (100, 200, 500, 1000)


def candidates(lead: float, n: int) -> Cell:
    """Six, the floor among them; the fine-tuned one has a lead over the best without training."""
    truth = (0.7, 0.66, 0.62, round(0.7 + lead, 2), 0.55, 0.3)
    return Cell("binary", n, truth, shared=0.9, floor=True, tuned=3)


def count_recommended(cell: Cell, runs: int, *, if_shown: bool = True) -> int:
    """Comparisons that recommend the fine-tuned one.

    Args:
        if_shown: False: whether or not its gain is shown, as the rule was before.
    """
    if if_shown:
        return simulate(cell, runs, seed=7).tuned
    with patch.object(Findings, "is_gain_shown", lambda findings, entry: True):
        return simulate(cell, runs, seed=7).tuned


def test_nobody_is_told_to_train_for_nothing() -> None:
    cell, runs = candidates(0.0, 1000), 300
    most = allowed(0.05, runs)
    assert count_recommended(cell, runs) <= most
    assert count_recommended(cell, 100, if_shown=False) > allowed(0.05, 100), "it would be seen"


@pytest.mark.parametrize(("lead", "n", "least"), [(0.05, 500, 0.8), (0.1, 100, 0.64)])
def test_a_gain_is_shown_with_few_examples(lead: float, n: int, least: float) -> None:
    assert count_recommended(candidates(lead, n), 300) >= 300 * least


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_gains() -> None:
    runs, lines = soak_runs(400), []
    for lead in LEADS:
        shares = []
        for n in SIZES:
            before, now = (
                count_recommended(candidates(lead, n), runs, if_shown=shown)
                for shown in (False, True)
            )
            assert lead or now <= allowed(0.05, runs), (n, now)
            shares.append(f"{100 * before / runs:.0f} → {100 * now / runs:.0f} %")
        title = f"{100 * lead:g} points" if lead else "none: training gains nothing"
        lines.append(f"| {title} | {' | '.join(shares)} |")
    head = f"| its lead over the best without training | n = {' | '.join(map(str, SIZES))} |\n"
    head += "|---" * (len(SIZES) + 1) + "|\n"
    write_block("gain from training", head + "\n".join(lines), f"{runs} comparisons a figure")
