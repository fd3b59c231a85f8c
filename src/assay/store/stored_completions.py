"""Chat completions that are kept to be read again, each of one key.

    keep(store, owner, body, messages, {"topic": "tickets"})
    found, more = select_completions(store, owner, model="desk", limit=20, order="asc")

What was deleted has expired: it is found no more, and erased by `sweep`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import InstrumentedAttribute

from assay.errors import NotFoundError
from assay.store import conversations
from assay.store.conversations import LIFETIME, Order, Owner, size_of
from assay.store.erasure import overwrite, scrub
from assay.store.store import Store
from assay.store.tables import ChatCompletionRow
from assay.store.tables.clock import database_time


@dataclass(frozen=True, slots=True)
class StoredCompletion:
    """What is kept of a chat completion.

    Attributes:
        client_metadata: what the client wrote beside it.
        messages: the conversation that it answers.
        body: as the client got it, and what it was asked with.
    """

    id: str
    client_metadata: dict[str, str]
    messages: list[dict[str, Any]]
    body: dict[str, Any]


def keep(
    store: Store,
    owner: Owner,
    body: dict[str, Any],
    messages: Sequence[dict[str, Any]],
    metadata: dict[str, str],
) -> None:
    """Keep a completion that is over.

    Args:
        body: as the client gets it, with `id` and `model`.
    """
    said = list(messages)
    row = ChatCompletionRow(
        id=body["id"],
        project=owner.project,
        key_id=owner.key_id,
        model=body["model"],
        bytes=size_of(body) + size_of(said) + size_of(metadata),
        expires=database_time(LIFETIME),
        client_metadata=metadata,
        messages=said,
        body=body,
    )
    with store.session() as session:
        session.add(row)


def find(store: Store, owner: Owner, id: str) -> StoredCompletion:
    """A completion that is kept.

    Raises:
        NotFoundError: there is none of that id that is the owner's.
    """
    wanted = select(ChatCompletionRow).where(owner.owns(ChatCompletionRow, id))
    with store.session() as session:
        row = session.scalar(wanted)
        if row is None:
            raise _unknown(id)
        found, key_id = row.convert(StoredCompletion), row.key_id
    owner.audit(store, "completion.read", id, key_id)
    return found


def conditions(model: str | None, metadata: Mapping[str, str] | None) -> list[ColumnElement[bool]]:
    """What chooses completions of a model and of metadata; None chooses none.

    Args:
        metadata: values that all have; no key with a quote or a backslash, which SQLite cannot
            be asked for.
    """
    row = ChatCompletionRow
    wanted = [row.client_metadata[key].as_string() == v for key, v in (metadata or {}).items()]
    if model is not None:
        wanted.append(row.model == model)
    return wanted


def select_completions(
    store: Store,
    owner: Owner,
    *,
    limit: int,
    order: Order,
    model: str | None = None,
    metadata: Mapping[str, str] | None = None,
    after: str | None = None,
) -> tuple[list[StoredCompletion], bool]:
    """Completions by the time they were kept, and whether there are more.

    Args:
        model, metadata: see `conditions`.

    Raises:
        NotFoundError: there is none `after`.
    """
    row = ChatCompletionRow
    key: InstrumentedAttribute[int] = row.key
    query = select(row).where(owner.owns_any(row), *conditions(model, metadata))
    with store.session() as session:
        if after is not None:
            mark = session.scalar(select(key).where(owner.owns(row, after)))
            if mark is None:
                raise _unknown(after)
            query = query.where(key < mark if order == "desc" else key > mark)
        query = query.order_by(key.desc() if order == "desc" else key)
        rows = session.scalars(query.limit(limit + 1)).all()
        found = [one.convert(StoredCompletion) for one in rows[:limit]]
        read = {one.key_id: one.id for one in rows[:limit]}
    for key_id, id in read.items():
        owner.audit(store, "completion.list", id, key_id)
    return found, len(rows) > limit


def change(store: Store, owner: Owner, id: str, metadata: dict[str, str]) -> StoredCompletion:
    """Write other metadata (NotFoundError as `find`)."""
    row = ChatCompletionRow
    with store.session() as session:
        overwrite(session)  # a row that changes its size moves, and would leave its words behind
        found = session.scalar(select(row).where(owner.owns(row, id)).with_for_update())
        if found is None:
            raise _unknown(id)
        found.bytes += size_of(metadata) - size_of(found.client_metadata)
        found.client_metadata = metadata
        owner.record(session, "completion.change", id, found.key_id)
        session.flush()
        return found.convert(StoredCompletion)


def remove(store: Store, owner: Owner, id: str) -> None:
    """Delete a completion (NotFoundError as `find`)."""
    conversations.expire(store, owner, ChatCompletionRow, id, "completion.delete")


def sweep(store: Store) -> None:
    """Erase completions that were deleted or have expired."""
    over = delete(ChatCompletionRow).where(ChatCompletionRow.expires <= database_time())
    with store.session() as session:
        overwrite(session)
        gone = session.scalars(over.returning(ChatCompletionRow.key)).all()
    if gone:
        scrub(store)


def _unknown(id: str) -> NotFoundError:
    return NotFoundError(f"no such chat completion: {id}")
