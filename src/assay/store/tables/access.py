"""Keys, people, providers, and what they spend."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from assay.store.tables.base import Table, UtcDateTime, now


class ApiKeyRow(Table):
    """A key of the HTTP API; of the secret only its hash is kept.

    `scopes` is a list of `admin`, `chat`, `files`, `fine_tuning`, `releases`, `knowledge` and
    `traces`. `labels`, where there are any, are those of the documents that it sees.
    """

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    name: Mapped[str] = mapped_column(String(200))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(20))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    labels: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True), nullable=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    revoked: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)


class AuditRow(Table):
    """Who changed what; rows are only ever added."""

    __tablename__ = "audit"

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    who: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(60))
    what: Mapped[str] = mapped_column(String(300))
    details: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class ProviderRow(Table):
    """An endpoint that was added at the command line; `settings` are those of assay.yaml's own."""

    __tablename__ = "providers"

    project: Mapped[str] = mapped_column(String(200), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class SecretRow(Table):
    """A provider's key, encrypted; `assay.store.secrets` is the only one that reads it.

    `master` names the master key that it is encrypted with.
    """

    __tablename__ = "secrets"

    project: Mapped[str] = mapped_column(String(200), primary_key=True)
    provider: Mapped[str] = mapped_column(String(63), primary_key=True)
    origin: Mapped[str] = mapped_column(String(300))
    master: Mapped[str] = mapped_column(String(16))
    nonce: Mapped[bytes] = mapped_column(LargeBinary)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class ConsentRow(Table):
    """A project has agreed that its rows go to an origin."""

    __tablename__ = "consents"

    project: Mapped[str] = mapped_column(String(200), primary_key=True)
    provider: Mapped[str] = mapped_column(String(63), primary_key=True)
    origin: Mapped[str] = mapped_column(String(300))
    who: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class BudgetRow(Table):
    """What an API key may spend at providers, in billionths of a USD.

    `reserved` is what processes hold of it: the sum of its leases. Where both are changed, this row
    is changed first, so that one transaction waits for the other here.
    """

    __tablename__ = "budgets"

    key: Mapped[str] = mapped_column(ForeignKey("api_keys.id"), primary_key=True)
    most: Mapped[int] = mapped_column(BigInteger)
    spent: Mapped[int] = mapped_column(BigInteger)
    reserved: Mapped[int] = mapped_column(BigInteger)


class BudgetLeaseRow(Table):
    """A part of a budget that one process may spend without asking, in billionths of a USD.

    Attributes:
        amount: held, less what the usage log shows as spent.
        risk: of that, the most that may be under way or spent and not in the log yet. It counts as
            spent when the process is gone; the rest comes back.
        expires: when the process is taken to be gone, unless it says otherwise before.
    """

    __tablename__ = "budget_leases"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    key: Mapped[str] = mapped_column(ForeignKey("budgets.key"), index=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    risk: Mapped[int] = mapped_column(BigInteger)
    expires: Mapped[datetime] = mapped_column(UtcDateTime)


class RequestLeaseRow(Table):
    """Of the requests that a key may have at once, those that one server may begin without asking.

    Attributes:
        expires: when the server is taken to be gone, unless it says otherwise before.
    """

    __tablename__ = "request_leases"

    key: Mapped[str] = mapped_column(String(40), primary_key=True)
    server: Mapped[str] = mapped_column(String(40), primary_key=True)
    amount: Mapped[int] = mapped_column(Integer)
    expires: Mapped[datetime] = mapped_column(UtcDateTime)


class UsageRow(Table):
    """One answer of a provider's model. What the provider did not tell is null; USD in billionths.

    Attributes:
        model: `remote:PROVIDER/MODEL`, the one that answered.
        name: as it was asked for.
    """

    __tablename__ = "usage"

    row: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    key: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(300))
    model: Mapped[str] = mapped_column(String(300))
    prompt: Mapped[int | None] = mapped_column(Integer, nullable=True)
    cached: Mapped[int | None] = mapped_column(Integer, nullable=True)
    completion: Mapped[int | None] = mapped_column(Integer, nullable=True)
    reasoning: Mapped[int | None] = mapped_column(Integer, nullable=True)
    cost: Mapped[int | None] = mapped_column(BigInteger, nullable=True)
    seconds: Mapped[float] = mapped_column(Float)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class UserRow(Table):
    """A person who may use the studio."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    role: Mapped[str] = mapped_column(String(10))
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class SessionRow(Table):
    """Somebody who is signed in; `hash` is the sha256 of what the browser holds."""

    __tablename__ = "sessions"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires: Mapped[datetime] = mapped_column(UtcDateTime)


class SignInRow(Table):
    """A link that signs a user in, once; `hash` is the sha256 of its secret."""

    __tablename__ = "sign_ins"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    expires: Mapped[datetime] = mapped_column(UtcDateTime)
