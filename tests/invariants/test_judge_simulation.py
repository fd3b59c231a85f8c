"""The range of a score that a model gave holds what people would say; what it cannot hold is said.

People like half of the answers of two candidates. The judge likes these, and some of the others; of
a candidate that is the judge itself, or learned from it, more of them. How far it errs is told by
pairs of other answers, as `judge_worth` does. The seeded part runs in `make test`; `make soak`
writes the table of docs/statistics.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from tests.figures import soak_runs, write_block
from tests.invariants.verdict_simulation import MARGIN, allowed

from assay.compare.verdict import Decision, Entry, Terms, decide
from assay.evaluate.judging import highest_mean
from assay.evaluate.stats import opening_alpha

ROWS = 200
LIKED = 0.5
"""Share of the answers that people like, of either candidate."""
OTHER, OWN = "other", "own"


@dataclass(frozen=True)
class Judge:
    """How a judge errs.

    Attributes:
        likes: share of the answers that people do not like, but the judge does.
        own: the same share of its own answers.
        pairs: that people have judged, too.
    """

    likes: float
    own: float
    pairs: int


@dataclass
class Tally:
    """Counts over comparisons by one judge.

    Attributes:
        error: `judge_error`, on average.
        before, covered: ranges without and with that error in them that hold what people say, of
            the other candidate and of its own.
        preferred: its own was called better.
        beyond: and that by more than the report says can be the judge's error.
    """

    runs: int
    error: float
    before: dict[str, int]
    covered: dict[str, int]
    preferred: int
    beyond: int


def holds(decision: Decision, name: str) -> bool:
    found = decision.candidate(name)
    return found.low is not None and found.high is not None and found.low <= LIKED <= found.high


def simulate(judge: Judge, runs: int, seed: int) -> Tally:
    rng = np.random.default_rng([seed, judge.pairs, round(1000 * judge.own)])
    tally = Tally(runs, 0.0, {OTHER: 0, OWN: 0}, {OTHER: 0, OWN: 0}, 0, 0)
    for run in range(runs):
        disliked = rng.random(judge.pairs) >= LIKED
        apart = (disliked & (rng.random(judge.pairs) < judge.likes)).astype(float)
        error = highest_mean(apart.tolist())
        tally.error += error / runs
        entries = []
        for name, share in ((OTHER, judge.likes), (OWN, judge.own)):
            people = rng.random(ROWS) < LIKED
            entries.append(Entry(name, (people | (rng.random(ROWS) < share)).astype(float)))
        before = decide(entries, None, Terms(margin=MARGIN, seed=run))
        now = decide(entries, None, Terms(margin=MARGIN, seed=run, judge_error=error))
        for name in (OTHER, OWN):
            tally.before[name] += holds(before, name)
            tally.covered[name] += holds(now, name)
        [pair] = now.pairs
        preferred = pair.call == "worse"
        tally.preferred += preferred
        tally.beyond += preferred and -pair.difference > 2 * error
    return tally


JUDGES = (
    *(Judge(likes, likes, pairs) for likes in (0.05, 0.15) for pairs in (50, 200)),
    *(Judge(0.05, own, pairs) for own in (0.2, 0.4) for pairs in (50, 200)),
)


def check(judge: Judge, tally: Tally) -> None:
    """Nothing is promised of its own answers where it errs more of these."""
    slack = 3 * (0.95 * 0.05 / tally.runs) ** 0.5
    assert tally.covered[OTHER] >= (0.95 - slack) * tally.runs, (judge, tally)
    if judge.own == judge.likes:
        assert tally.covered[OWN] >= (0.95 - slack) * tally.runs, (judge, tally)
        assert tally.preferred <= allowed(opening_alpha(0.05, 1), tally.runs), (judge, tally)


def test_the_range_holds_what_people_would_say() -> None:
    judge, runs = Judge(0.15, 0.15, 100), 100
    tally = simulate(judge, runs, seed=7)
    check(judge, tally)
    assert tally.before[OTHER] < 0.8 * runs, "without the judge's error it would not"


def test_a_judge_of_its_own_answers_prefers_them() -> None:
    """Else there were nothing that the report has to say beside the ranges."""
    tally = simulate(Judge(0.05, 0.4, 50), 100, seed=7)
    assert tally.preferred > 50
    assert tally.covered[OWN] < tally.covered[OTHER]


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_judges() -> None:
    runs, lines = soak_runs(1000), []
    for judge in JUDGES:
        tally = simulate(judge, runs, seed=1)
        check(judge, tally)
        covers = " | ".join(
            f"{100 * tally.before[name] / runs:.0f} → {100 * tally.covered[name] / runs:.0f} %"
            for name in (OTHER, OWN)
        )
        lines.append(
            f"| {100 * judge.likes:.0f} % | {100 * judge.own:.0f} % | {judge.pairs} | "
            f"{100 * tally.error:.1f} points | {covers} | {100 * tally.preferred / runs:.0f} % | "
            f"{100 * tally.beyond / runs:.0f} % |"
        )
    head = (
        "| likes of the others | … of its own | pairs | wider by, on each side | covers what "
        "people say, before → now | … of its own | its own called better | … by more than twice "
        "`judge_error` |\n|---|---|---|---|---|---|---|---|\n"
    )
    write_block("judges", head + "\n".join(lines), f"{runs:,} comparisons a row")
