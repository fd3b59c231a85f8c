"""Exact and near duplicates within one data set, of any size: the index lies on disk.

Rows are exact duplicates when their normalised texts are equal, and near-duplicates when a chain
of near pairs (see `normal`) joins them. Kept in memory are about 70 bytes a row; texts and
signatures are in a temporary folder.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from assay.data.near import BATCH, BATCH_CHARACTERS, Numbers, Words, possible, sketch
from assay.data.normal import is_near, key64
from assay.progress import SILENT, Progress

_BUCKETS = 64
_ENTRY = np.dtype([("signature", np.uint64), ("owner", np.uint32)])
_CHUNK = 1 << 20  # pairs looked at together


@dataclass(frozen=True, slots=True)
class Groups:
    """Which rows say the same.

    Attributes:
        first: index of the first row with the same normalised text, [N].
        cluster: index of the first row of the near-duplicate cluster, [N]; it holds all exact
            duplicates as well.
        complete: False when the search was cut short at its budget, so that clusters may be
            missing (see `DuplicateIndex.groups`).
    """

    first: Numbers
    cluster: Numbers
    complete: bool = True

    @property
    def exact(self) -> int:
        """Rows that repeat an earlier one."""
        return int((self.first != np.arange(len(self.first))).sum())

    @property
    def near(self) -> int:
        """Rows that repeat no earlier one, but are near to one."""
        own = np.arange(len(self.first))
        return int(((self.first == own) & (self.cluster != own)).sum())


def duplicate_groups(texts: Iterable[str], progress: Progress = SILENT) -> Groups:
    """Exact and near duplicates among normalised texts, none missed."""
    with DuplicateIndex() as index:
        for text in texts:
            index.add(text)
        return index.groups(progress=progress)


class DuplicateIndex:
    """Collects normalised texts one by one, then says which repeat one another.

    Args:
        folder: where the temporary files go; the system's place when None.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="assay-near-", dir=folder)
        root = Path(self._temporary.name)
        self._buckets: list[BinaryIO] = [
            (root / f"{i:02x}.signatures").open("w+b") for i in range(_BUCKETS)
        ]
        self._spool = (root / "texts").open("w+b")
        self._ends = array("Q", [0])
        self._keys = array("Q")
        self._sizes: list[NDArray[np.uint32]] = []
        self._bits: list[Words] = []
        self._waiting: list[str] = []
        self._characters = 0

    def __enter__(self) -> DuplicateIndex:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in (*self._buckets, self._spool):
            file.close()
        self._temporary.cleanup()

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, text: str) -> None:
        """Take in the next text (normalised)."""
        self._keys.append(key64(text))
        self._waiting.append(text)
        self._characters += len(text)
        if len(self._waiting) == BATCH or self._characters > BATCH_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        found = sketch(self._waiting)
        start = len(self._ends) - 1
        for text in self._waiting:
            raw = text.encode("utf-8", "surrogatepass")
            self._spool.write(raw)
            self._ends.append(self._ends[-1] + len(raw))
        self._sizes.append(found.sizes.astype(np.uint32))
        self._bits.append(found.bits)
        entries = np.empty(len(found.signatures), dtype=_ENTRY)
        entries["signature"], entries["owner"] = found.signatures, found.owners + start
        bucket = (found.signatures >> np.uint64(58)).astype(np.int64)
        order = np.argsort(bucket, kind="stable")
        ends = np.cumsum(np.bincount(bucket, minlength=_BUCKETS))
        for file, part in zip(self._buckets, np.split(entries[order], ends[:-1]), strict=True):
            file.write(part.tobytes())
        self._waiting, self._characters = [], 0

    def _text(self, row: int) -> str:
        self._spool.seek(self._ends[row])
        raw = self._spool.read(self._ends[row + 1] - self._ends[row])
        return raw.decode("utf-8", "surrogatepass")

    def groups(self, *, budget: int | None = None, progress: Progress = SILENT) -> Groups:
        """Find the duplicates among all texts taken in.

        Args:
            budget: at most about this many candidate pairs are looked at (some 20 million a
                second); None for all. Only data whose rows are mostly one template come near it.
        """
        if self._waiting:
            self._flush()
        keys = np.frombuffer(self._keys, dtype=np.uint64) if self._keys else np.zeros(0, np.uint64)
        _, position, inverse = np.unique(keys, return_index=True, return_inverse=True)
        first = position[inverse].astype(np.int64)
        sets = DisjointSets(first)
        sizes = np.concatenate(self._sizes) if self._sizes else np.zeros(0, np.uint32)
        bits = np.concatenate(self._bits) if self._bits else np.zeros((0, 4), np.uint64)
        spent, complete = 0, True
        with progress.task("near-duplicates", len(self._buckets), "parts") as task:
            for number, file in enumerate(self._buckets, start=1):
                share = None if budget is None else budget * number // _BUCKETS - spent
                for a, b, cost in self._candidates(file, sets, share):
                    spent += cost
                    keep = possible(
                        sizes[a].astype(np.int64), bits[a], sizes[b].astype(np.int64), bits[b]
                    )
                    self._join(a[keep], b[keep], sets)
                complete &= budget is None or spent <= budget * number // _BUCKETS
                task.advance()
        return Groups(first=first, cluster=sets.roots(), complete=complete)

    def _candidates(
        self, file: BinaryIO, sets: DisjointSets, budget: int | None
    ) -> Iterator[tuple[Numbers, Numbers, int]]:
        """Pairs of rows that share a signature of this bucket, not yet known to be joined.

        Equal signatures stand together after sorting, so that every pair of a run is met at one
        of the shifts 1, 2, ...; runs that have become one cluster are dropped on the way.
        """
        file.seek(0)
        entries = np.frombuffer(file.read(), dtype=_ENTRY)
        entries = entries[sets.distinct[entries["owner"]]]
        entries = entries[np.argsort(entries["signature"], kind="stable")]
        signature = np.ascontiguousarray(entries["signature"])
        owner = entries["owner"].astype(np.int64)
        run = np.cumsum(np.r_[True, signature[1:] != signature[:-1]]) - 1 if len(owner) else owner
        left = np.flatnonzero(signature[1:] == signature[:-1])
        shift, spent = 1, 0
        while len(left):
            for start in range(0, len(left), _CHUNK):
                part = left[start : start + _CHUNK]
                a, b = owner[part], owner[part + shift]
                apart = sets.roots(a) != sets.roots(b)
                yield a[apart], b[apart], len(part)
            spent += len(left)
            if budget is not None and spent > budget:
                return
            shift += 1
            left = left[left + shift < len(owner)]
            left = left[signature[left] == signature[left + shift]]
            if shift & (shift - 1) == 0 and len(left):
                starts = np.flatnonzero(np.r_[True, run[1:] != run[:-1]])
                root = sets.roots(owner)
                whole = np.minimum.reduceat(root, starts) == np.maximum.reduceat(root, starts)
                left = left[~whole[run[left]]]

    def _join(self, a: Numbers, b: Numbers, sets: DisjointSets) -> None:
        for x, y in zip(a.tolist(), b.tolist(), strict=True):
            if sets.find(x) != sets.find(y) and is_near(self._text(x), self._text(y)):
                sets.union(x, y)


class DisjointSets:
    """Union-find over rows, the lowest row being the root; exact duplicates start joined."""

    def __init__(self, first: Numbers) -> None:
        self._parent = first.copy()
        self.distinct: NDArray[np.bool_] = first == np.arange(len(first))

    def find(self, row: int) -> int:
        """The root of a row."""
        parent = self._parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = int(parent[row])
        return row

    def union(self, a: int, b: int) -> None:
        """Join the sets of two rows."""
        low, high = sorted((self.find(a), self.find(b)))
        self._parent[high] = low

    def roots(self, rows: Numbers | None = None) -> Numbers:
        """Roots of many rows at once; of all when None."""
        root = self._parent if rows is None else self._parent[rows]
        while True:
            above = self._parent[root]
            if np.array_equal(above, root):
                return root.copy() if root is self._parent else root
            root = above
