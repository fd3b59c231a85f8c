"""How much of a server's disk each project takes, and whether it may take more: counted here alone.

    with workspace.quota.room("support", size):
        ...                         # write so many bytes, and the row that counts them

Kept completions, responses and conversations have a limit of their own
(`store.conversations.check_room`).
What is under way counts as written, so requests at once cannot take together what each might alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute

from assay.errors import AssayError
from assay.models.versions import version_bytes, version_id
from assay.store.store import Store
from assay.store.tables import (
    FileRow,
    KnowledgeBaseRow,
    KnowledgeDocumentRow,
    ServedNameRow,
    UploadPartRow,
    UploadRow,
    VectorStoreFileRow,
    VectorStoreRow,
)


class QuotaError(AssayError):
    """A project may not take more of the disk."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes that a project takes.

    Attributes:
        files: uploaded, or made by jobs.
        parts: of uploads that are not complete.
        documents: of knowledge and vector stores, by the size of their files.
        models: fine-tuned weights.
        traces: imported ones, and projects made of them.
        rescued: an account that was fetched, and projects of its models.
    """

    files: int
    parts: int
    documents: int
    models: int
    traces: int
    rescued: int

    @property
    def total(self) -> int:
        """Bytes of all kinds together."""
        uploaded = self.files + self.parts + self.documents
        return uploaded + self.models + self.traces + self.rescued


class Quota:
    """Of all projects of one server.

    Args:
        most: bytes of each project.
        traces: bytes of the imported ones of a project, and of what was made of them.
        rescued: bytes of the account that a project has fetched, and of what was made of it.
    """

    def __init__(
        self,
        store: Store,
        most: int,
        traces: Callable[[str], int] = lambda _: 0,
        rescued: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._store, self.most = store, most
        self._traces, self._rescued = traces, rescued
        self._under_way: Counter[str] = Counter()
        self._lock = Lock()

    def storage(self, project: str) -> Storage:
        """What a project takes now."""
        mine = KnowledgeBaseRow.owner == project
        brought = select(VectorStoreRow.id).where(VectorStoreRow.project == project)
        documents = _sum(KnowledgeDocumentRow.bytes).join(
            KnowledgeBaseRow, KnowledgeBaseRow.build == KnowledgeDocumentRow.build
        )
        with self._store.session() as session:
            files = session.scalar(_sum(FileRow.bytes).where(FileRow.project == project))
            parts = session.scalar(
                _sum(UploadPartRow.bytes)
                .join(UploadRow, UploadRow.id == UploadPartRow.upload)
                .where(UploadRow.project == project, UploadRow.status == "pending")
            )
            # Of a vector store its files count from the moment they are named.
            ours = session.scalar(documents.where(mine, KnowledgeBaseRow.name.not_in(brought)))
            theirs = session.scalar(
                _sum(VectorStoreFileRow.bytes).where(VectorStoreFileRow.project == project)
            )
            targets = session.scalars(
                select(ServedNameRow.target).where(ServedNameRow.project == project).distinct()
            ).all()
        ids = [id for target in targets if (id := version_id(target)) is not None]
        models = version_bytes(self._store, ids)
        return Storage(
            files=int(files or 0),
            parts=int(parts or 0),
            documents=int((ours or 0) + (theirs or 0)),
            models=models,
            traces=self._traces(project),
            rescued=self._rescued(project),
        )

    def check(self, project: str, more: int) -> None:
        """See that there is room for bytes, without holding it; raises as `room` does."""
        with self.room(project, more):
            pass

    @contextmanager
    def room(self, project: str, more: int) -> Iterator[None]:
        """Hold room for bytes while they are written and until their row is there.

        Raises:
            QuotaError: there is none.
        """
        self.take(project, more)
        try:
            yield
        finally:
            self.give_back(project, more)

    def take(self, project: str, more: int) -> None:
        """Claim `more` bytes of a project (QuotaError: it may not have them)."""
        with self._lock:
            self._under_way[project] += more
            claimed = self._under_way[project]
        try:
            used = self.storage(project).total
            if used + claimed > self.most:
                raise QuotaError(
                    f"this project has {used / 1e9:.2f} of the {self.most / 1e9:g} GB that it may "
                    f"have, and {more / 1e9:.2f} GB would come.",
                    fix="Delete files, vector stores, fine-tuned models, imported traces, a "
                    "fetched account or projects made of these, as far as nobody needs them, or "
                    "let the server give more: `assay serve --project-quota`.",
                )
        except BaseException:
            self.give_back(project, more)
            raise

    def give_back(self, project: str, more: int) -> None:
        """Release what `take` has claimed."""
        with self._lock:
            self._under_way[project] -= more
            if not self._under_way[project]:
                del self._under_way[project]


def _sum(column: InstrumentedAttribute[int]) -> Select[Any]:
    return select(func.sum(column))
