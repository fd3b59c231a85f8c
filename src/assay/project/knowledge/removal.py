"""Documents that are to be gone are gone from all that a project has made of them.

removed = remove(workspace, "documents", ["knowledge/returns.md"])
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from assay.config.names import file_of
from assay.errors import NotFoundError
from assay.knowledge import pins
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.intake import RemoveResult
from assay.progress import SILENT, Progress
from assay.project import questions
from assay.project.begun_copies import copied_documents, remove_left
from assay.project.versions import describe_learned
from assay.project.workspace import Workspace
from assay.store.erasure import scrub

HELD = (
    "A comparison that is not over still searches what was removed: it is erased when the "
    "comparison has ended or is cancelled."
)


def remove(
    workspace: Workspace,
    name: str,
    documents: Sequence[str],
    progress: Progress = SILENT,
    *,
    owner: str | None = None,
) -> RemoveResult:
    """Erase documents of a knowledge base, and questions that were drafted from them.

    Args:
        owner: whose knowledge base it is; None: the folder's project.

    Raises:
        NotFoundError: as `KnowledgeBase.remove`.
    """
    owner = owner or workspace.name
    base = KnowledgeBase(workspace.store, owner, name)
    remove_left(workspace)
    with _without_drafts(workspace, owner, base):
        removed = base.remove(documents, progress)
    if removed.is_held:  # by one that has ended, too, if somebody was changing the documents then
        remove_left(workspace)
    elif owner == workspace.name and copied_documents(workspace) & set(removed.documents):
        return replace(removed, is_held=True)
    return removed


def remove_all(
    workspace: Workspace, name: str, progress: Progress = SILENT, *, owner: str | None = None
) -> RemoveResult:
    """Erase a whole knowledge base.

    Raises:
        NotFoundError: there is none of that name.
        StateError: a comparison that is not over searches it.
    """
    owner = owner or workspace.name
    base = KnowledgeBase(workspace.store, owner, name)
    refuse_searched(workspace, owner, name)
    with _without_drafts(workspace, owner, base):
        gone = base.documents()
        base.delete(progress)
    return RemoveResult(
        tuple(document.path for document in gone), 0, frozenset(d.sha256 for d in gone)
    )


def refuse_searched(workspace: Workspace, owner: str, name: str) -> None:
    """Refuse to erase a whole knowledge base, before anything is erased.

    Raises:
        StateError: a comparison that is not over searches it.
    """
    remove_left(workspace)
    pins.refuse(workspace.store, owner, name)


def warnings(workspace: Workspace, removed: RemoveResult) -> list[str]:
    """Where what was removed is all the same, a sentence each."""
    learned = describe_learned(workspace.store, removed.files)
    return [*([HELD] if removed.is_held else []), *([] if learned is None else [learned])]


def coming_back(workspace: Workspace, name: str, gone: Sequence[str]) -> list[str]:
    """Of the documents that were removed, those that the next comparison would add again."""
    section = None if workspace.config is None else workspace.config.knowledge
    if section is None or section.name != name:
        return []
    folders = [file_of(path, workspace.root).resolve() for path in section.paths]
    return [
        document
        for document in gone
        for file in [(workspace.root / document).resolve()]
        if file.is_file() and any(file.is_relative_to(folder) for folder in folders)
    ]


@contextmanager
def _without_drafts(workspace: Workspace, owner: str, base: KnowledgeBase) -> Iterator[None]:
    """Erase drafts whose document is not there (any more), those a killed removal left too."""
    try:
        yield
    finally:
        section = None if workspace.config is None else workspace.config.knowledge
        if section is not None and (owner, base.name) == (workspace.name, section.name):
            try:
                left = [document.path for document in base.documents()]
            except NotFoundError:
                left = []
            questions.forget_all_but(workspace.store, owner, left)
            scrub(workspace.store)
