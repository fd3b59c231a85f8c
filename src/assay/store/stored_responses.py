"""Responses that are kept to be read again and gone on from, each of one key.

    found = find(store, owner, "resp_1")
    items = items_until(store, found)        # all that was said, the oldest first
    keep(store, owner, body, input, previous=found)

A row holds what a response has added; `previous` leads to what came before. So a chain takes what
it says, once, and none can lead back to itself: a row names one that was there before it. What was
deleted has expired: it is found and gone on from no more, and `sweep` erases its row as soon as no
later response that has not expired goes on from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CTE, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from assay.errors import NotFoundError
from assay.store import conversations
from assay.store.conversations import LIFETIME, Owner, size_of
from assay.store.erasure import overwrite, scrub
from assay.store.store import Store
from assay.store.tables import ResponseRow
from assay.store.tables.clock import database_time

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """What is kept of a response.

    Attributes:
        conversation: id of the one whose items it was answered from, and was added to.
        input: its own items, without what came before.
        body: as the client got it.
        chain_items, chain_bytes: of what was said, with all before it.
    """

    id: str
    conversation: str | None
    input: list[dict[str, Any]]
    body: dict[str, Any]
    chain_items: int
    chain_bytes: int


def keep(
    store: Store,
    owner: Owner,
    body: dict[str, Any],
    input: Sequence[dict[str, Any]],
    *,
    previous: StoredResponse | None = None,
    conversation: str | None = None,
) -> bool:
    """Keep a response that is over, and add it to its conversation: both or neither.

    Args:
        body: as the client gets it; only where it says `store` is there more than the conversation.
        conversation: id of one.

    Returns:
        Whether it was kept: not where `previous` or the conversation was deleted meanwhile.
    """
    items = [*input, *body["output"]]
    before = (previous.chain_items, previous.chain_bytes) if previous is not None else (0, 0)
    try:
        with store.session() as session:
            if conversation is not None:
                conversations.add_items(session, owner, conversation, items)
            if body["store"]:
                row = ResponseRow(
                    id=body["id"],
                    project=owner.project,
                    key_id=owner.key_id,
                    previous=previous.id if previous is not None else None,
                    conversation=conversation,
                    input=list(input),
                    body=body,
                    bytes=size_of(body) + size_of(list(input)),
                    chain_items=before[0] + len(items),
                    chain_bytes=before[1] + size_of(items),
                    expires=database_time(LIFETIME),
                )
                session.add(row)
                session.flush()  # first: SQLite's lock of writers comes with it
                if previous is not None:
                    still = select(ResponseRow.key).where(owner.owns(ResponseRow, previous.id))
                    if session.scalar(still.with_for_update(read=True)) is None:
                        raise NotFoundError(f"no such response: {previous.id}")
    except (IntegrityError, NotFoundError):
        return False
    return True


def find(store: Store, owner: Owner, id: str) -> StoredResponse:
    """A response that is kept.

    Raises:
        NotFoundError: there is none of that id that is the owner's.
    """
    wanted = select(ResponseRow).where(owner.owns(ResponseRow, id))
    with store.session() as session:
        row = session.scalar(wanted)
        if row is None:
            raise NotFoundError(f"no such response: {id}")
        found, key_id = row.convert(StoredResponse), row.key_id
    owner.audit(store, "response.read", id, key_id)
    return found


def items_until(store: Store, response: StoredResponse) -> list[dict[str, Any]]:
    """All that was said until a response, with its own input and output, the oldest first.

    Raises:
        NotFoundError: it was erased meanwhile.
    """
    chain = _chain(response.id)
    query = select(ResponseRow.input, ResponseRow.body).join(chain, ResponseRow.key == chain.c.key)
    with store.session() as session:
        rows = session.execute(query.order_by(ResponseRow.key)).all()
    if not rows:
        raise NotFoundError(f"no such response: {response.id}")
    return [item for input, body in rows for item in (*input, *body["output"])]


def remove(store: Store, owner: Owner, id: str) -> None:
    """Delete a response; later ones that go on from it can still be gone on from.

    Raises:
        NotFoundError: as `find`.
    """
    conversations.expire(store, owner, ResponseRow, id, "response.delete")


def sweep(store: Store) -> None:
    """Erase what was deleted or has expired and is no part of what may still be gone on from."""
    row, later = ResponseRow, aliased(ResponseRow)
    over = row.expires <= database_time()
    needed_by = select(row.id).join(later, later.previous == row.id)
    needed_by = needed_by.where(over, later.expires > database_time())
    with store.session() as session:
        dead = session.execute(select(row.key, row.id, row.previous).where(over)).all()
        needed = set(session.scalars(needed_by.distinct()).all()) if dead else set()
        before = {one.id: one.previous for one in dead}
        for id in list(needed):
            earlier = before.get(id)
            while earlier is not None and earlier not in needed:
                needed.add(earlier)
                earlier = before.get(earlier)
        gone = [one.key for one in dead if one.id not in needed]
        _erase(session, gone)
    if gone:
        scrub(store)


def _chain(id: str) -> CTE:
    """Keys of a response and all before it."""
    row = ResponseRow
    first = select(row.key, row.previous).where(row.id == id).cte("chain", recursive=True)
    return first.union_all(select(row.key, row.previous).join(first, row.id == first.c.previous))


def _erase(session: Session, keys: Sequence[int]) -> None:
    overwrite(session)
    newest_first = sorted(keys, reverse=True)
    for start in range(0, len(keys), _AT_ONCE):
        some = newest_first[start : start + _AT_ONCE]
        session.execute(delete(ResponseRow).where(ResponseRow.key.in_(some)))
