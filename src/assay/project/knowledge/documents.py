"""Documents that are brought in a browser: kept in the project's `knowledge/`, and taken out again.

    source = documents.keep(workspace, "manuals", "returns.pdf", Path("/tmp/upload"))
    added = documents.add(workspace, "manuals", [source])
    found = documents.search(workspace, "manuals", "How do I get a refund?", k=5)

What the command line adds stays where it is; `assay.project.knowledge` has the rest.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

from assay.config import Place
from assay.config.names import check_text, same_name
from assay.errors import UsageError
from assay.knowledge import records
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.build import Encoder
from assay.knowledge.check import Check
from assay.knowledge.failures import FailedDocument, note_failures
from assay.knowledge.intake import AddResult
from assay.knowledge.parse import KINDS_IN_WORDS, kind_of
from assay.knowledge.records import Build
from assay.knowledge.search import Mode, Passage
from assay.knowledge.settings import KnowledgeSettings
from assay.knowledge.sources import LONGEST_NAME, SourceFile
from assay.knowledge.worker_embedding import by_workers
from assay.models.tuned_encoder import SCHEME
from assay.place.opening import LazyWorkers, workers_of
from assay.progress import SILENT, Progress
from assay.project import reach
from assay.project.knowledge import removal
from assay.project.workspace import Workspace
from assay.store.audit import audit
from assay.store.files import replacing

FOLDER = "knowledge"
LONGEST_QUERY = 10_000
"""Characters."""
MODES: tuple[Mode, ...] = ("bm25", "dense", "hybrid")
_NAME = re.compile(r"[^\w .,()+&-]+")
_unread: dict[tuple[Path, str], set[str]] = {}
"""Documents that are kept and not yet read, by folder and knowledge base; of this process."""


@dataclass(frozen=True, slots=True)
class DocumentContent:
    """What a document came to.

    Attributes:
        pages: its text as it was read, page by page.
        passages: what is searched.
    """

    pages: tuple[str, ...]
    passages: tuple[Passage, ...]


def names(workspace: Workspace) -> list[str]:
    """Of all knowledge bases of the project."""
    return records.names(workspace.store, workspace.name)


def names_for_agents(workspace: Workspace) -> list[str]:
    """Of those that an agent can name: without copies by trained embedders."""
    return [name for name in names(workspace) if not records.is_tuned_copy(name)]


def list_all(workspace: Workspace) -> list[str]:
    """The names of all documents, of every knowledge base that an agent can name."""
    bases = [base(workspace, name) for name in names_for_agents(workspace)]
    return [document.path for one in bases for document in one.documents()]


def base(workspace: Workspace, name: str, workers: LazyWorkers | None = None) -> KnowledgeBase:
    """The knowledge base of that name, made or not.

    Args:
        workers: that embed; None: this process does.
    """

    def open_encoder(name: str) -> Encoder:
        found = workspace.embedder(name)
        return found if workers is None else by_workers(found, workers)

    return KnowledgeBase(workspace.store, workspace.name, name, embedders=open_encoder)


def texts(workspace: Workspace) -> Iterator[str] | None:
    """The text of every document of the project, as it was read; None where there are none."""
    found = [base(workspace, name) for name in names_for_agents(workspace)]
    if not any(one.documents() for one in found):
        return None
    return ("\n".join(pages) for one in found for pages in one.texts())


def create(workspace: Workspace, name: str) -> None:
    """Make a knowledge base, empty.

    Raises:
        UsageError: it cannot be called so, or there is one of that name, if only in other capitals.
    """
    for there in names(workspace):
        if same_name(there, name):
            raise UsageError(f"there is a knowledge base {there} already.", fix="Use another name.")
    base(workspace, name).create()
    audit(workspace.store, workspace.name, workspace.who, "knowledge.create", name)


def keep(workspace: Workspace, name: str, file: str, content: Path) -> SourceFile:
    """Keep a file that was brought, in the place of an earlier one of its name.

    Why one cannot be read is kept as well (`failures`), as of those that only `add` finds so.

    Raises:
        UsageError: it has no name to keep it by, or has an unsupported format.
    """
    clean = _NAME.sub("-", Path(file).name).strip(" .-")[:150]
    if not clean:
        raise UsageError(f"{file!r} has no valid file name.")
    if kind_of(clean) is None:
        error = UsageError(_unreadable(PurePath(clean).suffix), fix=f"Choose {KINDS_IN_WORDS}.")
        of = records.make_base(workspace.store, workspace.name, name)
        failed = FailedDocument(_of_failure(file), str(error))
        note_failures(workspace.store, of, [failed], [])
        raise error
    folder = _folder(workspace, name)
    with replacing(folder / clean) as fresh, content.open("rb") as brought:
        shutil.copyfileobj(brought, fresh)
    _unread.setdefault((workspace.root, name), set()).add(clean)
    return SourceFile(clean, folder / clean)


def _of_failure(file: str) -> str:
    """The name by which it is kept why a file could not be read: as its owner knows it."""
    return Path(file).name[:LONGEST_NAME]


def _unreadable(ending: str) -> str:
    return (
        f"{ending} files cannot be read." if ending else "a file without an ending cannot be read."
    )


def count_unread(workspace: Workspace, name: str) -> int:
    """How many documents are kept and being read, or wait to be: nothing of them is found yet."""
    return len(_unread.get((workspace.root, name), ()))


def add(
    workspace: Workspace, name: str, sources: Sequence[SourceFile], progress: Progress = SILENT
) -> AddResult:
    """Read kept files and make them searchable; those that cannot be read are told, each.

    Raises:
        AssayError: as `KnowledgeBase.add`.
    """
    try:
        of = base(workspace, name)
        added = of.add(sources, progress=progress)
    finally:
        waiting = _unread.get((workspace.root, name), set())
        waiting.difference_update(source.document for source in sources)
    searched = {document.path for document in of.documents()}
    for source in sources:  # of which nothing is searched, nothing is kept
        if source.document not in searched:
            source.file.unlink(missing_ok=True)
    details = {"documents": len(sources)}
    audit(workspace.store, workspace.name, workspace.who, "knowledge.add", name, details)
    return added


def remove(workspace: Workspace, name: str, document: str) -> str | None:
    """Erase a document, and its file where it was brought in a browser.

    Returns:
        where it is all the same; None: nowhere.

    Raises:
        NotFoundError: there is no such document.
    """
    of = base(workspace, name)
    folder = _folder(workspace, name).resolve()
    brought = [Path(d.location) for d in of.documents() if d.path == document]
    removed = removal.remove(workspace, name, [document])
    for file in brought:
        if file.resolve().parent == folder:
            file.unlink(missing_ok=True)
    audit(workspace.store, workspace.name, workspace.who, "knowledge.remove", name)
    return " ".join(removal.warnings(workspace, removed)) or None


def list_hashes(workspace: Workspace, name: str) -> dict[str, str]:
    """The hash of each document's content, by its name; none where there is no such knowledge
    base."""
    if name not in names(workspace):
        return {}
    return {document.path: document.sha256 for document in base(workspace, name).documents()}


def failures(workspace: Workspace, name: str) -> list[FailedDocument]:
    """Files that could not be read, or only in part, and why, until that is dismissed; none where
    there is no such knowledge base."""
    return base(workspace, name).failures() if name in names(workspace) else []


def dismiss_failure(workspace: Workspace, name: str, file: str) -> None:
    """Forget that a file could not be read, or only in part; what was read of it stays."""
    if name in names(workspace):
        of = records.base_id(workspace.store, workspace.name, name)
        note_failures(workspace.store, of, (), [file, _of_failure(file)])
        audit(workspace.store, workspace.name, workspace.who, "knowledge.dismiss", name)


def check(workspace: Workspace, name: str, progress: Progress = SILENT) -> Check:
    """Compare a knowledge base with its files, and read its whole index.

    Raises:
        NotFoundError: there is no such knowledge base.
    """
    return base(workspace, name).check(progress)


def rebuild(
    workspace: Workspace,
    name: str,
    *,
    embedder: str | None = None,
    chunk_tokens: int | None = None,
    language: str | None = None,
    place: Place | None = None,
    progress: Progress = SILENT,
) -> Build:
    """Make all passages anew, with other settings where they are given.

    Args:
        place: where they are embedded; None: in this process.

    Raises:
        NotFoundError: there is no such knowledge base.
        AssayError: as `KnowledgeBase.rebuild`.
    """
    with workers_of(place or Place(), progress) as workers:
        of = base(workspace, name, workers)
        settings = merge_settings(of.settings, embedder, chunk_tokens, language)
        made = of.rebuild(settings, progress)
    audit(
        workspace.store, workspace.name, workspace.who, "knowledge.rebuild", name, asdict(settings)
    )
    return made


def merge_settings(
    settings: KnowledgeSettings,
    embedder: str | None,
    chunk_tokens: int | None,
    language: str | None,
) -> KnowledgeSettings:
    """Settings with those that are given in the place of what was.

    Raises:
        UsageError: the embedder is one that a comparison has trained.
    """
    if embedder is not None and embedder.startswith(SCHEME) and embedder != settings.embedder:
        raise UsageError(
            "a trained embedder can be used only by the agents it was trained for.",
            fix="Use the embedder that it was trained from, and the candidate rag-tuned.",
        )
    return KnowledgeSettings(
        embedder=settings.embedder if embedder is None else embedder,
        chunk_tokens=settings.chunk_tokens if chunk_tokens is None else chunk_tokens,
        language=settings.language if language is None else language,
    )


def check_embedder(workspace: Workspace, name: str, embedder: str) -> None:
    """See that passages may be rebuilt over the web with an embedder, before hours of work.

    Raises:
        UsageError: it is one that a comparison has trained, or none that is offered.
    """
    now = base(workspace, name).settings
    if embedder == now.embedder:
        return
    merge_settings(now, embedder, None, None)
    if why := reach.of_embedder(workspace, embedder):
        raise UsageError(why)


def look(workspace: Workspace, name: str, document: str) -> DocumentContent:
    """The text that was read from a document, and the passages it was cut into.

    Raises:
        NotFoundError: there is no such document.
    """
    of = base(workspace, name)
    return DocumentContent(tuple(of.pages(document)), tuple(of.passages(document)))


def search(workspace: Workspace, name: str, query: str, k: int) -> dict[Mode, list[Passage]]:
    """The passages of a query by each way of searching, to be compared.

    Raises:
        UsageError: the query is too long.
        AssayError: as `KnowledgeBase.search`.
    """
    check_text(query, "the question", LONGEST_QUERY)
    of = base(workspace, name)
    return {mode: of.search([query], k=k, mode=mode)[0] for mode in MODES}


def _folder(workspace: Workspace, name: str) -> Path:
    if not records.NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a valid name of a knowledge base.")
    return workspace.root / FOLDER / name
