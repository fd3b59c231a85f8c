"""Simulated comparisons, judged by the complete `decide`: how often is a verdict wrong?

    python tests/invariants/verdict_simulation.py 2000 docs/statistics.md

Scores come from latent normal variables: one that all candidates share (a hard example is hard for
everyone), one of each candidate's own, and with groups a part of both that a whole group shares.
Their uniform ranks go through the quantile function of a distribution with the wanted mean, so that
the truth is known exactly.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import stats
from tests.compare.yearly import yearly

from assay.compare.verdict import Entry, Terms, decide
from assay.evaluate.resampling import studentise, units
from assay.evaluate.stats import opening_alpha

MARGIN = 0.02
EQUAL = (0.7,) * 6
AT_MARGIN = (0.7, 0.7, 0.7, 0.68, 0.68, 0.68)
THREE_WORSE = (0.67, 0.7, 0.7, 0.7, 0.7, 0.7)
ONE_BETTER = (0.67, 0.67, 0.67, 0.67, 0.67, 0.7)
HIGH_AT_MARGIN = (0.975, 0.975, 0.975, 0.955, 0.955, 0.955)


@dataclass(frozen=True)
class Cell:
    """One configuration. The first candidate is the cheapest.

    Attributes:
        kind: `binary`; `fields` (share of five fields); `mixed` (binary and smooth scores of equal
            mean in turn); `partial` (right but for rare, partly right answers).
        truth: the true mean of each candidate.
        shared: part of the latent variance that all candidates share.
        group_share: part of the latent variance that a group shares.
    """

    kind: str
    n: int
    truth: tuple[float, ...]
    groups: int | None = None
    shared: float = 0.6
    group_share: float = 0.3
    opening: int = 1

    @property
    def label(self) -> str:
        groups = f"{self.groups} groups" if self.groups else "none"
        means = "/".join(f"{100 * value:g}" for value in sorted(set(self.truth), reverse=True))
        return f"{self.kind} | {len(self.truth)} | {self.n} | {groups} | {means} | {self.opening}"


CELLS = (
    Cell("binary", 200, EQUAL),
    Cell("binary", 1000, EQUAL),
    Cell("binary", 400, EQUAL, opening=3),
    Cell("binary", 3000, AT_MARGIN, shared=0.9),
    Cell("binary", 1000, HIGH_AT_MARGIN, shared=0.9),
    Cell("binary", 3000, (0.68, 0.7), shared=0.9),
    Cell("binary", 1000, THREE_WORSE),
    Cell("binary", 3000, THREE_WORSE, shared=0.9),
    Cell("binary", 1000, ONE_BETTER, shared=0.9),
    Cell("fields", 300, EQUAL),
    Cell("fields", 800, AT_MARGIN, shared=0.9),
    Cell("fields", 500, THREE_WORSE),
    Cell("mixed", 300, EQUAL),
    Cell("partial", 500, HIGH_AT_MARGIN, shared=0.9),
    Cell("binary", 600, EQUAL, groups=12),
    Cell("binary", 400, EQUAL, groups=40),
    Cell("binary", 1500, EQUAL, groups=100),
    Cell("binary", 3000, AT_MARGIN, groups=200, shared=0.9, group_share=0.1),
    Cell("binary", 1500, THREE_WORSE, groups=100),
    Cell("fields", 600, EQUAL, groups=60),
    Cell("fields", 2000, AT_MARGIN, groups=100, shared=0.9, group_share=0.1),
    Cell("fields", 2000, THREE_WORSE, groups=100, shared=0.9, group_share=0.1),
)


@dataclass
class Tally:
    """Counts over the runs of one cell."""

    runs: int = 0
    false_difference: int = 0
    false_equivalence: int = 0
    false_eligible: int = 0
    bad_cheapest: int = 0
    recommended: int = 0
    pairs_covered: int = 0
    pairs: int = 0
    singles_covered: int = 0
    singles: int = 0

    @property
    def pair_coverage(self) -> float:
        return self.pairs_covered / self.pairs

    @property
    def single_coverage(self) -> float:
        return self.singles_covered / self.singles


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
    values = stats.beta.isf(grid, 4 * mean, 4 * (1 - mean))
    return lambda u: np.interp(u, grid, values)


def draw(cell: Cell, rng: np.random.Generator) -> tuple[np.ndarray, list[str] | None]:
    """Scores [candidates, n] and groups of one simulated comparison."""
    k, n = len(cell.truth), cell.n
    common, own = rng.standard_normal(n), rng.standard_normal((k, n))
    groups = None
    if cell.groups:
        weights = rng.gamma(2.0, size=cell.groups)
        member = rng.choice(cell.groups, size=n, p=weights / weights.sum())
        inside, among = np.sqrt(1 - cell.group_share), np.sqrt(cell.group_share)
        common = inside * common + among * rng.standard_normal(cell.groups)[member]
        own = inside * own + among * rng.standard_normal((k, cell.groups))[:, member]
        groups = [f"g{i}" for i in member]
    latent = np.sqrt(cell.shared) * common + np.sqrt(1 - cell.shared) * own
    ranks = stats.norm.cdf(latent)
    makers = [_quantiles(cell.kind, mean, i) for i, mean in enumerate(cell.truth)]
    return np.stack([make(row) for make, row in zip(makers, ranks, strict=True)]), groups


def simulate(cell: Cell, runs: int, seed: int, resamples: int | None = None) -> Tally:
    """Judge `runs` simulated comparisons and count what was wrong."""
    rng = np.random.default_rng([seed, *cell.label.encode()])
    truth = {f"c{i}": mean for i, mean in enumerate(cell.truth)}
    best = max(cell.truth)
    tally = Tally()
    for run in range(runs):
        scores, groups = draw(cell, rng)
        entries = [
            Entry(name, row, **yearly(100.0 * (i + 1)))
            for i, (name, row) in enumerate(zip(truth, scores, strict=True))
        ]
        settings = Terms(margin=MARGIN, opening=cell.opening, seed=run, resamples=resamples)
        decision = decide(entries, groups, settings)
        tally.runs += 1
        wrong_difference = wrong_equivalence = False
        for pair in decision.pairs:
            difference = round(truth[pair.a] - truth[pair.b], 9)
            claimed = {"better": 1, "worse": -1}.get(pair.call, 0)
            wrong_difference |= claimed not in (0, np.sign(difference))
            wrong_equivalence |= pair.call == "equivalent" and abs(difference) >= MARGIN
            tally.pairs_covered += pair.low - 1e-12 <= difference <= pair.high + 1e-12
            tally.pairs += 1
        for candidate in decision.candidates:
            assert candidate.low is not None
            assert candidate.high is not None
            tally.singles_covered += candidate.low <= truth[candidate.name] <= candidate.high
            tally.singles += 1
        tally.false_difference += bool(wrong_difference)
        tally.false_equivalence += wrong_equivalence
        tally.false_eligible += any(
            c.eligible and round(best - truth[c.name], 9) >= MARGIN for c in decision.candidates
        )
        tally.recommended += decision.verdict.outcome == "recommend"
        worse = round(best - cell.truth[0], 9) >= 0.03
        tally.bad_cheapest += worse and decision.verdict.recommend == "c0"
    return tally


def allowed(level: float, runs: int) -> int:
    """The largest count that a true rate of `level` exceeds only once in a thousand."""
    return int(stats.binom.ppf(0.999, runs, level))


HEAD = """## How often a verdict is wrong

Simulated comparisons (6 candidates have 15 pairs), all judged by the complete `decide` with its
default number of resamples. The truth of each is known. Margin 2 points, α = 0.05. `make soak`
makes 2,000 of each row; the first column says how many these figures are from. How data are drawn:
`tests/invariants/verdict_simulation.py`.

- **level**: what this opening of the holdout may spend, α·6/(π²j²).
- **different**: comparisons with any `better` or `worse` that is false.
- **equivalent**: comparisons with any `equivalent` of candidates that truly differ by the margin
  or more (– where no pair does).
- **eligible**: comparisons in which any candidate that is truly worse than another by the margin or
  more passed as no worse.
- **3 worse**: comparisons that recommend the cheapest candidate though it is truly 3 points worse
  than the best.
- **pairs**, **single**: coverage of the 95 % intervals of differences and of scores.

| runs | scores | candidates | n | groups | true scores in 100 | opening | level | different \
| equivalent | eligible | 3 worse | pairs | single |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
"""

INTERVALS = """
### Which bootstrap

Coverage of the 95 % interval of one difference (resampled scores), {runs:,} comparisons of two
candidates in each row, 2,000 resamples. One standard deviation of a coverage of 95 % is
{error:.1f} points. The studentised interval is the one Assay uses.

| scores | n | groups | percentile | BCa | studentised |
|---|---|---|---|---|---|
"""


def percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def table(results: Sequence[tuple[Cell, Tally, float]]) -> str:
    """The figures as a section of Markdown."""
    lines = []
    for cell, tally, _ in results:
        spread = round(max(cell.truth) - min(cell.truth), 9)
        figures = [
            percent(opening_alpha(0.05, cell.opening)),
            percent(tally.false_difference / tally.runs),
            percent(tally.false_equivalence / tally.runs) if spread >= MARGIN else "–",
            percent(tally.false_eligible / tally.runs) if spread >= MARGIN else "–",
            percent(tally.bad_cheapest / tally.runs) if spread >= 0.03 else "–",
            percent(tally.pair_coverage),
            percent(tally.single_coverage),
        ]
        lines.append(f"| {tally.runs} | {cell.label} | {' | '.join(figures)} |\n")
    seconds = sum(spent for _, _, spent in results)
    verdicts = sum(tally.runs for _, tally, _ in results)
    error = {count: f"{100 * (0.03 * 0.97 / count) ** 0.5:.2f}" for count in (1000, 2000)}
    end = (
        f"\n{verdicts:,} verdicts took {seconds:,.0f} s of processor time, "
        f"{1000 * seconds / verdicts:.0f} ms each with making the data. One standard deviation of "
        f"a rate of 3 % is {error[1000]} points over 1,000 comparisons, {error[2000]} over 2,000.\n"
    )
    return HEAD + "".join(lines) + end


INTERVAL_CELLS = (
    Cell("fields", 100, (0.7, 0.7)),
    Cell("mixed", 300, (0.7, 0.7)),
    Cell("partial", 200, (0.98, 0.96), shared=0.9),
    Cell("fields", 150, (0.7, 0.7), groups=12),
    Cell("binary", 400, (0.7, 0.7), groups=40),
)


def interval_coverage(cell: Cell, runs: int, seed: int) -> dict[str, float]:
    """Coverage of three bootstrap intervals of the difference of the first two candidates."""
    rng = np.random.default_rng([seed, *cell.label.encode()])
    truth = cell.truth[0] - cell.truth[1]
    covered = dict.fromkeys(("percentile", "BCa", "studentised"), 0)

    def ratio(sums: np.ndarray, sizes: np.ndarray, axis: int = -1) -> np.ndarray:
        return sums.sum(axis=axis) / sizes.sum(axis=axis)

    for _ in range(runs):
        scores, groups = draw(cell, rng)
        data = units((scores[0] - scores[1])[:, None], groups)
        low, high = studentise(data, 2000, rng, least=-1, most=1).interval(0.05)
        covered["studentised"] += int(low[0] <= truth <= high[0])
        for method in ("percentile", "BCa"):
            found = stats.bootstrap(
                (data.sums[:, 0], data.sizes),
                ratio,
                paired=True,
                vectorized=True,
                n_resamples=2000,
                method=method,
                rng=rng,
            ).confidence_interval
            covered[method] += int(found.low <= truth <= found.high)
    return {method: count / runs for method, count in covered.items()}


def interval_table(runs: int) -> str:
    """Coverage by kind of bootstrap as Markdown."""
    lines = []
    for cell in INTERVAL_CELLS:
        figures = interval_coverage(cell, runs, seed=2)
        print(cell.label, figures, file=sys.stderr, flush=True)
        shown = " | ".join(percent(value) for value in figures.values())
        lines.append(f"| {cell.kind} | {cell.n} | {cell.groups or 'none'} | {shown} |\n")
    error = 100 * (0.95 * 0.05 / runs) ** 0.5
    return INTERVALS.format(runs=runs, error=error) + "".join(lines)


def soak(runs: int, page: Path | None = None) -> list[tuple[Cell, Tally, float]]:
    """Simulate every cell; the page's last section is written when all are done."""
    results = []
    for cell in CELLS:
        start = time.process_time()
        tally = simulate(cell, runs, seed=1)
        results.append((cell, tally, time.process_time() - start))
        print(cell.label, tally, round(results[-1][2], 1), file=sys.stderr, flush=True)
    if page is not None:
        before = page.read_text(encoding="utf-8").partition(HEAD.splitlines()[0])[0]
        page.write_text(before + table(results) + interval_table(runs // 4), encoding="utf-8")
    return results


if __name__ == "__main__":
    soak(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
