"""The learning curve: the score on validation by the number of training examples.

Five sizes, each twice the one before, three times over: in each repeat the smaller sets are part
of the larger ones, and repeat and training have their own seed. A point that was measured is kept.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from assay import json_reader
from assay.candidates import registry
from assay.candidates.building import Context
from assay.compare.report import curve_frame
from assay.compare.shared_results import bring_figures, share
from assay.errors import DataError
from assay.evaluate.graders import grader_files
from assay.evaluate.measure import Bench
from assay.evaluate.powerlaw import (
    FEWEST_ROWS,
    LEAST,
    SIZES,
    Backtest,
    Doubling,
    backtest,
    double,
)
from assay.example import Example, canonical_json
from assay.store.files import write_json

REPEATS = 3


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Scores by number of training examples, with a forecast for twice as many.

    Attributes:
        sizes: numbers of training examples.
        scores: [size][repeat], means on validation.
        doubling: what twice the largest size would bring; None where the back-test missed, for
            then the fit is not to be trusted with more rows.
        backtest: whether the fit up to half of the rows foresaw the score of all.
    """

    candidate: str
    primary: str
    sizes: list[int]
    scores: list[list[float]]
    doubling: Doubling | None
    backtest: Backtest

    def to_dict(self) -> dict[str, Any]:
        """What `assay curve --json` prints."""
        return {
            "candidate": self.candidate,
            "primary": self.primary,
            "points": [
                {"rows": size, "scores": scores}
                for size, scores in zip(self.sizes, self.scores, strict=True)
            ],
            "doubling": asdict(self.doubling) if self.doubling else None,
            "backtest": asdict(self.backtest),
        }

    def _repr_html_(self) -> str:
        return curve_frame(self.to_dict())


def curve_sizes(rows: int) -> list[int]:
    """Five sizes up to `rows`, each twice the one before.

    Raises:
        DataError: too few rows for five sizes.
    """
    sizes = [round(rows / 2**i) for i in reversed(range(SIZES))]
    if sizes[0] < LEAST:
        raise DataError(
            f"{rows} training examples are too few for a learning curve.",
            fix=f"It needs {FEWEST_ROWS}.",
        )
    return sizes


def curve(
    name: str, train: tuple[Example, ...], validation: tuple[Example, ...], bench: Bench
) -> LearningCurve:
    """Measure every size and repeat, then forecast."""
    sizes = curve_sizes(len(train))
    registry.check_name(name)
    folder = bench.store.folder / "curves"
    per_example: list[list[list[float]]] = [[] for _ in sizes]
    with bench.progress.task(f"curve of {name}", len(sizes) * REPEATS, "points") as bar:
        for i, size in enumerate(sizes):
            for seed in range(REPEATS):
                part = nested(train, seed)[:size]
                scores = _point(name, part, seed, validation, bench, folder)
                per_example[i].append(scores)
                bar.advance(rows=size, score=sum(scores) / len(scores))
    tables = [np.array(repeats) for repeats in per_example]
    test = backtest(sizes, tables)
    return LearningCurve(
        candidate=name,
        primary=bench.config.primary,
        sizes=sizes,
        scores=[[sum(s) / len(s) for s in repeats] for repeats in per_example],
        doubling=double(sizes, tables) if test.covered else None,
        backtest=test,
    )


def nested(train: Sequence[Example], seed: int) -> list[Example]:
    """`train` shuffled by the repeat's seed; the smaller sets are prefixes of it."""
    order = list(train)
    random.Random(seed).shuffle(order)
    return order


def _point(
    name: str,
    part: Sequence[Example],
    seed: int,
    validation: tuple[Example, ...],
    bench: Bench,
    folder: Path,
) -> list[float]:
    """Scores on validation of the candidate built from a part of train."""
    config = bench.config
    tuned = config.fine_tune.model_copy(update={"seed": seed, "seeds": 1})
    seeded = config.model_copy(update={"fine_tune": tuned})
    value: dict[str, Any] = {
        "candidate": name,
        "train": [example.content_hash() for example in part],
        "validation": [example.content_hash() for example in validation],
        "config": seeded.model_dump(
            mode="json", exclude={"monthly_requests", "costs", "place", "state"}
        ),
    }
    if files := grader_files(config, bench.root):
        value["grader_files"] = files
    key = hashlib.sha256(canonical_json(value).encode()).hexdigest()
    kept = bring_figures(bench.store, folder / f"{key}.json")
    if kept.exists():
        scores: list[float] = json_reader.read(kept.read_text(encoding="utf-8"))
        return scores
    context = Context(tuple(part), validation, replace(bench, config=seeded))
    measured = list(registry.build(name, context).scores)
    write_json(kept, measured)
    share(bench.store, kept)
    return measured
