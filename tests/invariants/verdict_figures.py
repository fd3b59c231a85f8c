"""The figures of docs/statistics.md and docs/statistics.json, from simulated comparisons.

    python -m tests.invariants.verdict_figures 2000 2000 docs/statistics.md

Every cell is drawn from a seed of its own; processes share the cells among them. Cells that an
earlier, stopped run has finished with the same code are read from `build/verdict_cells.jsonl`.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

import numpy as np
from scipy import stats
from tests.invariants.verdict_simulation import (
    AT_MARGIN,
    COLLAPSING,
    EQUAL,
    HIGH_AT_MARGIN,
    HIGH_LEAD,
    LEAD_5,
    LEAD_10,
    ONE_BETTER,
    THREE_WORSE,
    UNBROKEN,
    Cell,
    Tally,
    draw,
    simulate,
)

from assay.evaluate.resampling import studentise, units
from assay.evaluate.stats import opening_alpha

GAINS_NOTHING = (0.7, 0.66, 0.62, 0.7, 0.55, 0.3)
WORSE_BY_TRAINING = (0.7, 0.66, 0.62, 0.68, 0.55, 0.3)
TUNED = 3
"""Position of the fine-tuned one in cells that have one: the best, unless it gains nothing."""
UNEQUAL = (
    *((12, largest) for largest in (0.2, 1 / 3, 0.5)),
    *((40, largest) for largest in (0.1, 0.2, 1 / 3, 0.5)),
    *((100, largest) for largest in (0.2, 0.5)),
)
CELLS = (
    Cell("binary", 100, EQUAL),
    Cell("binary", 100, (0.7,) * 12),
    Cell("binary", 200, EQUAL),
    Cell("binary", 1000, EQUAL),
    Cell("binary", 400, EQUAL, opening=3),
    Cell("binary", 3000, AT_MARGIN, shared=0.9),
    Cell("binary", 1000, HIGH_AT_MARGIN, shared=0.9),
    Cell("binary", 200, (0.7, 0.7)),
    Cell("binary", 3000, (0.68, 0.7), shared=0.9),
    Cell("binary", 1000, THREE_WORSE),
    Cell("binary", 3000, THREE_WORSE, shared=0.9),
    Cell("binary", 1000, ONE_BETTER, shared=0.9),
    *(Cell("binary", n, LEAD_5, shared=0.9, floor=True) for n in (50, 100, 200, 500, 1000)),
    *(Cell("binary", n, LEAD_10, shared=0.9, floor=True) for n in (50, 100, 200, 500, 1000)),
    *(Cell("binary", n, HIGH_LEAD, floor=True) for n in (40, 80, 150)),
    *(
        Cell("binary", n, truth, shared=0.9, floor=True, tuned=TUNED)
        for truth, sizes in (
            (LEAD_5, (100, 200, 500, 1000)),
            (LEAD_10, (50, 100, 200)),
            (GAINS_NOTHING, (200, 1000)),
            (WORSE_BY_TRAINING, (200, 1000)),
        )
        for n in sizes
    ),
    Cell("fields", 200, LEAD_5, shared=0.9, floor=True, tuned=TUNED),
    Cell("fields", 200, GAINS_NOTHING, shared=0.9, floor=True, tuned=TUNED),
    Cell("binary", 800, LEAD_5, groups=80, shared=0.9, floor=True, tuned=TUNED),
    Cell("binary", 800, GAINS_NOTHING, groups=80, shared=0.9, floor=True, tuned=TUNED),
    Cell("fields", 300, EQUAL),
    Cell("fields", 800, AT_MARGIN, shared=0.9),
    Cell("fields", 500, THREE_WORSE),
    Cell("mixed", 300, EQUAL),
    Cell("partial", 500, HIGH_AT_MARGIN, shared=0.9),
    *(Cell("collapse", n, COLLAPSING) for n in (60, 100, 200, 400)),
    Cell("collapse", 100, (*COLLAPSING, *[UNBROKEN] * 4)),
    *(Cell("collapse", n, (UNBROKEN - 0.05, UNBROKEN)) for n in (60, 200)),
    *(Cell("collapse", n, (UNBROKEN, UNBROKEN)) for n in (60, 200, 400)),
    *(Cell("collapse", n, COLLAPSING, groups=round(0.9 * n)) for n in (60, 100, 200)),
    Cell("binary", 600, EQUAL, groups=12),
    Cell("binary", 400, EQUAL, groups=40),
    Cell("binary", 1500, EQUAL, groups=100),
    Cell("binary", 3000, AT_MARGIN, groups=200, shared=0.9, group_share=0.1),
    Cell("binary", 1500, THREE_WORSE, groups=100),
    Cell("fields", 600, EQUAL, groups=60),
    Cell("fields", 2000, AT_MARGIN, groups=100, shared=0.9, group_share=0.1),
    Cell("fields", 2000, THREE_WORSE, groups=100, shared=0.9, group_share=0.1),
    *(
        Cell("binary", 1000, (0.68, 0.7), groups=groups, shared=0.9, largest=largest)
        for groups, largest in UNEQUAL
    ),
)

HEAD = """## How often a verdict is wrong

Simulated comparisons (6 candidates have 15 pairs), all judged by the complete `decide` with its
default number of resamples. The truth of each is known. Margin 2 points, α = 0.05. `make soak`
makes 1,000 of each row; the first column says how many these figures are from. How data are drawn:
`tests/invariants/verdict_simulation.py`. The same figures for programs: `docs/statistics.json`,
where cells with one that is fine-tuned stand under `cells_with_fine_tuning`.

- **scores**: 60 % of the variance of each latent score, or the share that is named, is how hard the
  example is for all candidates; the rest is each one's own.
- **level**: what this opening of the holdout may spend, α·6/(π²j²).
- **different**: comparisons with any `better` or `worse` that is false.
- **equivalent**: comparisons with any `equivalent` of candidates that truly differ by the margin
  or more (– where no pair does).
- **eligible**: comparisons in which any candidate that is truly worse than the best by the margin
  or more passed as no worse.
- **wrong**: comparisons that recommend such a one. **right**: comparisons that recommend another.
- **pairs**, **single**: coverage of the 95 % intervals of differences and of scores; **named**: of
  the corrected interval of the one that is recommended or used meanwhile; **loss**: comparisons in
  which using one meanwhile cost no more than was said (`may_lose`). **lost**: by how many points
  the best is truly ahead of the one used meanwhile, on average over comparisons that cannot tell.

| runs | scores | candidates | n | groups | true scores in 100 | opening | level | different \
| equivalent | eligible | wrong | right | pairs | single | named | loss | lost |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
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


def name(cell: Cell) -> str:
    """The first columns of a row. The seed of a cell hashes `label`, which therefore stays."""
    kind, _, rest = cell.label.partition(" | ")
    if cell.shared != Cell.shared:
        kind += f", {100 * cell.shared:g} % shared"
    count, _, rest = rest.partition(" | ")
    tuned = "" if cell.tuned is None else ", one fine-tuned"
    return f"{kind} | {count}{tuned} | {rest.replace('.3333 %', '.3 %')}"


def table(results: Sequence[tuple[Cell, Tally, float]]) -> str:
    """The figures as a section of Markdown."""
    lines = []
    for cell, tally, _ in results:
        spread = round(max(cell.truth) - min(cell.truth), 9)
        figures = [
            percent(opening_alpha(0.05, cell.opening)),
            percent(tally.false_difference / tally.runs),
            percent(tally.false_equivalence / tally.runs) if spread >= 0.02 else "–",
            percent(tally.false_eligible / tally.runs) if spread >= 0.02 else "–",
            percent(tally.wrong / tally.runs) if spread >= 0.02 else "–",
            percent(tally.right / tally.runs),
            percent(tally.pair_coverage),
            percent(tally.single_coverage),
            percent(tally.named_coverage),
            percent(tally.loss_coverage),
            f"{100 * tally.lost / tally.losses:.1f}" if tally.losses else "–",
        ]
        lines.append(f"| {tally.runs} | {name(cell)} | {' | '.join(figures)} |\n")
    seconds = sum(spent for _, _, spent in results)
    verdicts = sum(tally.runs for _, tally, _ in results)
    error = {count: f"{100 * (0.03 * 0.97 / count) ** 0.5:.2f}" for count in (1000, 2000)}
    end = (
        f"\n{verdicts:,} verdicts took {seconds:,.0f} s of processor time, "
        f"{1000 * seconds / verdicts:.0f} ms each with making the data. One standard deviation of "
        f"a rate of 3 % is {error[1000]} points over 1,000 comparisons, {error[2000]} over 2,000.\n"
    )
    return HEAD + "".join(lines) + end


def record(cell: Cell, tally: Tally) -> dict[str, object]:
    """One cell of docs/statistics.json: the lead in points, rates as fractions."""
    coverage = min(tally.pair_coverage, tally.single_coverage, tally.named_coverage)
    return {
        "name": name(cell).replace(" | ", ", "),
        "runs": tally.runs,
        "candidates": len(cell.truth),
        "rows": cell.n,
        "lead": None if cell.lead is None else round(100 * cell.lead, 6),
        "groups": cell.groups,
        "false_calls": tally.false_call / tally.runs,
        "wrong_recommendations": tally.wrong / tally.runs,
        "coverage": round(coverage, 6),
        "right_recommendations": tally.right / tally.runs,
    }


def write_records(records: Sequence[tuple[Cell, dict[str, object]]], file: Path) -> None:
    """docs/statistics.json: cells in which one is fine-tuned stand apart, for it is recommended
    only once its gain is shown, which takes more examples than the power that is promised."""
    found = {
        "cells": [one for cell, one in records if cell.tuned is None],
        "cells_with_fine_tuning": [one for cell, one in records if cell.tuned is not None],
    }
    text = json.dumps(found, indent=1, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")


INTERVAL_CELLS = (
    Cell("binary", 100, EQUAL),
    Cell("binary", 100, (0.7,) * 12),
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
        scores, groups = draw(cell, cell.n, rng)
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


Simulated = tuple[Cell, Tally, float]
"""A cell, its counts, and the seconds of processor time that it took."""
FINISHED = Path(__file__).parents[2] / "build" / "verdict_cells.jsonl"
DECIDING = ("assay.compare.", "assay.evaluate.", "tests.invariants.verdict_simulation")


def _code() -> str:
    """Sha256 of the modules that decide and of those that draw, comments left out."""
    files = {
        str(module.__file__) for name, module in sys.modules.items() if name.startswith(DECIDING)
    }
    trees = [ast.dump(ast.parse(Path(file).read_text(encoding="utf-8"))) for file in sorted(files)]
    return hashlib.sha256("\n".join(trees).encode()).hexdigest()


def _timed(cell: Cell, runs: int) -> Simulated:
    start = time.process_time()
    tally = simulate(cell, runs, seed=1)
    spent = time.process_time() - start
    print(cell.label, tally, round(spent, 1), file=sys.stderr, flush=True)
    return cell, tally, spent


def _finished(code: str) -> Iterator[tuple[tuple[str, int], Tally, float]]:
    """Cells that earlier runs have finished with the same code, by cell and number of runs."""
    if FINISHED.exists():
        for line in FINISHED.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            if found["code"] == code:
                tally = Tally(**found["tally"])
                yield (found["cell"], tally.runs), tally, found["seconds"]


def simulate_all(exact: int, resampled: int) -> list[Simulated]:
    """Every cell, in their order; what is finished is kept at once.

    Args:
        exact: comparisons of each cell that needs no resampling.
        resampled: comparisons of each other cell.
    """
    code = _code()
    done = {key: (tally, seconds) for key, tally, seconds in _finished(code)}
    runs = {c: exact if c.kind == "binary" and not c.groups else resampled for c in CELLS}
    FINISHED.parent.mkdir(exist_ok=True)
    with ProcessPoolExecutor(2) as processes, FINISHED.open("a", encoding="utf-8") as file:
        missing = [cell for cell in CELLS if (str(cell), runs[cell]) not in done]
        for future in as_completed([processes.submit(_timed, c, runs[c]) for c in missing]):
            cell, tally, seconds = future.result()
            done[str(cell), tally.runs] = tally, seconds
            one = {"code": code, "cell": str(cell), "tally": asdict(tally), "seconds": seconds}
            file.write(json.dumps(one, default=int) + "\n")
            file.flush()
    return [(cell, *done[str(cell), runs[cell]]) for cell in CELLS]


def soak(exact: int, resampled: int, page: Path | None = None) -> list[Simulated]:
    """Simulate every cell; the page's last section and the JSON are written when all are done.

    Args: see `simulate_all`.
    """
    results = simulate_all(exact, resampled)
    if page is not None:
        before = page.read_text(encoding="utf-8").partition(HEAD.splitlines()[0])[0]
        page.write_text(before + table(results) + interval_table(resampled // 4), encoding="utf-8")
        write_records([(c, record(c, tally)) for c, tally, _ in results], page.with_suffix(".json"))
    return results


if __name__ == "__main__":
    exact, resampled, *pages = sys.argv[1:]
    soak(int(exact), int(resampled), Path(pages[0]) if pages else None)
