"""Conversations that clients keep here, each of one key: items in order, added, listed, deleted.

    conversation = create(store, owner, {"topic": "tickets"}, items)
    found, more = items_of(store, owner, conversation.id, after=None, limit=20, order="desc")

An item is what the API shows of it, with an `id` that no other has. Which limits hold is asked
before (`check_length`, `check_room`); what comes of an answer that was given is added all the same.
What is deleted is found no more, and erased by `sweep`: that SQLite's log keeps nothing of it takes
the writer's lock, and may wait for who reads. That an admin key reads, changes or deletes what
another key has made is written into the audit log.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, delete, func, insert, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from assay.errors import AssayError, NotFoundError
from assay.store.audit import audit, record
from assay.store.erasure import overwrite, scrub
from assay.store.store import Store
from assay.store.tables import (
    ChatCompletionRow,
    ConversationItemRow,
    ConversationRow,
    ResponseRow,
)
from assay.store.tables.clock import database_time

LIFETIME = timedelta(days=30)
"""Of a completion or response since it was given, of a conversation since something was added or
changed."""
MOST_ITEMS = 2048
"""Of a conversation, or of a response with all before it: what a request may have."""
MOST_BYTES = 4 * 2**20
"""Of these, as JSON."""
PROJECT_BYTES = 2**30
"""Of all completions, responses and conversations of a project."""
OVER = timedelta(days=-1)
"""When what is deleted has expired: not now, or a clock that is set back would show it again."""
Order = Literal["asc", "desc"]
_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_Row = type[ResponseRow] | type[ConversationRow] | type[ChatCompletionRow]
_KINDS: dict[_Row, str] = {
    ResponseRow: "response",
    ConversationRow: "conversation",
    ChatCompletionRow: "chat completion",
}


class NoRoomError(AssayError):
    """A project keeps as much as it may."""


class TooLongError(AssayError):
    """A conversation has as much as it may."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose completions, responses and conversations are looked for.

    Attributes:
        key_id: they belong to the key that made them.
        sees_all: those of the project's other keys, too.
    """

    project: str
    key_id: str
    sees_all: bool = False

    def owns(self, kind: _Row, id: str) -> ColumnElement[bool]:
        """Of that id and this owner's, and not expired.

        Raises:
            NotFoundError: nothing can have that id.
        """
        if not _ID.fullmatch(id):
            raise NotFoundError(f"no such {_KINDS[kind]}: {id}")
        return and_(kind.id == id, self.owns_any(kind))

    def owns_any(self, kind: _Row) -> ColumnElement[bool]:
        """Of this owner's, and not expired."""
        mine = and_(kind.project == self.project, kind.expires > database_time())
        return mine if self.sees_all else and_(mine, kind.key_id == self.key_id)

    def record(self, session: Session, action: str, id: str, key_id: str) -> None:
        """Add a line to the audit log, in this transaction, where another key made the thing."""
        if key_id != self.key_id:
            record(session, self.project, self.key_id, action, id, {"key": key_id})

    def audit(self, store: Store, action: str, id: str, key_id: str) -> None:
        """The same by itself, after something was read."""
        if key_id != self.key_id:
            audit(store, self.project, self.key_id, action, id, {"key": key_id})


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is known of a conversation.

    Attributes:
        items, bytes: how much is in it.
    """

    id: str
    client_metadata: dict[str, str]
    items: int
    bytes: int
    created: datetime


def expire(store: Store, owner: Owner, kind: _Row, id: str, action: str) -> None:
    """Let a row be found no more; `sweep` of its kind erases it.

    Args:
        action: of the audit log's line, where another key has made it.

    Raises:
        NotFoundError: there is none of that id that is the owner's.
    """
    over = update(kind).where(owner.owns(kind, id)).values(expires=database_time(OVER))
    over = over.execution_options(synchronize_session=False)
    with store.session() as session:
        overwrite(session)
        key_id = session.scalar(over.returning(kind.key_id))
        if key_id is None:
            raise NotFoundError(f"no such {_KINDS[kind]}: {id}")
        owner.record(session, action, id, key_id)


def size_of(content: Any) -> int:
    """Bytes of something as JSON."""
    return len(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))


def check_length(items: int, bytes: int = 0) -> None:
    """See that a conversation may have so much.

    Raises:
        TooLongError: it may not.
    """
    if items > MOST_ITEMS:
        raise TooLongError(
            f"there would be {items:,} items; {MOST_ITEMS:,} are the most.",
            fix="Begin a new conversation, with a summary of this one.",
        )
    if bytes > MOST_BYTES:
        raise TooLongError(
            f"it would be {bytes / 2**20:.1f} MB; {MOST_BYTES // 2**20} MB are the most that is "
            "kept of a conversation.",
            fix="Begin a new one, with a summary of this one.",
        )


def check_room(store: Store, project: str, more: int) -> None:
    """See that a project may keep so many bytes more.

    Raises:
        NoRoomError: it may not.
    """
    if used_bytes(store, project) + more > PROJECT_BYTES:
        raise NoRoomError(
            f"this project has all of the {PROJECT_BYTES / 2**30:g} GB that it may have of kept "
            "completions, responses and conversations.",
            fix="Send `store: false`, wait until some expire, or delete those whose ids you have: "
            "they are counted for ten minutes more.",
        )


def used_bytes(store: Store, project: str) -> int:
    """Of all completions, responses and conversations of a project."""
    with store.session() as session:
        sums = [
            session.scalar(select(func.sum(kind.bytes)).where(kind.project == project))
            for kind in _KINDS
        ]
    return sum(int(one or 0) for one in sums)


def create(
    store: Store, owner: Owner, metadata: dict[str, str], items: Sequence[dict[str, Any]]
) -> Conversation:
    """A new conversation that begins with some items."""
    own = size_of(metadata)
    row = ConversationRow(
        id=f"conv_{secrets.token_hex(16)}",
        project=owner.project,
        key_id=owner.key_id,
        client_metadata=metadata,
        items=0,
        bytes=own,
        created=database_time(),
        expires=database_time(LIFETIME),
    )
    with store.session() as session:
        session.add(row)
        session.flush()
        add_items(session, owner, row.id, items)
        session.refresh(row)
        return row.convert(Conversation)


def find(store: Store, owner: Owner, id: str) -> Conversation:
    """A conversation.

    Raises:
        NotFoundError: there is none of that id that is the owner's.
    """
    with store.session() as session:
        row = _find_row(session, owner, id)
        found, key_id = row.convert(Conversation), row.key_id
    owner.audit(store, "conversation.read", id, key_id)
    return found


def change(store: Store, owner: Owner, id: str, metadata: dict[str, str]) -> Conversation:
    """Write other metadata (NotFoundError as `find`)."""
    with store.session() as session:
        _touch(session, owner, id)
        row = _find_row(session, owner, id)
        row.bytes += size_of(metadata) - size_of(row.client_metadata)
        row.client_metadata = metadata
        session.flush()
        return row.convert(Conversation)


def remove(store: Store, owner: Owner, id: str) -> None:
    """Delete a conversation and its items (NotFoundError as `find`)."""
    with store.session() as session:
        _touch(session, owner, id, lifetime=OVER, action="conversation.delete")


def add_items(session: Session, owner: Owner, id: str, items: Sequence[dict[str, Any]]) -> None:
    """Put items behind those that are there, in a transaction (NotFoundError as `find`)."""
    sizes = [size_of(item) for item in items]
    _touch(session, owner, id, len(items), sum(sizes))
    rows = [
        {"id": item["id"], "conversation": id, "content": item, "bytes": size}
        for item, size in zip(items, sizes, strict=True)
    ]
    for start in range(0, len(rows), 100):
        session.execute(insert(ConversationItemRow), rows[start : start + 100])


def extend(store: Store, owner: Owner, id: str, items: Sequence[dict[str, Any]]) -> None:
    """Put items behind those that are there.

    Raises:
        NotFoundError: as `find`.
        NoRoomError, TooLongError: there would be too many.
    """
    with store.session() as session:
        _find_row(session, owner, id)
    check_room(store, owner.project, size_of(items))
    with store.session() as session:
        add_items(session, owner, id, items)  # others wait for it, so this is all there is
        row = _find_row(session, owner, id)
        check_length(row.items, row.bytes)


def all_items(store: Store, owner: Owner, id: str) -> list[dict[str, Any]]:
    """All items of a conversation, the oldest first (NotFoundError as `find`)."""
    with store.session() as session:
        _find_row(session, owner, id)
        query = select(ConversationItemRow.content).where(ConversationItemRow.conversation == id)
        return list(session.scalars(query.order_by(ConversationItemRow.key)).all())


def items_of(
    store: Store,
    owner: Owner,
    id: str,
    *,
    after: str | None,
    limit: int,
    order: Order,
) -> tuple[list[dict[str, Any]], bool]:
    """Items of a conversation, and whether there are more.

    Raises:
        NotFoundError: as `find`; there is no item `after`.
    """
    key: InstrumentedAttribute[int] = ConversationItemRow.key
    query = select(ConversationItemRow.content).where(ConversationItemRow.conversation == id)
    with store.session() as session:
        key_id = _find_row(session, owner, id).key_id
        if after is not None:
            mark = _find_item(session, id, after).key
            query = query.where(key < mark if order == "desc" else key > mark)
        query = query.order_by(key.desc() if order == "desc" else key)
        found = list(session.scalars(query.limit(limit + 1)).all())
    owner.audit(store, "conversation.read", id, key_id)
    return found[:limit], len(found) > limit


def find_item(store: Store, owner: Owner, id: str, item: str) -> dict[str, Any]:
    """One item (NotFoundError: as `find`; there is no such item)."""
    with store.session() as session:
        key_id = _find_row(session, owner, id).key_id
        content = _find_item(session, id, item).content
    owner.audit(store, "conversation.read", id, key_id)
    return content


def remove_item(store: Store, owner: Owner, id: str, item: str) -> Conversation:
    """Take one item out (NotFoundError: as `find`; there is no such item)."""
    with store.session() as session:
        _touch(session, owner, id)
        row = _find_item(session, id, item)
        row.conversation = None
        session.flush()
        _touch(session, owner, id, -1, -row.bytes, action=None)
        return _find_row(session, owner, id).convert(Conversation)


def sweep(store: Store) -> None:
    """Erase conversations that are over, with their items, and items that were taken out."""
    over = delete(ConversationRow).where(ConversationRow.expires <= database_time())
    loose = delete(ConversationItemRow).where(ConversationItemRow.conversation.is_(None))
    with store.session() as session:
        overwrite(session)
        gone = [
            *session.scalars(over.returning(ConversationRow.key)),
            *session.scalars(loose.returning(ConversationItemRow.key)),
        ]
    if gone:
        scrub(store)


def _touch(
    session: Session,
    owner: Owner,
    id: str,
    items: int = 0,
    bytes: int = 0,
    lifetime: timedelta = LIFETIME,
    action: str | None = "conversation.change",
) -> None:
    """Count what comes or goes. It is the first that a transaction does, for it locks the row."""
    overwrite(session)  # a row that changes its size moves, and would leave its words behind
    changed = update(ConversationRow).where(owner.owns(ConversationRow, id))
    values = changed.values(
        items=ConversationRow.items + items,
        bytes=ConversationRow.bytes + bytes,
        expires=database_time(lifetime),
    )
    found = session.scalar(
        values.returning(ConversationRow.key_id).execution_options(synchronize_session=False)
    )
    if found is None:
        raise NotFoundError(f"no such conversation: {id}")
    if action is not None:
        owner.record(session, action, id, found)


def _find_row(session: Session, owner: Owner, id: str) -> ConversationRow:
    row = session.scalar(select(ConversationRow).where(owner.owns(ConversationRow, id)))
    if row is None:
        raise NotFoundError(f"no such conversation: {id}")
    return row


def _find_item(session: Session, id: str, item: str) -> ConversationItemRow:
    row = None
    if _ID.fullmatch(item):
        query = select(ConversationItemRow).where(
            ConversationItemRow.conversation == id, ConversationItemRow.id == item
        )
        row = session.scalar(query)
    if row is None:
        raise NotFoundError(f"no such item of {id}: {item}")
    return row
