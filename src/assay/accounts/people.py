"""People who use the studio: who they are, what they may, and how they sign in.

    person = add(realm, "ann", "editor")
    secret = sign_in_secret(realm, person.id)     # good once, for an hour
    person, session = redeem(realm, secret)       # the browser keeps `session`
    person = find_signed_in(realm, session)       # None when it is over

There are no passwords. Of every secret only the hash is kept. Whoever is demoted or removed is
signed out at once. Links and sessions end by the database's clock, the same at all servers.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assay.accounts.keys import secret_hash
from assay.config.names import same_name
from assay.errors import AssayError, NotFoundError, StateError, Step, UsageError
from assay.store.audit import record
from assay.store.store import Store
from assay.store.tables import SessionRow, SignInRow, UserRow
from assay.store.tables.clock import database_time

Role = Literal["viewer", "editor", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "editor", "admin")
"""Each may what those before it may."""
OWNER = "owner"
"""The person whom the link is for that a server prints when it starts."""
ADDRESS = "studio_address"
"""The setting that holds where the server which was started last listens."""
LINK_LASTS = timedelta(hours=1)
SESSION_LASTS = timedelta(days=7)
LONGEST_NAME = 80


class SignedOutError(AssayError):
    """Nobody is signed in any more."""


class NotAllowedError(AssayError):
    """The person's role does not allow it."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may use the studio."""

    id: str
    name: str
    role: Role
    created: datetime

    def may(self, role: Role) -> bool:
        """Whether the person has this role or a higher one."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Realm(Protocol):
    """Where people sign in.

    Attributes:
        name: the project that owns the records.
        who: whose name is put to changes in the audit log.
    """

    @property
    def store(self) -> Store: ...
    @property
    def name(self) -> str: ...
    @property
    def who(self) -> str: ...


def add(realm: Realm, name: str, role: str) -> Person:
    """Let somebody in.

    Raises:
        UsageError: the name is empty, long or taken, or there is no such role.
    """
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(f"a name must have 1 to {LONGEST_NAME} characters.")
    for other in people(realm):
        if same_name(other.name, name):
            raise UsageError(f"there is already a person named {other.name}.")
    row = UserRow(id=f"user_{secrets.token_hex(8)}", name=name, role=_role(role))
    try:
        with realm.store.session() as session:
            session.add(row)
            session.flush()
            person = _person(row)
            record(session, realm.name, realm.who, "person.add", name, {"role": role})
    except IntegrityError:
        # At the same moment.
        raise UsageError(f"there is already a person named {name}.") from None
    return person


def people(realm: Realm) -> list[Person]:
    """Everybody who may sign in, ordered by name."""
    with realm.store.session() as session:
        return [_person(row) for row in session.scalars(select(UserRow).order_by(UserRow.name))]


def find(realm: Realm, name: str) -> Person:
    """The person of that name.

    Raises:
        NotFoundError: there is none.
    """
    with realm.store.session() as session:
        row = session.scalar(select(UserRow).where(UserRow.name == name))
    if row is None:
        raise NotFoundError(
            f"there is no person named {name!r}.", fix=f"{Step.LIST_PEOPLE} shows all people."
        )
    return _person(row)


def set_role(realm: Realm, id: str, role: str) -> Person:
    """Give somebody another role; who may less than before is signed out.

    Raises:
        NotFoundError: there is no such person.
        StateError: no admin would be left.
        UsageError: there is no such role.
    """
    wanted = _role(role)
    with realm.store.session() as session:
        _hold_admins(session)
        row = _found(session, id)
        before = _person(row)
        row.role = wanted
        if before.role == "admin":
            _keep_an_admin(session)
        if not _person(row).may(before.role):
            _sign_out(session, id)
        changed = _person(row)
        record(session, realm.name, realm.who, "person.role", before.name, {"to": role})
    return changed


def remove(realm: Realm, id: str) -> Person:
    """Remove somebody's access, and sign them out.

    Raises:
        NotFoundError: there is no such person.
        StateError: no admin would be left.
    """
    with realm.store.session() as session:
        _hold_admins(session)
        row = _found(session, id)
        gone = _person(row)
        _sign_out(session, id)
        session.delete(row)
        if gone.role == "admin":
            _keep_an_admin(session)
        record(session, realm.name, realm.who, "person.remove", gone.name)
    return gone


def sign_in_secret(realm: Realm, id: str) -> str:
    """The secret of a new link that signs somebody in, once and within the hour.

    Raises:
        NotFoundError: there is no such person.
    """
    secret = secrets.token_urlsafe(32)
    with realm.store.session() as session:
        name = _found(session, id).name
        session.execute(delete(SignInRow).where(SignInRow.expires < database_time()))
        until = database_time(LINK_LASTS)
        session.add(SignInRow(hash=secret_hash(secret), user=id, expires=until))
        record(session, realm.name, realm.who, "person.link", name)
    return secret


def owner_secret(realm: Realm) -> str:
    """A link's secret for the owner, an admin, who is made where there is none."""
    with realm.store.lock("first.lock"):  # several servers may begin at once
        with realm.store.session() as session:
            row = session.scalar(
                select(UserRow)
                .where(UserRow.role == "admin")
                .order_by(UserRow.name != OWNER, UserRow.created, UserRow.id)
            )
        id = row.id if row else add(realm, OWNER, "admin").id
    return sign_in_secret(realm, id)


def redeem(realm: Realm, secret: str) -> tuple[Person, str] | None:
    """Use a link up: the person, and the session's secret; None where it is not good (any more)."""
    with realm.store.session() as session:
        id = session.scalar(
            delete(SignInRow)
            .where(SignInRow.hash == secret_hash(secret), SignInRow.expires >= database_time())
            .returning(SignInRow.user)
        )
        if id is None:
            return None
        person, kept = _person(_found(session, id)), secrets.token_urlsafe(32)
        session.execute(delete(SessionRow).where(SessionRow.expires < database_time()))
        until = database_time(SESSION_LASTS)
        session.add(SessionRow(hash=secret_hash(kept), user=id, expires=until))
        record(session, realm.name, f"user:{person.name}", "person.sign_in", person.name)
    return person, kept


def find_signed_in(realm: Realm, session_secret: str) -> Person | None:
    """Whose session it is; None when it is over."""
    query = (
        select(UserRow)
        .join(SessionRow, SessionRow.user == UserRow.id)
        .where(
            SessionRow.hash == secret_hash(session_secret), SessionRow.expires >= database_time()
        )
    )
    with realm.store.session() as session:
        row = session.scalar(query)
    return None if row is None else _person(row)


def find_all_signed_in(realm: Realm, session_secrets: Collection[str]) -> dict[str, Person]:
    """Whose sessions some are, of those that are not over."""
    of = {secret_hash(secret): secret for secret in session_secrets}
    query = (
        select(SessionRow.hash, UserRow)
        .join(UserRow, SessionRow.user == UserRow.id)
        .where(SessionRow.hash.in_(list(of)), SessionRow.expires >= database_time())
    )
    with realm.store.session() as session:
        return {of[found]: _person(row) for found, row in session.execute(query)}


def sign_out(realm: Realm, session_secret: str) -> None:
    """End the session that a secret belongs to, if there is one."""
    with realm.store.session() as session:
        session.execute(delete(SessionRow).where(SessionRow.hash == secret_hash(session_secret)))


def _hold_admins(session: Session) -> None:
    """Let no other transaction change who is an admin before this one ends.

    In PostgreSQL two that take the role of each other's admin would both see one left; SQLite lets
    one at a time write.
    """
    admins = select(UserRow.id).where(UserRow.role == "admin").order_by(UserRow.id)
    session.execute(admins.with_for_update())


def _keep_an_admin(session: Session) -> None:
    """Counted after the change, which nobody else's can come between any more."""
    session.flush()
    count = select(func.count()).select_from(UserRow).where(UserRow.role == "admin")
    if session.scalar(count) == 0:
        raise StateError("this is the only admin.", fix="Give another person the role admin first.")


def _sign_out(session: Session, id: str) -> None:
    session.execute(delete(SessionRow).where(SessionRow.user == id))
    session.execute(delete(SignInRow).where(SignInRow.user == id))


def _found(session: Session, id: str) -> UserRow:
    row = session.get(UserRow, id)
    if row is None:
        raise NotFoundError(f"there is no person with the id {id!r}.")
    return row


def _role(role: str) -> Role:
    if role not in ROLES:
        raise UsageError(f"there is no role {role!r}.", fix=f"Roles: {', '.join(ROLES)}.")
    return role


def _person(row: UserRow) -> Person:
    return Person(row.id, row.name, _role(row.role), row.created)
