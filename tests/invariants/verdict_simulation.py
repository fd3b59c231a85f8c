"""Simulated comparisons, judged by the complete `decide`: how often is a verdict wrong?

Scores come from latent normal variables: one that all candidates share (a hard example is hard for
everyone), one of each candidate's own, and with groups a part of both that a whole group shares.
Their uniform ranks go through the quantile function of a distribution with the wanted mean, so that
the truth is known exactly. Validation is drawn alike, 0.6 times as large, and names the candidate
that is tested first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats
from tests.compare.yearly import yearly

from assay.compare.verdict import Decision, Entry, Terms, decide

MARGIN = 0.02
VALIDATION = 0.6
"""Rows of validation for each row of the holdout, as `assay.yaml` divides by default."""
EQUAL = (0.7,) * 6
AT_MARGIN = (0.7, 0.7, 0.7, 0.68, 0.68, 0.68)
THREE_WORSE = (0.67, 0.7, 0.7, 0.7, 0.7, 0.7)
ONE_BETTER = (0.67, 0.67, 0.67, 0.67, 0.67, 0.7)
HIGH_LEAD = (0.95, 0.98, 0.9, 0.3)
HIGH_AT_MARGIN = (0.975, 0.975, 0.975, 0.955, 0.955, 0.955)
LEAD_5 = (0.7, 0.66, 0.62, 0.75, 0.55, 0.3)
LEAD_10 = (0.7, 0.66, 0.62, 0.8, 0.55, 0.3)
UNBROKEN = 0.85
"""Mean of `collapse` scores that did not collapse."""
COLLAPSING = (0.828, 0.85)


@dataclass(frozen=True)
class Cell:
    """One configuration. The first candidate is the cheapest.

    Attributes:
        kind: `binary`; `fields` (share of five fields); `mixed` (binary and smooth scores of equal
            mean in turn); `partial` (right but for rare, partly right answers); `collapse` (all
            near 0.85, but for rare answers at 0).
        truth: the true mean of each candidate.
        groups: where they are more than half of the rows, each holds one row or two.
        shared: part of the latent variance that all candidates share.
        group_share: part of the latent variance that a group shares.
        largest: share of the examples that one group holds; None draws sizes at random.
        floor: the last candidate is the floor.
        tuned: the position of the one that is fine-tuned, if any.
        good_enough: what the user calls so; None where nothing is said of it.
        margin_for_cheaper: what the user gives up for a cheaper one; None is the margin.
        priced: costs are known, so that they may decide who is named; else only scores do.
    """

    kind: str
    n: int
    truth: tuple[float, ...]
    groups: int | None = None
    shared: float = 0.6
    group_share: float = 0.3
    opening: int = 1
    largest: float | None = None
    floor: bool = False
    tuned: int | None = None
    priced: bool = True
    good_enough: float | None = None
    margin_for_cheaper: float | None = None

    @property
    def label(self) -> str:
        means = "/".join(f"{100 * value:g}" for value in sorted(set(self.truth), reverse=True))
        return (
            f"{self.kind} | {len(self.truth)} | {self.n} | {self.grouping} | {means} | "
            f"{self.opening}"
        )

    @property
    def grouping(self) -> str:
        if not self.groups:
            return "none"
        one = f", one holds {100 * self.largest:g} %" if self.largest else ""
        return f"{self.groups} groups{one}"

    @property
    def rivals(self) -> tuple[float, ...]:
        """True means of those that can be recommended."""
        return self.truth[:-1] if self.floor else self.truth

    @property
    def too_low(self) -> frozenset[str]:
        """Those that must not be recommended: behind the best by the margin or more, or by what is
        given up for a cheaper one."""
        best = int(np.argmax(self.rivals))
        cheaper = self.margin_for_cheaper or MARGIN
        return frozenset(
            f"c{i}"
            for i, mean in enumerate(self.truth)
            if round(self.truth[best] - mean, 9) >= (cheaper if i < best else MARGIN)
        )

    @property
    def lead(self) -> float | None:
        """By how much the best is ahead of the next; None where all are equal."""
        distinct = sorted(set(self.rivals))
        return round(distinct[-1] - distinct[-2], 9) if len(distinct) > 1 else None


@dataclass
class Tally:
    """Counts over the runs of one cell.

    Attributes:
        wrong: recommended though truly worse than the best by what is allowed or more.
        right: recommended, and not that.
        tuned: the fine-tuned one was recommended.
        named_covered: of the intervals of the one that is recommended or used meanwhile.
        named_alone_covered: of the same without a correction for its having been chosen.
        loss_bounded: of the statements what using one meanwhile may cost.
        lost: added up over the same: by how much the best is truly ahead of it.
        cheapest: the first candidate, which is the cheapest, was recommended.
    """

    runs: int = 0
    false_difference: int = 0
    false_equivalence: int = 0
    false_call: int = 0
    false_eligible: int = 0
    wrong: int = 0
    right: int = 0
    tuned: int = 0
    pairs_covered: int = 0
    pairs: int = 0
    singles_covered: int = 0
    singles: int = 0
    named_covered: int = 0
    named_alone_covered: int = 0
    named: int = 0
    loss_bounded: int = 0
    losses: int = 0
    lost: float = 0.0
    cheapest: int = 0

    @property
    def pair_coverage(self) -> float:
        return self.pairs_covered / self.pairs

    @property
    def single_coverage(self) -> float:
        return self.singles_covered / self.singles

    @property
    def named_coverage(self) -> float:
        return self.named_covered / self.named if self.named else 1.0

    @property
    def loss_coverage(self) -> float:
        """Of all comparisons: those that cannot tell where most can are no fair sample."""
        return 1 - (self.losses - self.loss_bounded) / self.runs


@lru_cache
def _quantiles(kind: str, mean: float, position: int) -> Callable[[np.ndarray], np.ndarray]:
    """From uniform ranks to scores with exactly this mean."""
    if kind == "binary" or (kind == "mixed" and position % 2 == 0):
        return lambda u: (u < mean).astype(float)
    if kind == "fields":
        steps = stats.binom.cdf(np.arange(5), 5, 1 - mean)
        return lambda u: 1 - np.searchsorted(steps, u) / 5
    if kind == "partial":
        rate = 2 * (1 - mean)
        return lambda u: np.where(u < 1 - rate, 1.0, (1 - u) / rate)
    grid = np.linspace(0, 1, 20_001)
    if kind == "collapse":
        rate, tight = 1 - mean / UNBROKEN, 150
        unbroken = stats.beta.isf(grid, tight * UNBROKEN, tight * (1 - UNBROKEN))
        return lambda u: np.where(u > 1 - rate, 0.0, np.interp(u / (1 - rate), grid, unbroken))
    values = stats.beta.isf(grid, 4 * mean, 4 * (1 - mean))
    return lambda u: np.interp(u, grid, values)


def draw(cell: Cell, n: int, rng: np.random.Generator) -> tuple[np.ndarray, list[str] | None]:
    """Scores [candidates, n] and groups of one simulated set of examples."""
    k = len(cell.truth)
    common, own = rng.standard_normal(n), rng.standard_normal((k, n))
    groups = None
    if cell.groups:
        weights = rng.gamma(2.0, size=cell.groups)
        if cell.largest:
            weights = np.full(cell.groups, (1 - cell.largest) / (cell.groups - 1))
            weights[0] = cell.largest
        if cell.groups > n / 2:
            member = np.arange(n) % cell.groups
        else:
            member = rng.choice(cell.groups, size=n, p=weights / weights.sum())
        inside, among = np.sqrt(1 - cell.group_share), np.sqrt(cell.group_share)
        common = inside * common + among * rng.standard_normal(cell.groups)[member]
        own = inside * own + among * rng.standard_normal((k, cell.groups))[:, member]
        groups = [f"g{i}" for i in member]
    latent = np.sqrt(cell.shared) * common + np.sqrt(1 - cell.shared) * own
    ranks = stats.norm.cdf(latent)
    makers = [_quantiles(cell.kind, mean, i) for i, mean in enumerate(cell.truth)]
    return np.stack([make(row) for make, row in zip(makers, ranks, strict=True)]), groups


def winner_on_validation(cell: Cell, rng: np.random.Generator) -> str:
    """Whom the plan names, from rows of its own."""
    scores, _ = draw(cell, max(round(VALIDATION * cell.n), 10), rng)
    return f"c{int(np.argmax(scores[: len(cell.rivals)].mean(axis=1)))}"


def judge(cell: Cell, rng: np.random.Generator, seed: int, resamples: int | None) -> Decision:
    """One simulated comparison, decided."""
    scores, groups = draw(cell, cell.n, rng)
    entries = [
        Entry(
            f"c{i}",
            row,
            floor=i >= len(cell.rivals),
            fine_tuned=i == cell.tuned,
            **yearly(100.0 * (i + 1) if cell.priced else None),
        )
        for i, row in enumerate(scores)
    ]
    terms = Terms(
        margin=MARGIN,
        margin_for_cheaper=cell.margin_for_cheaper,
        opening=cell.opening,
        good_enough=cell.good_enough,
        seed=seed,
        resamples=resamples,
        tested_first=winner_on_validation(cell, rng),
    )
    return decide(entries, groups, terms)


def simulate(cell: Cell, runs: int, seed: int, resamples: int | None = None) -> Tally:
    """Judge `runs` simulated comparisons and count what was wrong."""
    rng = np.random.default_rng([seed, *cell.label.encode()])
    tally = Tally()
    for run in range(runs):
        decision = judge(cell, rng, run, resamples)
        count(tally, decision, cell)
        tally.cheapest += decision.verdict.recommend == "c0"
        tally.tuned += decision.verdict.recommend == f"c{cell.tuned}"
    return tally


def count(tally: Tally, decision: Decision, cell: Cell) -> None:
    """Add one comparison."""
    truth = {f"c{i}": mean for i, mean in enumerate(cell.truth)}
    best, too_low = max(cell.rivals), cell.too_low
    tally.runs += 1
    different = equivalent = False
    for pair in decision.pairs:
        difference = round(truth[pair.a] - truth[pair.b], 9)
        claimed = {"better": 1, "worse": -1}.get(pair.call, 0)
        different |= claimed not in (0, np.sign(difference))
        equivalent |= pair.call == "equivalent" and abs(difference) >= MARGIN
        tally.pairs_covered += pair.low - 1e-12 <= difference <= pair.high + 1e-12
        tally.pairs += 1
    for candidate in decision.candidates:
        assert candidate.low is not None
        assert candidate.high is not None
        tally.singles_covered += candidate.low <= truth[candidate.name] <= candidate.high
        tally.singles += 1
    tally.false_difference += bool(different)
    tally.false_equivalence += equivalent
    tally.false_call += bool(different or equivalent)
    tally.false_eligible += any(c.eligible and c.name in too_low for c in decision.candidates)
    verdict = decision.verdict
    used = verdict.named
    if used is not None and verdict.score_low is not None and verdict.score_high is not None:
        alone = decision.candidate(used)
        tally.named_covered += verdict.score_low <= truth[used] <= verdict.score_high
        tally.named_alone_covered += (alone.low or 0.0) <= truth[used] <= (alone.high or 0.0)
        tally.named += 1
    if verdict.may_lose is not None and used is not None:
        tally.loss_bounded += best - truth[used] <= verdict.may_lose + 1e-12
        tally.losses += 1
        tally.lost += best - truth[used]
    recommended = verdict.recommend
    if recommended is not None:
        tally.wrong += recommended in too_low
        tally.right += recommended not in too_low


def allowed(level: float, runs: int) -> int:
    """The largest count that a true rate of `level` exceeds only once in a thousand."""
    return int(stats.binom.ppf(0.999, runs, level))
