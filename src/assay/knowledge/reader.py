"""Searches the tables of a knowledge base, whichever build is present, or is pinned."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

from assay.knowledge import pins, records
from assay.knowledge.build import Embedders, check_vectors
from assay.knowledge.records import Build
from assay.knowledge.search import Passage, Search, find
from assay.knowledge.shared_builds import bring_build, drop_copy, tables_at
from assay.knowledge.table import IndexBrokenError, base_folder
from assay.store.store import Store

_TRIES = 5


class Reader:
    """Opens tables; those that are no longer kept are let go.

    Args:
        pin: whose states are read, see `pins`; None: the present one, and those that are kept.
    """

    def __init__(self, store: Store, pin: str | None = None) -> None:
        self._store, self._pin = store, pin
        self._opened: dict[str, Any] = {}
        self._checked: set[tuple[str, str]] = set()  # tables, and whose vectors they hold
        self._guard = Lock()

    def table(self, base: str, build: Build) -> Any:
        """The opened table of a build that has one.

        Raises:
            IndexBrokenError: it cannot be read.
        """
        name = build.table
        assert name is not None
        with self._guard:
            if name not in self._opened:
                bring_build(self._store, base, build)
                self._opened = {name: tables_at(base_folder(self._store, base)).open(name)}
            return self._opened[name]

    def find(
        self,
        base: str,
        queries: Sequence[str],
        search: Search,
        snapshot: str | None,
        embedders: Embedders,
    ) -> list[list[Passage]]:
        """The passages of each query, see `KnowledgeBase.search`."""
        # Half of a surrogate pair is no text, and neither index nor embedder takes it.
        queries = [query.encode(errors="replace").decode() for query in queries]
        for attempt in range(_TRIES):
            build = self.state(base, snapshot)
            if build.table is None:
                return [[] for _ in queries]
            name = build.settings.embedder
            encoder = None if search.mode == "bm25" else embedders(name)
            vectors = None if encoder is None else encoder.encode(queries)
            try:
                table = self.table(base, build)
                if encoder is not None and (build.table, encoder.identity) not in self._checked:
                    check_vectors(table, name, encoder)
                    self._checked.add((build.table, encoder.identity))
                return [
                    find(table, query, None if vectors is None else vectors[number], search)
                    if query.strip()
                    else []
                    for number, query in enumerate(queries)
                ]
            except (IndexBrokenError, RuntimeError, OSError, ValueError) as error:
                # Removed under our hands? Then another build has taken its place.
                self._opened.pop(build.table, None)
                last = attempt == _TRIES - 1
                if last or self.state(base, snapshot) == build:
                    documents = records.documents_of(self._store, build)
                    if not attempt and drop_copy(self._store, base, build, documents):
                        continue  # the bucket has it whole
                    if isinstance(error, IndexBrokenError):
                        raise
                    tables = tables_at(base_folder(self._store, base))
                    raise tables.broken(build.table, error) from None
        raise AssertionError("unreachable")

    def state(self, base: str, snapshot: str | None = None) -> Build:
        """The state of a snapshot; None: the one that is searched.

        Raises:
            NotFoundError: it was not kept.
        """
        if snapshot is None:
            found = None if self._pin is None else pins.pinned(self._store, base, self._pin)
            return found or records.present(self._store, base)
        if self._pin is None:
            return records.build_of(self._store, base, snapshot)
        return pins.pinned_as(self._store, base, self._pin, snapshot)
