"""The overlap gate: which rows of a holdout also stand, or nearly stand, in the training rows.

Inputs are compared, never outputs. What leaves this module are row numbers and counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from assay.data.near import batches, possible, sketch
from assay.data.normal import is_near, normalise, similarity
from assay.progress import SILENT, Progress

TWINS_LISTED = 100
"""Twins listed for one holdout row; all are counted and all are in `train_rows`."""

_CHUNK = 1 << 20  # pairs looked at together


@dataclass(frozen=True, slots=True)
class Twin:
    """A holdout row and a training row that say the same."""

    holdout_row: int
    train_row: int
    kind: Literal["exact", "near"]
    similarity: float


@dataclass(frozen=True, slots=True)
class OverlapReport:
    """What the gate found.

    Attributes:
        exact: holdout rows with an exact twin in train.
        near: holdout rows without an exact twin, but with a near one.
        rows: the twins, by holdout row, exact ones first, then the most similar; of one holdout
            row at most `TWINS_LISTED`.
        train_rows: every training row with a twin in the holdout, and whether it is exact.
        answers: holdout rows whose answer also is the answer of a training row, word for word; None
            where answers were not compared.
        documents: holdout rows whose question and answer stand in one document, word for word; None
            where no documents were named.
    """

    exact: int
    near: int
    rows: tuple[Twin, ...]
    train_rows: dict[int, Literal["exact", "near"]]
    answers: int | None = None
    documents: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """What `assay data overlap --json` prints."""
        rows = [{**asdict(t), "similarity": round(t.similarity, 4)} for t in self.rows]
        return {
            "exact": self.exact,
            "near": self.near,
            "answers": self.answers,
            "documents": self.documents,
            "rows": rows,
        }


def overlap(
    train: Iterable[tuple[int, str]],
    holdout: Iterable[tuple[int, str]],
    progress: Progress = SILENT,
) -> OverlapReport:
    """Compare the inputs of a holdout with those of training rows.

    Args:
        train: pairs of row number and text; streamed, so any number of them.
        holdout: the same; held in memory.

    No near twin is missed (see `near`), and a pair counts by its exact similarity.
    """
    held: dict[str, list[int]] = defaultdict(list)
    for row, text in holdout:
        held[normalise(text)].append(row)
    twins: dict[int, list[Twin]] = defaultdict(list)
    train_rows: dict[int, Literal["exact", "near"]] = {}
    exact_rows: set[int] = set()
    index = _Index(list(held))
    with progress.task("overlap", None, "rows") as task:
        for batch in _portions(train):
            found = index.near(list(dict.fromkeys(text for _, text in batch)))
            for row, text in batch:
                for other, value in found.get(text, ()):
                    kind: Literal["exact", "near"] = "exact" if other == text else "near"
                    if kind == "exact" or row not in train_rows:
                        train_rows[row] = kind
                    for holdout_row in held[other]:
                        if kind == "exact":
                            exact_rows.add(holdout_row)
                        _keep(twins[holdout_row], Twin(holdout_row, row, kind, value))
            task.advance(len(batch))
    ordered = tuple(t for row in sorted(twins) for t in sorted(twins[row], key=_closest_first))
    return OverlapReport(
        exact=len(exact_rows),
        near=len(twins) - len(exact_rows),
        rows=ordered,
        train_rows=train_rows,
    )


def _closest_first(twin: Twin) -> tuple[bool, float, int]:
    return twin.kind != "exact", -twin.similarity, twin.train_row


def _keep(listed: list[Twin], twin: Twin) -> None:
    listed.append(twin)
    if len(listed) >= 2 * TWINS_LISTED:
        listed.sort(key=_closest_first)
        del listed[TWINS_LISTED:]


def _portions(rows: Iterable[tuple[int, str]]) -> Iterable[list[tuple[int, str]]]:
    numbers: list[int] = []

    def texts() -> Iterable[str]:
        for number, text in rows:
            numbers.append(number)
            yield normalise(text)

    for batch in batches(texts()):
        taken = numbers[: len(batch)]
        del numbers[: len(batch)]
        yield list(zip(taken, batch, strict=True))


class _Index:
    """Sketches of the holdout's distinct texts, sorted by signature."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self._sketches = sketch(texts)
        order = np.argsort(self._sketches.signatures, kind="stable")
        self._signatures = self._sketches.signatures[order]
        self._owners = self._sketches.owners[order]

    def near(self, texts: list[str]) -> dict[str, list[tuple[str, float]]]:
        """The holdout's texts that are equal or near to each of `texts` (distinct ones)."""
        found: dict[str, list[tuple[str, float]]] = defaultdict(list)
        other = sketch(texts)
        low = np.searchsorted(self._signatures, other.signatures, side="left")
        high = np.searchsorted(self._signatures, other.signatures, side="right")
        hit = np.flatnonzero(high > low)
        pairs: set[tuple[int, int]] = set()
        for part in np.array_split(hit, (high - low)[hit].sum() // _CHUNK + 1):
            counts = (high - low)[part]
            mine = np.repeat(other.owners[part], counts)
            within = np.arange(len(mine)) - np.repeat(np.cumsum(counts) - counts, counts)
            theirs = self._owners[np.repeat(low[part], counts) + within]
            keep = possible(
                other.sizes[mine],
                other.bits[mine],
                self._sketches.sizes[theirs],
                self._sketches.bits[theirs],
            )
            pairs.update(zip(mine[keep].tolist(), theirs[keep].tolist(), strict=True))
        for i, j in sorted(pairs):
            if texts[i] == self._texts[j]:
                found[texts[i]].append((texts[i], 1.0))
            elif is_near(texts[i], self._texts[j]):
                found[texts[i]].append((self._texts[j], similarity(texts[i], self._texts[j])))
        return found
