"""Keys of the HTTP API: made, listed, revoked. Of the secret only its hash is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, count

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from assay.accounts.scopes import BY_LABEL, SCOPES
from assay.agent.versions import user
from assay.config.names import check_line, same_name
from assay.errors import NotFoundError, Step, UsageError
from assay.knowledge.intake import checked_labels
from assay.store.audit import record
from assay.store.conversations import Owner
from assay.store.store import Store
from assay.store.tables import ApiKeyRow, BudgetRow, now

LONGEST_NAME = 200
_PREFIX = "assay-"
_NAMING = "key-names.lock"
"""Held while a name is looked for among the others and given."""
STUDIO = "studio"
"""Id of the key that people in the studio spend by: it has no secret, and is in no list."""
CALLER = "assay.caller"
"""Where the scope of an HTTP request has its `Caller`, put there by the gate of `assay serve`."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key.

    Attributes:
        hint: its last characters, to tell keys apart.
        revoked: when it ceased to be good, or None.
        labels: of the documents that it sees; None: all of the project's.
        budgeted: what it may spend at providers is limited.
    """

    id: str
    project: str
    name: str
    hint: str
    scopes: tuple[str, ...]
    created: datetime
    revoked: datetime | None
    labels: tuple[str, ...] | None = None
    budgeted: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a request is from, and who pays for it.

    Attributes:
        key_id: of the API key, or `STUDIO`.
        project: what it may see and change; everything else answers 404.
        budgeted: what it may spend at providers is limited.
        labels: of the documents that it sees; None: all of the project's.
    """

    key_id: str
    project: str
    scopes: tuple[str, ...]
    budgeted: bool = False
    labels: frozenset[str] | None = None

    def may(self, scope: str) -> bool:
        """Whether the key is good for this."""
        return scope in self.scopes or "admin" in self.scopes

    def may_read(self, scope: str | None) -> bool:
        """Whether the key may read copies of what was kept.

        Args:
            scope: that reads them; or the id of the key, which reads them beside those with the
                scope `admin`; None: every key does.
        """
        return scope is None or scope == self.key_id or self.may(scope)


def owner_of(caller: Caller) -> Owner:
    """Whose completions, responses and conversations a caller may see: its key's; all of the
    project's, if it is an admin's."""
    return Owner(caller.project, caller.key_id, caller.may("admin"))


def create_key(
    store: Store,
    project: str,
    name: str,
    scopes: Sequence[str],
    who: str | None = None,
    *,
    labels: Sequence[str] | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; returns what is known of it and the secret, which cannot be had again.

    Args:
        labels: it sees only documents with one of these; None: all of the project's.

    Raises:
        UsageError: the name cannot be one or is another key's; no scope, one that does not exist,
            or one that shows more than the labels say.
    """
    name = check_line(name, "the name", LONGEST_NAME)
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        what = (
            f"there is no scope {unknown[0]!r}." if unknown else "a key needs at least one scope."
        )
        raise UsageError(what, fix=f"Use some of: {', '.join(SCOPES)}.")
    if labels is not None and (more := sorted(set(scopes) - BY_LABEL)):
        raise UsageError(
            f"a key with the scope {more[0]!r} sees more than documents with certain labels.",
            fix=f"With labels use {' and '.join(sorted(BY_LABEL))}.",
        )
    secret = _PREFIX + secrets.token_urlsafe(32)
    row = ApiKeyRow(
        id=f"key_{secrets.token_hex(8)}",
        project=project,
        name=name,
        hash=secret_hash(secret),
        hint=secret[-4:],
        scopes=sorted(set(scopes)),
        labels=None if labels is None else list(checked_labels(labels)),
    )
    with store.lock(_NAMING), store.session() as session:
        _check_free(session, project, name)
        session.add(row)
        session.flush()
        made = _key(row)
        details = {"scopes": row.scopes} | ({} if labels is None else {"labels": row.labels})
        record(session, project, who or local_user(), "key.create", made.id, details)
    return made, secret


def free_name(store: Store, project: str, name: str) -> str:
    """A name that no key has, for one that nobody has named: with a number where it is taken."""
    with store.session() as session:
        taken = _names(session, project)
    numbered = (f"{name} {number}" for number in count(2))
    return next(one for one in chain([name], numbered) if not _find_same(one, taken))


def _check_free(session: Session, project: str, name: str, of: str | None = None) -> None:
    """See that no other key is called so: people tell them apart by nothing else.

    Args:
        of: id of the key that is renamed.

    Raises:
        UsageError: one is, if only in other capitals.
    """
    if (there := _find_same(name, _names(session, project, of))) is not None:
        raise UsageError(f"there is already a key named {there}.", fix="Use another name.")


def _names(session: Session, project: str, but: str | None = None) -> list[str]:
    """Of a project's keys; one that is revoked leaves its name free."""
    query = select(ApiKeyRow.name).where(
        ApiKeyRow.project == project, ApiKeyRow.revoked.is_(None), ApiKeyRow.id != (but or "")
    )
    return list(session.scalars(query))


def _find_same(name: str, names: Sequence[str]) -> str | None:
    return next((one for one in names if same_name(one, name)), None)


def first_key(store: Store, project: str) -> str | None:
    """The secret of a new admin key where there has never been any key, else None."""
    with store.lock("first.lock"):  # several servers may begin at once
        with store.session() as session:
            if session.scalar(select(func.count()).where(ApiKeyRow.id != STUDIO)):
                return None
        return create_key(store, project, "first", ["admin"])[1]


def find_key(store: Store, secret: str) -> ApiKey | None:
    """The key with this secret, unless it was revoked."""
    query = select(ApiKeyRow).where(
        ApiKeyRow.hash == secret_hash(secret), ApiKeyRow.revoked.is_(None)
    )
    with store.session() as session:
        row = session.scalar(query)
        if row is None:
            return None
        return replace(_key(row), budgeted=session.get(BudgetRow, row.id) is not None)


def caller_of(key: ApiKey) -> Caller:
    """Whoever asks with a key."""
    labels = None if key.labels is None else frozenset(key.labels)
    return Caller(key.id, key.project, key.scopes, key.budgeted, labels)


def read_caller(store: Store, id: str) -> Caller | None:
    """Whoever asks with the key of this id; None where it was revoked."""
    with store.session() as session:
        row = session.get(ApiKeyRow, id)
        if row is None or row.revoked is not None:
            return None
        budgeted = session.get(BudgetRow, row.id) is not None
        return caller_of(replace(_key(row), budgeted=budgeted))


def select_keys(store: Store, ids: Collection[str]) -> set[str]:
    """Those of some keys that are there and not revoked."""
    query = select(ApiKeyRow.id).where(ApiKeyRow.id.in_(list(ids)), ApiKeyRow.revoked.is_(None))
    with store.session() as session:
        return set(session.scalars(query))


def list_keys(store: Store, project: str | None = None) -> list[ApiKey]:
    """All keys (of a project), oldest first."""
    query = (
        select(ApiKeyRow).where(ApiKeyRow.id != STUDIO).order_by(ApiKeyRow.created, ApiKeyRow.id)
    )
    if project is not None:
        query = query.where(ApiKeyRow.project == project)
    with store.session() as session:
        return [_key(row) for row in session.scalars(query)]


def name_of(store: Store, id: str) -> str:
    """The name of a key; "" where there is none."""
    with store.session() as session:
        return session.scalar(select(ApiKeyRow.name).where(ApiKeyRow.id == id)) or ""


def revoke_key(store: Store, id: str, who: str | None = None, project: str | None = None) -> ApiKey:
    """From now on the key is good for nothing. Doing it twice changes nothing.

    Args:
        project: whose key it must be; None: anybody's.

    Raises:
        NotFoundError: there is no such key.
    """
    with store.session() as session:
        row = _find_row(session, id, project)
        fresh = update(ApiKeyRow).where(ApiKeyRow.id == id, ApiKeyRow.revoked.is_(None))
        if session.scalar(fresh.values(revoked=now()).returning(ApiKeyRow.id)) is not None:
            record(session, row.project, who or local_user(), "key.revoke", id)
        session.refresh(row)
        return _key(row)


def _find_row(session: Session, id: str, project: str | None) -> ApiKeyRow:
    row = session.get(ApiKeyRow, id)
    if row is None or id == STUDIO or project not in (None, row.project):
        raise NotFoundError(f"there is no key {id!r}.", fix=f"{Step.LIST_KEYS} shows all keys.")
    return row


def studio_key(session: Session, project: str) -> ApiKeyRow:
    """The key that people in the studio spend by, made where there is none."""
    row = session.get(ApiKeyRow, STUDIO)
    if row is None:
        row = ApiKeyRow(
            id=STUDIO,
            project=project,
            name="the studio",
            hash=secret_hash(secrets.token_urlsafe(32)),  # of a secret that nobody has
            hint="",
            scopes=[],
            revoked=now(),
        )
        session.add(row)
        session.flush()
    return row


def rename_key(
    store: Store, id: str, name: str, who: str | None = None, project: str | None = None
) -> ApiKey:
    """Say anew what a key is for; what it may, and its secret, stay as they are.

    Args:
        project: whose key it must be; None: anybody's.

    Raises:
        UsageError: the name cannot be one, or is another key's.
        NotFoundError: there is no such key.
    """
    name = check_line(name, "the name", LONGEST_NAME)
    with store.lock(_NAMING), store.session() as session:
        row = _find_row(session, id, project)
        if row.revoked is None:
            _check_free(session, row.project, name, of=id)
        before, row.name = row.name, name
        renamed = _key(row)
        details = {"before": before, "after": name}
        record(session, renamed.project, who or local_user(), "key.rename", id, details)
    return renamed


def local_user() -> str:
    """Who works on the command line, for the audit log."""
    return f"cli:{user()}"


def secret_hash(secret: str) -> str:
    """What is kept of a secret of 256 random bits, which cannot be guessed from it: no slow hash
    is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        id=row.id,
        project=row.project,
        name=row.name,
        hint=row.hint,
        scopes=tuple(row.scopes),
        created=row.created,
        revoked=row.revoked,
        labels=None if row.labels is None else tuple(row.labels),
    )
