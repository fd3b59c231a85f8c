"""`/v1/vector_stores`: the project's knowledge, in OpenAI's wire format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from assay.accounts.keys import Caller
from assay.jobs.metadata import Key, Metadata, Value
from assay.project.knowledge import vector_stores as project
from assay.project.knowledge.vector_store_files import StoreFile
from assay.project.knowledge.vector_stores import Hit, VectorStore
from assay.serve.attributes import Filter, make_matcher
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.errors import forbidden, not_found
from assay.serve.files import make_page
from assay.serve.route import JsonRoute, Strict

router = APIRouter(tags=["vector stores"], route_class=JsonRoute)

MOST_FILES = 500
MOST_QUERIES = 10
LONGEST_QUERY = 4096

_Owner = Annotated[Caller, Depends(RequiredScope("knowledge"))]


async def _changing(caller: _Owner) -> Caller:
    """The caller, if it sees all that it would change.

    Raises:
        ApiError: 403 with a key that sees only documents with some labels.
    """
    if caller.labels is not None:
        raise forbidden(
            "This key is restricted to documents with certain labels and cannot change documents."
        )
    return caller


_Changer = Annotated[Caller, Depends(_changing)]
_Attributes = Annotated[
    dict[Key, Value | bool | float],
    Field(max_length=16, fail_fast=True),
]
_Name = Annotated[str, Field(max_length=256)]
_FileId = Annotated[str, Field(max_length=100)]


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which part of a list is asked for."""

    limit: Annotated[int, Query(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: Annotated[str | None, Query(max_length=1100)] = None
    before: Annotated[str | None, Query(max_length=1100)] = None


class Chunking(Strict):
    """How texts are cut: as Assay cuts them."""

    type: Literal["auto"]


class VectorStoreRequest(Strict):
    """A vector store to be made."""

    name: _Name | None = None
    metadata: Metadata | None = None
    file_ids: Annotated[list[_FileId], Field(max_length=MOST_FILES, fail_fast=True)] | None = None
    chunking_strategy: Chunking | None = None
    description: None = None
    expires_after: None = None


class VectorStoreChange(Strict):
    """What is to be another about it."""

    name: _Name | None = None
    metadata: Metadata | None = None
    expires_after: None = None


class StoreFileRequest(Strict):
    """A file that was uploaded before."""

    file_id: _FileId
    attributes: _Attributes | None = None
    chunking_strategy: Chunking | None = None


class StoreFileChange(Strict):
    """Change the attributes of a file."""

    attributes: _Attributes | None


class Ranking(Strict):
    """How results are ranked; there is one way, which every name stands for."""

    ranker: Literal["none", "auto", "default-2024-11-15"] = "auto"
    score_threshold: Annotated[float, Field(ge=0, le=1)] | None = None


class StoreSearchRequest(Strict):
    """What is looked for."""

    query: (
        Annotated[str, Field(min_length=1, max_length=LONGEST_QUERY)]
        | Annotated[
            list[Annotated[str, Field(min_length=1, max_length=LONGEST_QUERY)]],
            Field(min_length=1, max_length=MOST_QUERIES, fail_fast=True),
        ]
    )
    filters: Filter | None = None
    max_num_results: Annotated[int, Field(ge=1, le=50)] = 10
    ranking_options: Ranking | None = None
    rewrite_query: Literal[False] | None = None


@router.post("/v1/vector_stores")
def create(
    workspace: ServedWorkspace, body: VectorStoreRequest, caller: _Changer
) -> dict[str, Any]:
    """Create a vector store; a worker reads its files."""
    made = project.create(
        workspace,
        caller.project,
        caller.key_id,
        name=body.name or "",
        metadata=body.metadata,
        files=body.file_ids or (),
    )
    return as_wire(made)


@router.get("/v1/vector_stores")
def list_(
    workspace: ServedWorkspace, caller: _Owner, page: Annotated[PageQuery, Depends()]
) -> dict[str, Any]:
    """List the vector stores of the project."""
    found = project.vector_stores(workspace, caller.project, caller.labels)
    return _cut_page([as_wire(one) for one in found], page)


@router.get("/v1/vector_stores/{id}")
def retrieve(workspace: ServedWorkspace, id: str, caller: _Owner) -> dict[str, Any]:
    """Describe a vector store and its files."""
    return as_wire(project.get(workspace, caller.project, id, caller.labels))


@router.post("/v1/vector_stores/{id}")
def change(
    workspace: ServedWorkspace, id: str, body: VectorStoreChange, caller: _Changer
) -> dict[str, Any]:
    """Change the name or metadata of a vector store."""
    changed = project.change(workspace, caller.project, id, name=body.name, metadata=body.metadata)
    return as_wire(changed)


@router.delete("/v1/vector_stores/{id}")
def delete(workspace: ServedWorkspace, id: str, caller: _Changer) -> dict[str, Any]:
    """Delete a vector store. Its files are kept."""
    project.remove(workspace, caller.project, id, caller.key_id)
    return {"id": id, "object": "vector_store.deleted", "deleted": True}


@router.post("/v1/vector_stores/{id}/search")
def search(
    workspace: ServedWorkspace, id: str, body: StoreSearchRequest, caller: _Owner
) -> dict[str, Any]:
    """Search for the passages that match a query best."""
    queries = [body.query] if isinstance(body.query, str) else body.query
    ranking = body.ranking_options or Ranking()
    hits = project.search(
        workspace,
        caller.project,
        id,
        queries,
        k=body.max_num_results,
        threshold=ranking.score_threshold or None,
        keep=None if body.filters is None else make_matcher(body.filters),
        seen=caller.labels,
    )
    return {
        "object": "vector_store.search_results.page",
        "search_query": queries,
        "data": [_hit(hit) for hit in hits],
        "has_more": False,
        "next_page": None,
    }


@router.post("/v1/vector_stores/{id}/files")
def add_file(
    workspace: ServedWorkspace, id: str, body: StoreFileRequest, caller: _Changer
) -> dict[str, Any]:
    """Add a file, which a worker reads."""
    added = project.add_file(
        workspace, caller.project, id, body.file_id, body.attributes, caller.key_id
    )
    return file_as_wire(added)


@router.get("/v1/vector_stores/{id}/files")
def list_files(
    workspace: ServedWorkspace,
    id: str,
    caller: _Owner,
    page: Annotated[PageQuery, Depends()],
    filter: Literal["in_progress", "completed", "failed", "cancelled"] | None = None,
) -> dict[str, Any]:
    """List the files of a vector store."""
    files = project.get(workspace, caller.project, id, caller.labels).files
    kept = [file_as_wire(file) for file in files if filter is None or file.status == filter]
    return _cut_page(kept, page)


# A document that no client brought goes by its path, in which there are slashes.
@router.get("/v1/vector_stores/{id}/files/{file:path}/content")
def file_content(workspace: ServedWorkspace, id: str, file: str, caller: _Owner) -> dict[str, Any]:
    """The text that was read from a file."""
    texts = project.text_of(workspace, caller.project, id, file, caller.labels)
    return {
        "object": "vector_store.file_content.page",
        "data": [{"type": "text", "text": text} for text in texts],
        "has_more": False,
        "next_page": None,
    }


@router.get("/v1/vector_stores/{id}/files/{file:path}")
def retrieve_file(workspace: ServedWorkspace, id: str, file: str, caller: _Owner) -> dict[str, Any]:
    """Describe a file of a vector store."""
    found = project.get_file(workspace, caller.project, id, file, caller.labels)
    return file_as_wire(found)


@router.post("/v1/vector_stores/{id}/files/{file:path}")
def change_file(
    workspace: ServedWorkspace, id: str, file: str, body: StoreFileChange, caller: _Changer
) -> dict[str, Any]:
    """Change the attributes of a file."""
    changed = project.change_file(workspace, caller.project, id, file, body.attributes or {})
    return file_as_wire(changed)


@router.delete("/v1/vector_stores/{id}/files/{file:path}")
def delete_file(workspace: ServedWorkspace, id: str, file: str, caller: _Changer) -> dict[str, Any]:
    """Remove a file from a vector store. The file itself is kept."""
    project.remove_file(workspace, caller.project, id, file, caller.key_id)
    return {"id": file, "object": "vector_store.file.deleted", "deleted": True}


def as_wire(one: VectorStore) -> dict[str, Any]:
    """A vector store as OpenAI's vector store object."""
    counts = {
        status: sum(file.status == status for file in one.files)
        for status in ("in_progress", "completed", "failed", "cancelled")
    }
    return {
        "id": one.id,
        "object": "vector_store",
        "created_at": int(one.created.timestamp()),
        "name": one.name,
        "usage_bytes": sum(file.bytes for file in one.files if file.status == "completed"),
        "file_counts": {**counts, "total": len(one.files)},
        "status": "in_progress" if counts["in_progress"] else "completed",
        "expires_after": None,
        "expires_at": None,
        "last_active_at": int((one.active or one.created).timestamp()),
        "metadata": one.metadata,
    }


def file_as_wire(file: StoreFile) -> dict[str, Any]:
    """OpenAI's vector store file object."""
    error = None
    if file.error is not None:
        error = {"code": "invalid_file", "message": file.error}
    return {
        "id": file.id,
        "object": "vector_store.file",
        "usage_bytes": file.bytes if file.status == "completed" else 0,
        "created_at": int(file.created.timestamp()),
        "vector_store_id": file.store,
        "status": file.status,
        "last_error": error,
        "attributes": file.attributes,
        "chunking_strategy": {"type": "other"},
    }


def _hit(hit: Hit) -> dict[str, Any]:
    """A result; page and heading are Assay's own."""
    return {
        "file_id": hit.file.id,
        "filename": hit.file.filename,
        "score": hit.passage.score,
        "attributes": hit.file.attributes,
        "content": [{"type": "text", "text": hit.passage.text}],
        "page": hit.passage.page,
        "heading": hit.passage.heading,
    }


def _cut_page(lines: Sequence[dict[str, Any]], page: PageQuery) -> dict[str, Any]:
    """A page of a list that stands oldest first."""
    lines = lines if page.order == "asc" else lines[::-1]
    places = {one["id"]: place for place, one in enumerate(lines)}
    for name, mark in (("after", page.after), ("before", page.before)):
        if mark is not None and mark not in places:
            raise not_found("object in this list", mark, name)
    start = 0 if page.after is None else places[page.after] + 1
    end = len(lines) if page.before is None else places[page.before]
    if page.before is not None and page.after is None:  # the page that ends right before it
        start = max(0, end - page.limit)
    shown = list(lines[start:end])
    return make_page(shown[: page.limit], len(shown) > page.limit)
