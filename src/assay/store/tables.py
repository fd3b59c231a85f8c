"""The tables. A change here needs a migration in `migrations/versions/` (a test compares both)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Table(DeclarativeBase):
    """Base of all tables."""


def now() -> datetime:
    """The current time, UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def exactly_now() -> datetime:
    """The current time, UTC, for what is put in order by it."""
    return datetime.now(UTC)


class Moment(TypeDecorator[datetime]):
    """A time with its zone: SQLite forgets it, so what comes back is told to be UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC, on every database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class AgentRow(Table):
    """The content of an agent, once; `id` is the sha256 of its canonical JSON."""

    __tablename__ = "agents"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    body: Mapped[str] = mapped_column(Text)


class AgentVersionRow(Table):
    """One save of an agent under a name; who, when and why are outside the content's hash."""

    __tablename__ = "agent_versions"
    __table_args__ = (UniqueConstraint("name", "version"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), index=True)
    version: Mapped[int] = mapped_column(Integer)
    agent: Mapped[str] = mapped_column(ForeignKey("agents.id"))
    author: Mapped[str] = mapped_column(String(200))
    message: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment, default=now)


class OpeningRow(Table):
    """One opening of a locked holdout; rows are only ever added."""

    __tablename__ = "openings"
    __table_args__ = (UniqueConstraint("holdout", "number"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    holdout: Mapped[str] = mapped_column(String(64), index=True)
    number: Mapped[int] = mapped_column(Integer)
    comparison: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    alpha: Mapped[float] = mapped_column(Float)
    at: Mapped[datetime] = mapped_column(Moment, default=now)


class ComparisonRow(Table):
    """One comparison: its written plan and, when it has ended, its result."""

    __tablename__ = "comparisons"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    holdout: Mapped[str] = mapped_column(String(64), index=True)
    plan: Mapped[dict[str, Any]] = mapped_column(JSON)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    at: Mapped[datetime] = mapped_column(Moment, default=now)


class SettingRow(Table):
    """A pointer or a choice that lasts, such as the current split."""

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class JobRow(Table):
    """Long work that a worker takes up; `assay.jobs.queue` is the only one that changes it."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    kind: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(20), index=True)
    wish: Mapped[str | None] = mapped_column(String(20), nullable=True)
    worker: Mapped[str | None] = mapped_column(String(100), nullable=True)
    beat: Mapped[datetime | None] = mapped_column(Moment, nullable=True)
    attempts: Mapped[int] = mapped_column(Integer)
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    error: Mapped[str | None] = mapped_column(Text, nullable=True)
    created: Mapped[datetime] = mapped_column(Moment, default=exactly_now)
    started: Mapped[datetime | None] = mapped_column(Moment, nullable=True)
    ended: Mapped[datetime | None] = mapped_column(Moment, nullable=True)


class JobEventRow(Table):
    """What happened to a job, in order; rows are only ever added."""

    __tablename__ = "job_events"

    key: Mapped[int] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    at: Mapped[datetime] = mapped_column(Moment, default=now)


class ServedNameRow(Table):
    """A name that the server answers to beside releases, such as `ft:<base>:<org>:<suffix>:<id>`.

    `target` is a model reference or `version:ID`; it never changes.
    """

    __tablename__ = "served_names"

    name: Mapped[str] = mapped_column(String(300), primary_key=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    target: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(Moment, default=now)


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
    created: Mapped[datetime] = mapped_column(Moment, default=now)
    revoked: Mapped[datetime | None] = mapped_column(Moment, nullable=True)


class AuditRow(Table):
    """Who changed what; rows are only ever added."""

    __tablename__ = "audit"

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    who: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(60))
    what: Mapped[str] = mapped_column(String(300))
    details: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    at: Mapped[datetime] = mapped_column(Moment, default=now)


class ReleaseRow(Table):
    """One change of a release, and all that holds after it; rows are only ever added.

    The row with the highest number is what is served, so a change is there whole or not at all.

    Attributes:
        label, canary_label: the agents as `NAME@VERSION`.
        share: of the keys that the canary answers, 0 to 1.
        previous: number of the change that a rollback brings back.
        comparison: in which the agent was shown to be fit; null where that was not asked for.
    """

    __tablename__ = "releases"
    __table_args__ = (UniqueConstraint("project", "name", "number"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(100))
    number: Mapped[int] = mapped_column(Integer)
    action: Mapped[str] = mapped_column(String(20))
    agent: Mapped[str] = mapped_column(ForeignKey("agents.id"))
    label: Mapped[str] = mapped_column(String(120))
    canary: Mapped[str | None] = mapped_column(ForeignKey("agents.id"), nullable=True)
    canary_label: Mapped[str | None] = mapped_column(String(120), nullable=True)
    share: Mapped[float] = mapped_column(Float)
    previous: Mapped[int | None] = mapped_column(Integer, nullable=True)
    comparison: Mapped[str | None] = mapped_column(String(64), nullable=True)
    reason: Mapped[str | None] = mapped_column(Text, nullable=True)
    who: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(Moment, default=now)


class TracePolicyRow(Table):
    """A release whose requests are kept while `active`; a release without a row keeps none.

    Switched off, it stays for the sake of those that were kept, whose time goes on running out.
    `seed` decides, with a trace's id, whether the trace belongs to the random sample.
    """

    __tablename__ = "trace_policies"

    project: Mapped[str] = mapped_column(String(200), primary_key=True)
    release: Mapped[str] = mapped_column(String(100), primary_key=True)
    active: Mapped[bool] = mapped_column(Boolean)
    sample: Mapped[float] = mapped_column(Float)
    days: Mapped[int] = mapped_column(Integer)
    most: Mapped[int] = mapped_column(Integer)
    seed: Mapped[str] = mapped_column(String(64))


class TraceRow(Table):
    """One served request and its answer, personal data replaced before it came here."""

    __tablename__ = "traces"
    __table_args__ = (Index("ix_traces_release", "project", "release", "sampled"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    project: Mapped[str] = mapped_column(String(200))
    release: Mapped[str] = mapped_column(String(100))
    agent: Mapped[str] = mapped_column(String(64))
    messages: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    tools: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    answer: Mapped[dict[str, Any]] = mapped_column(JSON)
    usage: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    masked: Mapped[int] = mapped_column(Integer)
    sampled: Mapped[bool] = mapped_column(Boolean)
    thumb: Mapped[str | None] = mapped_column(String(4), nullable=True)
    corrected: Mapped[str | None] = mapped_column(Text, nullable=True)
    at: Mapped[datetime] = mapped_column(Moment, default=now)


class TraceLabelRow(Table):
    """What a trace of the random sample was found to be worth; it outlives the trace's text.

    `score` is null where whoever labelled it could not tell.
    """

    __tablename__ = "trace_labels"
    __table_args__ = (Index("ix_trace_labels_release", "project", "release", "agent"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    trace: Mapped[str] = mapped_column(String(40), unique=True)
    project: Mapped[str] = mapped_column(String(200))
    release: Mapped[str] = mapped_column(String(100))
    agent: Mapped[str] = mapped_column(String(64))
    score: Mapped[float | None] = mapped_column(Float, nullable=True)
    who: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(Moment, default=now)


class FileRow(Table):
    """A file that a client has uploaded or a job has made; its bytes are `files/<id>`.

    `key` is the order in which files came.
    """

    __tablename__ = "files"

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    filename: Mapped[str] = mapped_column(String(300))
    purpose: Mapped[str] = mapped_column(String(40))
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(Moment, default=now)
    expires: Mapped[datetime | None] = mapped_column(Moment, nullable=True)


class UploadRow(Table):
    """A file that comes in parts; `file` is what it has become."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    filename: Mapped[str] = mapped_column(String(300))
    purpose: Mapped[str] = mapped_column(String(40))
    bytes: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(20))
    file: Mapped[str | None] = mapped_column(String(40), nullable=True)
    lifetime_s: Mapped[int | None] = mapped_column(Integer, nullable=True)
    created: Mapped[datetime] = mapped_column(Moment, default=now)
    expires: Mapped[datetime] = mapped_column(Moment)


class UploadPartRow(Table):
    """One part of an upload; its bytes are `uploads/<upload>/<id>`."""

    __tablename__ = "upload_parts"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    upload: Mapped[str] = mapped_column(ForeignKey("uploads.id"), index=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[datetime] = mapped_column(Moment, default=now)


class FineTuningRow(Table):
    """What is known of a fine-tuning beside its job (`id`), which has its state and its result.

    `request` is what was asked for, `chosen` the numbers that were taken for "auto" once the files
    were checked, `finish` when it will probably be done, `error` why it failed (code, param).
    """

    __tablename__ = "fine_tunings"

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    chosen: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    finish: Mapped[datetime | None] = mapped_column(Moment, nullable=True)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)


class FineTuningCheckpointRow(Table):
    """The weights after an epoch of a fine-tuning, kept as a version and served under `name`."""

    __tablename__ = "fine_tuning_checkpoints"
    __table_args__ = (UniqueConstraint("job", "step"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    step: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(String(300))
    version: Mapped[str] = mapped_column(String(64))
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(Moment, default=now)


class KnowledgeBaseRow(Table):
    """A knowledge base; `build` points at what is searched now, its files are `knowledge/<id>/`."""

    __tablename__ = "knowledge_bases"
    __table_args__ = (UniqueConstraint("owner", "name"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(100))
    build: Mapped[int | None] = mapped_column(Integer, nullable=True)
    created: Mapped[datetime] = mapped_column(Moment, default=now)


class KnowledgeBuildRow(Table):
    """One state of a knowledge base, indexed and never changed; `table` is its folder, if any.

    `snapshot` is the hash of its documents and settings, `superseded` when another took its place.
    """

    __tablename__ = "knowledge_builds"
    __table_args__ = (UniqueConstraint("base", "snapshot"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    base: Mapped[str] = mapped_column(ForeignKey("knowledge_bases.id"))
    snapshot: Mapped[str] = mapped_column(String(64))
    table: Mapped[str | None] = mapped_column(String(100), nullable=True)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    dimension: Mapped[int] = mapped_column(Integer)
    passages: Mapped[int] = mapped_column(Integer)
    created: Mapped[datetime] = mapped_column(Moment, default=now)
    superseded: Mapped[datetime | None] = mapped_column(Moment, nullable=True)


class KnowledgeDocumentRow(Table):
    """A document as a build has it; `location` is where its file lay, for looking at it again."""

    __tablename__ = "knowledge_documents"
    __table_args__ = (UniqueConstraint("build", "path"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    build: Mapped[int] = mapped_column(ForeignKey("knowledge_builds.key"))
    path: Mapped[str] = mapped_column(String(1000))
    location: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger)
    pages: Mapped[int | None] = mapped_column(Integer, nullable=True)
    passages: Mapped[int] = mapped_column(Integer)
    labels: Mapped[list[str]] = mapped_column(JSON)
    added: Mapped[datetime] = mapped_column(Moment)


class KnowledgeFailureRow(Table):
    """A file that could not be added, until it can be or is removed."""

    __tablename__ = "knowledge_failures"
    __table_args__ = (UniqueConstraint("base", "path"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    base: Mapped[str] = mapped_column(ForeignKey("knowledge_bases.id"))
    path: Mapped[str] = mapped_column(String(1000))
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment, default=now)


class VectorStoreRow(Table):
    """What a vector store is beside the knowledge base of its name, `id`.

    `name` is shown, `notes` are the client's metadata, `active` is when it was last searched.
    """

    __tablename__ = "vector_stores"
    __table_args__ = (UniqueConstraint("project", "id"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(String(200))
    id: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(300))
    notes: Mapped[dict[str, str]] = mapped_column(JSON)
    active: Mapped[datetime | None] = mapped_column(Moment, nullable=True)


class VectorStoreFileRow(Table):
    """A client's file in a vector store: the document it becomes, and the job that reads it."""

    __tablename__ = "vector_store_files"
    __table_args__ = (UniqueConstraint("project", "store", "file"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(String(200))
    store: Mapped[str] = mapped_column(String(100))
    file: Mapped[str] = mapped_column(String(40), index=True)
    document: Mapped[str] = mapped_column(String(400))
    bytes: Mapped[int] = mapped_column(BigInteger)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(Moment, default=now)


class AgentTextRow(Table):
    """What a person wrote, word for word, when they saved a version of an agent (YAML)."""

    __tablename__ = "agent_texts"

    version: Mapped[int] = mapped_column(ForeignKey("agent_versions.key"), primary_key=True)
    text: Mapped[str] = mapped_column(Text)


class DraftedQuestionRow(Table):
    """A question on a project's documents, drafted or written, that a person says yes or no to.

    `state` is `waiting`, `approved` or `rejected`; `document` is "" where none answers it. `key` is
    the order in which they came.
    """

    __tablename__ = "drafted_questions"
    __table_args__ = (UniqueConstraint("project", "id"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(String(200))
    id: Mapped[str] = mapped_column(String(40))
    question: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text)
    document: Mapped[str] = mapped_column(Text)
    passage: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(20))
    who: Mapped[str | None] = mapped_column(String(200), nullable=True)
    at: Mapped[datetime] = mapped_column(Moment, default=now)


class ProviderRow(Table):
    """An endpoint that was added at the command line; `settings` are those of assay.yaml's own."""

    __tablename__ = "providers"

    project: Mapped[str] = mapped_column(String(200), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(Moment, default=now)


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
    at: Mapped[datetime] = mapped_column(Moment, default=now)


class ConsentRow(Table):
    """A project has agreed that its rows go to an origin."""

    __tablename__ = "consents"

    project: Mapped[str] = mapped_column(String(200), primary_key=True)
    provider: Mapped[str] = mapped_column(String(63), primary_key=True)
    origin: Mapped[str] = mapped_column(String(300))
    who: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(Moment, default=now)


class BudgetRow(Table):
    """What an API key may spend at providers, in billionths of a USD.

    `reserved` is for requests under way, and for those whose process was killed: nobody knows what
    they cost.
    """

    __tablename__ = "budgets"

    key: Mapped[str] = mapped_column(ForeignKey("api_keys.id"), primary_key=True)
    most: Mapped[int] = mapped_column(BigInteger)
    spent: Mapped[int] = mapped_column(BigInteger)
    reserved: Mapped[int] = mapped_column(BigInteger)


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
    at: Mapped[datetime] = mapped_column(Moment, default=now)


class UserRow(Table):
    """A person who may use the studio."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    role: Mapped[str] = mapped_column(String(10))
    created: Mapped[datetime] = mapped_column(Moment, default=now)


class SessionRow(Table):
    """Somebody who is signed in; `hash` is the sha256 of what the browser holds."""

    __tablename__ = "sessions"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    created: Mapped[datetime] = mapped_column(Moment, default=now)
    expires: Mapped[datetime] = mapped_column(Moment)


class SignInRow(Table):
    """A link that signs a user in, once; `hash` is the sha256 of its secret."""

    __tablename__ = "sign_ins"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    expires: Mapped[datetime] = mapped_column(Moment)
