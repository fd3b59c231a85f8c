"""Completions and responses that were kept, walked through from the newest on.

    for one in completions(store, owner, Filters(model="desk", metadata={"topic": "towns"})):
        one.messages, one.body

The rows are read as they are needed; what is kept meanwhile is none of them. That an admin key
reads what another key has made is written into the audit log, once for each key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute

from assay.store import stored_completions
from assay.store.conversations import Owner
from assay.store.store import Store
from assay.store.stored_completions import StoredCompletion
from assay.store.stored_responses import StoredResponse
from assay.store.tables import ChatCompletionRow, ResponseRow

_Row = TypeVar("_Row", ChatCompletionRow, ResponseRow)
MOST = 50_000
"""That are looked at, the newest of those that fit."""
PAGE = 16
"""Rows that are read at once; each has at most a few MB."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which are wanted; what is None chooses none.

    Attributes:
        after, before: seconds since 1970; those of these seconds are among them.
        metadata: values that all have; no key with a quote or a backslash, which SQLite cannot be
            asked for.
        users: of one of these; of responses alone, as what follows.
    """

    model: str | None = None
    after: int | None = None
    before: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    users: Collection[str] | None = None
    temperature: float | None = None
    top_p: float | None = None


def completions(store: Store, owner: Owner, filters: Filters) -> Iterator[StoredCompletion]:
    """An owner's chat completions, the newest first."""
    row = ChatCompletionRow
    wanted = stored_completions.conditions(filters.model, filters.metadata)
    wanted += _of_time(filters, row.body["created"].as_integer())
    for found in _newest(store, owner, row, wanted, "completion.list"):
        yield found.convert(StoredCompletion)


def responses(store: Store, owner: Owner, filters: Filters) -> Iterator[StoredResponse]:
    """An owner's responses, the newest first."""
    body = ResponseRow.body
    metadata = filters.metadata.items()
    # One after the other: PostgreSQL would read a name out of the text of a path.
    wanted = [body["metadata"][name].as_string() == value for name, value in metadata]
    if filters.model is not None:
        wanted.append(body["model"].as_string() == filters.model)
    if filters.users is not None:
        wanted.append(body["user"].as_string().in_(filters.users))
    if filters.temperature is not None:
        wanted.append(body["temperature"].as_float() == filters.temperature)
    if filters.top_p is not None:
        wanted.append(body["top_p"].as_float() == filters.top_p)
    wanted += _of_time(filters, body["created_at"].as_integer())
    for found in _newest(store, owner, ResponseRow, wanted, "response.read"):
        yield found.convert(StoredResponse)


def _of_time(filters: Filters, created: ColumnElement[int]) -> list[ColumnElement[bool]]:
    wanted = []
    if filters.after is not None:
        wanted.append(created >= filters.after)
    if filters.before is not None:
        wanted.append(created <= filters.before)
    return wanted


def _newest(
    store: Store,
    owner: Owner,
    kind: type[_Row],
    conditions: Sequence[ColumnElement[bool]],
    action: str,
) -> Iterator[_Row]:
    """The keys first, in one pass over what is kept; then the rows page by page.

    Args:
        action: of the lines in the audit log.
    """
    key: InstrumentedAttribute[int] = kind.key
    mine = owner.owns_any(kind)
    wanted = select(key).where(mine, *conditions).order_by(key.desc()).limit(MOST)
    with store.session() as session:
        keys = session.scalars(wanted).all()
    seen: set[str] = set()
    for start in range(0, len(keys), PAGE):
        page = select(kind).where(mine, key.in_(keys[start : start + PAGE])).order_by(key.desc())
        with store.session() as session:
            rows = session.scalars(page).all()
        for row in rows:
            if row.key_id not in seen:
                seen.add(row.key_id)
                owner.audit(store, action, row.id, row.key_id)
            yield row
