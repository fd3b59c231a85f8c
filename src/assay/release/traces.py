"""Traces: what was asked and answered, kept only where somebody switched it on.

    id = new_id()                                     # before the answer begins
    record(store, "support", "tickets", agent, id=id, messages=..., answer=...)
    feedback(store, "support", id, thumb="down", corrected="card_arrival")

Before anything is written, whatever looks like a secret or personal data is replaced by its kind
(`assay.data.privacy`: shapes and checksums; names and addresses have none and stay). Whether a
trace belongs to the random sample is decided by its id alone, before anybody has judged it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assay.data.privacy import mask_within
from assay.errors import NotFoundError, Step, UsageError
from assay.example import Message, canonical_json
from assay.release.policies import DAYS, lock_traces, policy
from assay.store.store import Store
from assay.store.tables import TracePolicyRow, TraceRow
from assay.store.tables.clock import database_time

MOST_BYTES = 256 * 1024
"""A request and answer that are longer, as JSON, are not kept."""
PRUNE_EVERY = 64
"""Traces between two looks for those that are too old or too many; reading looks each time."""

PAGE = 100
"""Traces that are read at once."""

Thumb = Literal["up", "down"]


class NoTraceError(NotFoundError):
    """There is no such trace, or it is another project's."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A request that is kept with its answer.

    Attributes:
        agent: id of the agent that answered.
        messages: as they came, in OpenAI's form; the agent's own prompt is not among them.
        usage: tokens and seconds, as the server measured them.
        masked: secrets and items of personal data that were replaced.
        sampled: it was drawn at random, to be labelled for `watch`.
        thumb, corrected: feedback; None where there was none.
    """

    id: str
    release: str
    agent: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    answer: dict[str, Any]
    usage: dict[str, Any] | None
    masked: int
    sampled: bool
    thumb: Thumb | None
    corrected: str | None
    at: datetime

    def to_dict(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "at": self.at.isoformat()}


@dataclass(frozen=True, slots=True)
class KeptCount:
    """How many traces of a release there are.

    Attributes:
        sampled: of them, in the random sample.
        newest: when the newest one came; None where there is none.
    """

    traces: int
    sampled: int
    newest: datetime | None


def new_id() -> str:
    """An id for a trace that may be kept; the client is told it together with the answer."""
    return f"trace-{secrets.token_hex(12)}"


def record(
    store: Store,
    project: str,
    release: str,
    agent: str,
    *,
    id: str,
    messages: Sequence[Message],
    answer: Message,
    tools: Sequence[dict[str, Any]] = (),
    usage: dict[str, Any] | None = None,
) -> bool:
    """Keep a request and its answer, if the release keeps traces and they are not too long.

    Args:
        id: of `new_id()`; kept once.
        messages: as the client sent them.

    Returns:
        Whether it is kept.
    """
    limits = policy(store, project, release)
    if limits is None or not limits.active:
        return False
    texts = [[message.to_dict() for message in messages], list(tools), answer.to_dict()]
    if len(canonical_json(texts).encode(errors="replace")) > MOST_BYTES:
        return False
    (asked, offered, said), hidden = mask_within(texts)
    row = TraceRow(
        id=id,
        project=project,
        release=release,
        agent=agent,
        messages=asked,
        tools=offered,
        answer=said,
        usage=usage,
        masked=len(hidden),
        sampled=is_sampled(limits.seed, id, limits.sample),
        at=database_time(),
    )
    try:
        with store.session() as session:
            session.add(row)
    except IntegrityError:
        return False  # kept already: the same request was recorded twice
    if row.key % PRUNE_EVERY == 0:
        prune(store)  # all: which release has this key is chance, or none at all
    return True


def is_sampled(seed: str, id: str, share: float) -> bool:
    """Whether a trace belongs to the random sample; its content plays no part."""
    digest = hashlib.sha256(f"{seed}\0{id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48 < share


def traces(
    store: Store,
    project: str,
    release: str | None = None,
    *,
    count: int = 100,
    corrected: bool = False,
) -> list[Trace]:
    """The newest traces of a project or one of its releases, newest first.

    Args:
        corrected: only those with a corrected answer.
    """
    prune(store, project)
    wanted = _of(project, release).order_by(TraceRow.key.desc()).limit(count)
    if corrected:
        wanted = wanted.where(TraceRow.corrected.is_not(None))
    with store.session() as session:
        return [as_trace(row) for row in session.scalars(wanted).all()]


def select_traces(
    store: Store,
    project: str,
    release: str | None = None,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int,
) -> Iterator[Trace]:
    """The newest traces of a time, newest first, read as they are needed.

    Args:
        after, before: seconds since 1970; those of these seconds are among them.
        limit: at most so many.
    """
    prune(store, project)
    wanted = _of(project, release).order_by(TraceRow.key.desc())
    if after is not None:
        wanted = wanted.where(TraceRow.at >= datetime.fromtimestamp(after, UTC))
    if before is not None:
        wanted = wanted.where(TraceRow.at < datetime.fromtimestamp(before + 1, UTC))
    last: int | None = None
    while limit > 0:
        page = wanted if last is None else wanted.where(TraceRow.key < last)
        with store.session() as session:
            rows = session.scalars(page.limit(min(limit, PAGE))).all()
            found = [as_trace(row) for row in rows]
        if not rows:
            return
        yield from found
        last, limit = rows[-1].key, limit - len(rows)


def shortest_days(store: Store, project: str, release: str | None) -> int:
    """How long traces of a release are kept; of all releases, where none is named: of the one that
    keeps them shortest."""
    wanted = select(func.min(TracePolicyRow.days)).where(TracePolicyRow.project == project)
    if release is not None:
        wanted = wanted.where(TracePolicyRow.release == release)
    with store.session() as session:
        return session.scalar(wanted) or DAYS


def count_kept(store: Store, project: str, release: str, agent: str | None = None) -> KeptCount:
    """How many traces of a release there are; of one agent, where an id is given."""
    prune(store, project)
    wanted = select(
        func.count(), func.count().filter(TraceRow.sampled), func.max(TraceRow.at)
    ).where(TraceRow.project == project, TraceRow.release == release)
    if agent is not None:
        wanted = wanted.where(TraceRow.agent == agent)
    with store.session() as session:
        return KeptCount(*session.execute(wanted).one())


def trace(store: Store, project: str, id: str) -> Trace:
    """One trace.

    Raises:
        NoTraceError: there is none.
    """
    prune(store, project)
    with store.session() as session:
        return as_trace(_mine(session, project, id))


def feedback(
    store: Store,
    project: str,
    id: str,
    *,
    thumb: Thumb | None = None,
    corrected: str | None = None,
) -> Trace:
    """Attach a thumb, the answer that would have been right, or both; the last word counts: a
    thumb up alone withdraws an earlier correction.

    Raises:
        NoTraceError: there is no such trace.
        UsageError: nothing was said, or the corrected answer is empty or too long.
    """
    if thumb is None and corrected is None:
        raise UsageError("no feedback was given.", fix="Give a thumb, a corrected answer, or both.")
    if thumb not in (None, "up", "down"):
        raise UsageError(f"{thumb!r} is not a thumb.", fix="Give up or down.")
    right = None if corrected is None else correction(corrected)
    with store.session() as session:
        return as_trace(attach(store, session, project, id, thumb, right))


def attach(
    store: Store,
    session: Session,
    project: str,
    id: str,
    thumb: Thumb | None,
    corrected: str | None,
) -> TraceRow:
    """`feedback` at the beginning of a transaction, that of another thing which is said of the
    trace.

    Args:
        corrected: as `correction` returns it.

    Raises:
        NoTraceError: there is no such trace.
    """
    lock_traces(store, session, project)
    row = _mine(session, project, id)
    if thumb is not None:
        row.thumb = thumb
    if (corrected is not None or thumb == "up") and corrected != row.corrected:
        if row.saved_in is not None and not row.added:
            # The file holds what is no longer right: the others in it are saved anew.
            unsave(session, project, row.saved_in)
        row.corrected, row.corrected_at = corrected, database_time()
        row.saved_in, row.added = None, False
    return row


def unsave(session: Session, project: str, file: str) -> None:
    """Corrections that are in a file, and were not added to the examples, count as in none."""
    session.execute(
        update(TraceRow)
        .where(TraceRow.project == project, TraceRow.saved_in == file, TraceRow.added.is_(False))
        .values(saved_in=None)
    )


def correction(text: str) -> str:
    """A corrected answer as it is kept, personal data replaced; of a record within its values.

    Raises:
        UsageError: it is empty, too long, or no text.
    """
    if not text.strip():
        raise UsageError("the corrected answer is empty.", fix="Give the right answer.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise UsageError("the corrected answer contains bytes that are not text.") from None
    if size > MOST_BYTES:
        raise UsageError(f"the corrected answer is longer than {MOST_BYTES // 1024} KiB.")
    return str(mask_within(text)[0])


def prune(store: Store, project: str | None = None) -> None:
    """Delete what is older than its release keeps traces, or more than it keeps.

    Args:
        project: whose; None: of all.
    """
    wanted = select(TracePolicyRow)
    if project is not None:
        wanted = wanted.where(TracePolicyRow.project == project)
    with store.session() as session:
        limits = session.scalars(wanted).all()
    for one in limits:
        with store.session() as session:
            lock_traces(store, session, one.project)
            _prune(session, one)


def _prune(session: Session, limits: TracePolicyRow) -> None:
    mine = (TraceRow.project == limits.project) & (TraceRow.release == limits.release)
    oldest = database_time(-timedelta(days=limits.days))
    session.execute(delete(TraceRow).where(mine, TraceRow.at < oldest))
    last = session.scalar(
        select(TraceRow.key).where(mine).order_by(TraceRow.key.desc()).offset(limits.most).limit(1)
    )
    if last is not None:
        session.execute(delete(TraceRow).where(mine, TraceRow.key <= last))


def _of(project: str, release: str | None) -> Select[TraceRow]:
    wanted = select(TraceRow).where(TraceRow.project == project)
    return wanted if release is None else wanted.where(TraceRow.release == release)


def _mine(session: Session, project: str, id: str) -> TraceRow:
    wanted = select(TraceRow).where(TraceRow.id == id, TraceRow.project == project)
    row = session.scalar(wanted)
    if row is None:
        raise NoTraceError(
            f"there is no trace {id!r}.",
            fix=f"It was not kept or has expired; {Step.LIST_TRACES} shows the traces.",
        )
    return row


def as_trace(row: TraceRow) -> Trace:
    """The trace that a row of the table holds."""
    return Trace(**{name: getattr(row, name) for name in Trace.__dataclass_fields__})
