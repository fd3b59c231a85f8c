"""Whether a knowledge base still says what its files say, and whether its index is whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assay.knowledge.build import Builder
from assay.knowledge.failures import FailedDocument
from assay.knowledge.parse import kind_of
from assay.knowledge.records import Build, Document
from assay.knowledge.table import IndexBrokenError
from assay.progress import Progress
from assay.quantities import say_count
from assay.store.files import sha256_file


@dataclass(frozen=True, slots=True)
class Check:
    """What was found.

    Attributes:
        changed: documents whose file has other bytes now; `vanished`: whose file is gone.
        failed: files that could not be added, or only in part.
        damage: what is wrong with the index itself, as sentences.
        leftovers: tables and texts that a killed change or an old state left; the next change
            removes them.
    """

    documents: int
    passages: int
    changed: tuple[str, ...]
    vanished: tuple[str, ...]
    failed: tuple[FailedDocument, ...]
    damage: tuple[str, ...]
    leftovers: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def check(
    builder: Builder,
    present: Build,
    documents: Sequence[Document],
    failed: Sequence[FailedDocument],
    progress: Progress,
) -> Check:
    """Hash every file again, and read every passage; the caller holds the lock."""
    changed, vanished = [], []
    with progress.task("comparing files", len(documents), "files") as task:
        for document in documents:
            state = _file(document)
            if state == "changed":
                changed.append(document.path)
            elif state == "vanished":
                vanished.append(document.path)
            task.advance()
    with progress.task("reading the index", None, "passages"):
        damage = _damage(builder, present, documents)
    return Check(
        documents=len(documents),
        passages=present.passages,
        changed=tuple(changed),
        vanished=tuple(vanished),
        failed=tuple(failed),
        damage=tuple(damage),
        leftovers=builder.leftovers(),
    )


def _file(document: Document) -> str:
    path = Path(document.location)
    try:
        if path.stat().st_size != document.bytes or sha256_file(path) != document.sha256:
            return "changed"
    except OSError:
        return "vanished"
    return "same"


def _damage(builder: Builder, present: Build, documents: Sequence[Document]) -> list[str]:
    found = []
    for document in documents:
        kind = kind_of(document.path)
        try:
            assert kind is not None
            builder.texts.get(document.sha256, kind)
        except IndexBrokenError:
            found.append(
                f"the text of {document.path} is missing or damaged; add the document again."
            )
    if present.table is None:
        return found
    try:
        table = builder.tables.open(present.table)
        counted, odd = _read(table)
        indices = table.list_indices()
        waiting = [table.index_stats(one.name).num_unindexed_rows for one in indices]
    except IndexBrokenError as error:
        return [*found, str(error)]
    except (RuntimeError, OSError, ValueError) as error:
        return [*found, str(builder.tables.broken(present.table, error))]
    wanted = {document.path: document.passages for document in documents}
    found += [
        f"{path} has {say_count(counted.get(path, 0), 'passage')} in the index, not "
        f"{wanted.get(path, 0)}."
        for path in sorted({*counted, *wanted})
        if counted.get(path, 0) != wanted.get(path, 0)
    ]
    if odd:
        found.append(f"{say_count(odd, 'vector is', 'vectors are')} not of length 1.")
    if not waiting or any(waiting):
        found.append("the BM25 index does not contain all passages.")
    return found


def _read(table: Any) -> tuple[Counter[str], int]:
    """Passages of each document, and how many vectors are no directions."""
    counted: Counter[str] = Counter()
    odd = 0
    for part in table.search().to_batches(4096):
        counted.update(part.column("document").to_pylist())
        part.column("indexed").to_pylist()
        flat = part.column("vector").flatten().to_numpy(zero_copy_only=False)
        lengths = np.linalg.norm(flat.reshape(part.num_rows, -1), axis=1)
        odd += int((np.abs(lengths - 1) > 0.01).sum())
    return counted, odd
