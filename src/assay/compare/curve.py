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
from assay.compare.planning import SERVER_DECIDES_NOTHING
from assay.compare.report import curve_frame
from assay.compare.shared_results import bring_figures, share
from assay.config.names import file_of
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
from assay.quantities import say_count
from assay.store.files import sha256_file, write_json

REPEATS = 3

_DECIDES_NOTHING: dict[str, Any] = {
    **dict.fromkeys(("monthly_requests", "costs", "place", "state", "mcp", "rollout"), True),
    "providers": {"__all__": {"batch"}},
    "vllm": SERVER_DECIDES_NOTHING,
}
"""Settings that change no score of a point."""


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
            f"{say_count(rows, 'training example is', 'training examples are')} too few for a "
            "learning curve.",
            fix=f"It needs {FEWEST_ROWS}.",
        )
    return sizes


def curve(
    name: str, train: tuple[Example, ...], validation: tuple[Example, ...], bench: Bench
) -> LearningCurve:
    """Measure every size and repeat, then forecast."""
    sizes = curve_sizes(len(train))
    registry.check_learns(name, bench.config)
    points = [
        [
            _Point.of(name, nested(train, seed)[:size], seed, validation, bench)
            for seed in range(REPEATS)
        ]
        for size in sizes
    ]
    _train_ahead(name, [point for repeats in points for point in repeats])
    per_example: list[list[list[float]]] = [[] for _ in sizes]
    with bench.progress.task(f"learning curve of {name}", REPEATS * sum(sizes), "rows") as bar:
        for size, repeats, measured in zip(sizes, points, per_example, strict=True):
            for point in repeats:
                scores = point.scores()
                measured.append(scores)
                bar.advance(size, score=sum(scores) / len(scores))
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


@dataclass(frozen=True, slots=True)
class _Point:
    """A candidate built from a part of train, whose scores on validation are kept in a file."""

    name: str
    context: Context
    file: Path

    @classmethod
    def of(
        cls,
        name: str,
        part: Sequence[Example],
        seed: int,
        validation: tuple[Example, ...],
        bench: Bench,
    ) -> _Point:
        config = bench.config
        tuned = config.fine_tune.model_copy(update={"seed": seed, "seeds": 1})
        seeded = config.model_copy(update={"fine_tune": tuned})
        unnamed = {"recorded": True} if config.recorded is None else {}  # as before there were any
        value: dict[str, Any] = {
            "candidate": name,
            "train": [example.content_hash() for example in part],
            "validation": [example.content_hash() for example in validation],
            "config": seeded.model_dump(mode="json", exclude=_DECIDES_NOTHING | unnamed)
            | {"fine_tune": tuned.identity(tracking=True)},
        }
        if not registry.asks_model(name, config):
            value["config"]["vllm"] = None  # which answers nothing here
        if files := grader_files(config, bench.root):
            value["grader_files"] = files
        # Whoever learns from them; a route's arm may.
        named = [one for one in (config.recorded, config.fine_tune.recorded) if one is not None]
        recordings = [file_of(one, bench.root) for one in named]
        if found := [sha256_file(file) for file in recordings if file.exists()]:
            value["recordings"] = found
        key = hashlib.sha256(canonical_json(value).encode()).hexdigest()
        file = bring_figures(bench.store, bench.store.folder / "curves" / f"{key}.json")
        return cls(name, Context(tuple(part), validation, replace(bench, config=seeded)), file)

    def scores(self) -> list[float]:
        """What it scores on each example."""
        if self.file.exists():
            kept: list[float] = json_reader.read(self.file.read_text(encoding="utf-8"))
            return kept
        measured = list(registry.build(self.name, self.context).scores)
        write_json(self.file, measured)
        share(self.context.store, self.file)
        return measured


def _train_ahead(name: str, points: Sequence[_Point]) -> None:
    """Train all points at once, where `place` has workers; the largest first, so that none of them
    is left alone at the end."""
    missing = [point.context for point in reversed(points) if not point.file.exists()]
    if registry.specs()[name].version and missing and missing[0].bench.workers is not None:
        from assay.candidates.shared.many_trainings import train_ahead  # loads torch

        train_ahead(missing)
