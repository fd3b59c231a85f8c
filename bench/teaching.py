"""Whether what `assay rescue record` says that further answers bring a student comes true.

    python bench/teaching.py [--draws 1 2] [--sets banking77 snips-intent mts-header] [--json FILE]

From each public data set N rows are drawn for training, 200 for validation and others as further
inputs, which a teacher answers that is right in a share of them. Where it errs it gives any other
label (`any`), or always the same one in the place of a label (`same`). `estimate_further` is told
how often it is right on validation. What the answers truly bring is measured on the test file,
which nothing else reads: a classifier that counts words, trained with them and without.

A line is a trial; the last lines count those of which something was told, how many of these came to
lie in the range (to a quarter of a point), and how many that were told a gain came to be a loss.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean

from assay.example import Example, Message
from assay.project.recording.students import WORD_COUNTER
from assay.project.recording.teaching import estimate_further
from public_data import Rows, data_folder
from public_jobs import banking77, mts_header, snips_intent

SETS = {
    "banking77": (banking77, "banking77"),
    "snips-intent": (snips_intent, "snips"),
    "mts-header": (mts_header, "mts_dialog"),
}
ROWS, TIMES, RIGHT = (150, 300, 600, 1200), (0.5, 1, 3), (1.0, 0.9, 0.75, 0.5)
"""Training rows, how many times as many further ones, and shares of right answers."""
VALIDATION = 200
NEAR = 0.0025


@dataclass(frozen=True)
class Trial:
    """What was told (in shares of 1; None: not known) and what came of it."""

    set: str
    rows: int
    further: int
    right: float
    errors: str
    told: float | None
    low: float | None
    high: float | None
    became: float

    @property
    def is_within(self) -> bool:
        """Whether it came to lie in the range that was told."""
        assert self.low is not None
        assert self.high is not None
        return self.low - NEAR <= self.became <= self.high + NEAR


def examples(load: Callable[[str], Rows], part: str) -> list[Example]:
    """The rows of a file."""
    return [Example.of(row["input"], row["output"], id=str(row["id"])) for row in load(part)]


def answered(
    rows: Sequence[Example], right: float, errors: str, labels: Sequence[str], chance: random.Random
) -> list[Example]:
    """The rows with a teacher's answers."""
    order = list(labels)
    random.Random(len(labels)).shuffle(order)
    instead = dict(zip(order, [*order[1:], order[0]], strict=True))
    found = []
    for row in rows:
        said = row.output
        if chance.random() >= right:
            other = [one for one in labels if one != said]
            said = instead[said] if errors == "same" else chance.choice(other)
        found.append(replace(row, messages=(*row.prompt, Message("assistant", said))))
    return found


def score(train: Sequence[Example], test: Sequence[Example]) -> float:
    """The share of the test file that a student answers rightly."""
    return float(WORD_COUNTER.scores(train, test).mean())


def trials(name: str, draw: int) -> Iterator[Trial]:
    """All that a data set has the rows for."""
    pool, test = (examples(SETS[name][0], part) for part in ("train", "test"))
    random.Random(draw).shuffle(pool)
    labels = sorted({one.output for one in pool})
    validation, pool = pool[:VALIDATION], pool[VALIDATION:]
    for rows, times in product(ROWS, TIMES):
        train, further = pool[:rows], pool[rows : rows + round(times * rows)]
        if len(further) < times * rows:
            continue
        without = score(train, test)
        for right, errors in product(RIGHT, ("any", "same")):
            if right == 1.0 and errors == "same":
                continue
            chance = random.Random(f"{name} {draw} {rows} {times} {right} {errors}")
            judged = answered(validation, right, errors, labels, chance)
            same = sum(a.output == b.output for a, b in zip(judged, validation, strict=True))
            told = estimate_further(
                train, validation, len(further), (same, VALIDATION), WORD_COUNTER
            )
            learned = [*train, *answered(further, right, errors, labels, chance)]
            became = score(learned, test) - without
            estimate = (told.gain, told.low, told.high)
            yield Trial(name, rows, len(further), right, errors, *estimate, became)


def summary(found: Sequence[Trial]) -> str:
    """Of how many trials something was told, and what came of these."""
    told = [one for one in found if one.told is not None]
    if not told:
        return f"{len(found)} trials, nothing told"
    off = fmean(abs(one.became - one.told) for one in told if one.told is not None)
    return (
        f"{len(found)} trials, {len(told)} told, {sum(one.is_within for one in told)} in the "
        f"range, {100 * off:.1f} points off on average, {sum(one.became < 0 for one in told)} of "
        f"them a loss; of those not told {sum(one.became < 0 for one in found if one not in told)}"
    )


def main() -> None:
    """Run the trials and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, nargs="+", default=[0], help="seeds")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found: list[Trial] = []
    for name, draw in product(asked.sets, asked.draws):
        if not (data_folder() / SETS[name][1]).is_dir():
            print(f"{name}: not in {data_folder()}, left out")
            continue
        for one in trials(name, draw):
            found.append(one)
            told = "not known" if one.told is None else f"{100 * one.told:+.1f}"
            if one.low is not None and one.high is not None:
                told += f" ({100 * one.low:.1f} to {100 * one.high:.1f})"
            print(
                f"{name} {one.rows} + {one.further}, right {one.right} ({one.errors}): told "
                f"{told}, became {100 * one.became:+.1f}",
                flush=True,
            )
    for right, errors in product(RIGHT, ("any", "same")):
        group = [one for one in found if one.right == right and one.errors == errors]
        if group:
            print(f"right {right} ({errors}): {summary(group)}")
    if asked.json is not None:
        asked.json.write_text(json.dumps([asdict(one) for one in found]))


if __name__ == "__main__":
    main()
