"""Where a project's state lives: a database, and a folder for what is large."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    case,
    create_engine,
    event,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    TimeoutError,
)
from sqlalchemy.orm import Session
from sqlalchemy.pool import PoolProxiedConnection, QueuePool
from sqlalchemy.schema import CreateSchema

from assay.errors import AssayError, StoreError, is_full
from assay.store.files import one_at_a_time
from assay.store.tables import SettingRow

if TYPE_CHECKING:
    from assay.store.objects import Objects

CONNECT_S = 10
"""Most that a connection to a database server may take to come about."""
_REACH = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""After how long a server that has gone silent counts as away, as libpq names it: the system's own
limits are many minutes. A Unix socket ignores it."""
_NO_LIMITS = {
    # It is idle while its block is busy, and waits for long, as a server may forbid.
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "0",
    "statement_timeout": "0",
    # The lock of a machine that vanished ends after two minutes instead of two hours.
    "tcp_keepalives_idle": "60",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
}
_NO_RIGHT = ("42501", "3F000")
"""SQLSTATE: not allowed; no schema that may be used. DB-API counts both as errors of a program."""
IN_USE = "in use"
"""The lock of a schema that every connection shares, see `assay.store.exclusive_use`."""
HEAD = "0026"
"""The newest migration; a store at it is opened without loading Alembic."""


class Store:
    """The state of one project.

    Attributes:
        schema: of a PostgreSQL database, that holds the tables; None: the connection's own.
        bucket: where files, versions and blobs are kept, as s3://NAME/PREFIX; None: in the folder.
        objects: that place once it was used, see `assay.store.object_place`.

    Args:
        folder: usually `.assay/` of the project; made when missing, for its owner alone: there are
            uploads, traces and holdouts in it. Who opens it to a group keeps it open.
        url: SQLAlchemy URL of the database; None is SQLite in `folder`.
        schema: made when missing.
        password: that is not in the URL.

    Raises:
        AssayError: the database is damaged, newer than this version of Assay, or out of reach.
    """

    def __init__(
        self,
        folder: Path,
        url: str | URL | None = None,
        *,
        schema: str | None = None,
        password: str | None = None,
    ) -> None:
        self.folder, self.schema = folder, schema
        self.bucket: str | None = None
        self.objects: Objects | None = None
        # Threads that wait for a lock wait here first: they hold no connections meanwhile, which
        # its holder needs.
        self._mine: dict[str, Lock] = {}
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        # Not as a text: in a path `?` and `%` are letters like others.
        here = URL.create("sqlite", database=str(folder / "assay.db"))
        self.engine = make_engine(url or here, schema, password)
        try:
            self._migrate()
        except (DatabaseError, StoreError) as error:
            if _revision_or_none(self.engine) == HEAD:
                return  # another process migrated it at the same moment
            if isinstance(error, StoreError):
                raise
            raise unusable(self.engine.url, error.orig) from None

    def _migrate(self) -> None:
        if _revision(self.engine) == HEAD:
            return
        # Alembic takes a third of a second to import; most openings do not need it.
        from alembic import command
        from alembic.config import Config
        from alembic.util.exc import CommandError

        config = Config()
        config.set_main_option("script_location", "assay.store:migrations")
        try:
            with self.engine.begin() as connection:
                if self.engine.dialect.name == "sqlite":
                    # Python's driver begins a transaction before rows are changed, not before
                    # tables are: a process that died half-way would leave half of the tables.
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                else:  # one at a time
                    key = lock_key(self.schema, "migrate")
                    connection.execute(select(func.pg_advisory_xact_lock(key)))
                    _make_schema(connection, self.schema)
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except CommandError:
            raise AssayError(
                "the database was written by a newer version of Assay.",
                where=self.address,
                fix="Upgrade Assay.",
            ) from None

    @property
    def address(self) -> str:
        """Where the database is, for people: without a password."""
        found = _address(self.engine.url)
        return found if self.schema is None else f"{found}, schema {self.schema}"

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def lock(self, name: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold a lock of all that use this state, on whichever machine.

        On SQLite it is the file `name`. On PostgreSQL it is an advisory lock of a transaction,
        which ends with its holder's connection.

        Args:
            waiting: called once where somebody else has it: says so.

        Raises:
            StoreError: the database was away in the meantime; somebody else may have had the lock.
                Or the folder is gone.
        """
        if self.engine.dialect.name == "sqlite":
            with self.lock_here(name, waiting):
                yield
            return
        mine = self._mine.setdefault(name, Lock())
        waited = not mine.acquire(blocking=False)
        if waited:
            waiting()
            mine.acquire()
        key = lock_key(self.schema, name)
        try:
            with self.engine.begin() as connection:
                lift_limits(connection)
                if not connection.scalar(select(func.pg_try_advisory_xact_lock(key))):
                    if not waited:
                        waiting()
                    connection.execute(select(func.pg_advisory_xact_lock(key)))
                yield
        finally:
            mine.release()

    @contextmanager
    def lock_here(self, name: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold a lock of all that use this folder, which is the file `name`.

        Args:
            waiting: as in `lock`.

        Raises:
            StoreError: the folder is gone.
            NotFoundError: the one in it that the file is in was removed meanwhile.
        """
        if not self.folder.is_dir():  # it would be made anew, in the place of what was moved
            raise StoreError(
                "this folder was moved or removed while it is in use.",
                where=str(self.folder),
                fix="Move it back, or start again where it is now.",
            )
        with one_at_a_time(self.folder / name, waiting):
            yield

    def setting(self, name: str) -> str | None:
        """A lasting choice, or None."""
        with self.session() as session:
            value: str | None = session.scalar(
                select(SettingRow.value).where(SettingRow.name == name)
            )
            return value

    def set(self, name: str, value: str) -> None:
        """Keep the value of a setting, in place of the one before."""
        for last in (False, True):
            try:
                with self.session() as session:
                    session.merge(SettingRow(name=name, value=value))
                return
            except IntegrityError:  # another process has made the row since it was looked for
                if last:
                    raise


class _Pool(QueuePool):
    """Says that it is exhausted as one more way in which the database cannot be used."""

    def connect(self) -> PoolProxiedConnection:
        try:
            return super().connect()
        except TimeoutError:
            raise StoreError(
                "all connections of this process to the database are in use.",
                fix="Try again in a moment.",
            ) from None


def make_engine(url: str | URL, schema: str | None = None, password: str | None = None) -> Engine:
    """What connects to a database; where that cannot be used, its errors are `StoreError`s."""
    place = make_url(url)
    settings: dict[str, Any] = {"poolclass": _Pool}
    if place.get_backend_name() == "postgresql":
        if place.drivername == "postgresql":
            place = place.set(drivername="postgresql+psycopg")
        # A server that was started again has closed what the pool holds.
        settings["pool_pre_ping"] = True
        arguments: dict[str, Any] = {} if password is None else {"password": password}
        for name, value in _REACH.items():
            if name not in place.query:
                arguments[name] = value
        settings["connect_args"] = arguments
    try:
        engine = create_engine(place, **settings)
    except ImportError as error:
        raise StoreError(
            f"PostgreSQL needs psycopg, which cannot be imported ({error}).",
            fix="pip install 'assay[postgres]'",
        ) from None

    # It must not refer to the engine. SQLAlchemy keeps this listener with the dialect, and mappers
    # keep the dialects of statements they compiled: the engine would never be freed, nor its files.
    @event.listens_for(engine, "handle_error")
    def _as_sentence(context: ExceptionContext) -> None:
        """Whatever is asked of the database, that it is away is one kind of error."""
        if context.is_pre_ping:  # another connection is made
            return
        error = context.sqlalchemy_exception
        of_the_place = isinstance(error, (OperationalError, InterfaceError, InternalError))
        of_the_place |= getattr(context.original_exception, "sqlstate", None) in _NO_RIGHT
        if of_the_place or type(error) is DatabaseError:  # which SQLite says of a broken file
            raise unusable(place, context.original_exception) from None

    if schema is not None:

        @event.listens_for(engine, "connect", insert=True)
        def _search_path(connection: Any, _: Any) -> None:
            connection.autocommit = True
            query = "SELECT set_config('search_path', %s, false), pg_try_advisory_lock_shared(%s)"
            _, is_free = connection.execute(query, (schema, lock_key(schema, IN_USE))).fetchone()
            connection.autocommit = False
            if not is_free:
                connection.close()
                raise StoreError(
                    "the state is being moved to another place.",
                    where=f"{_address(place)}, schema {schema}",
                    fix="Try again when `assay state move` has ended.",
                )

    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _pragmas(connection: Any, _: Any) -> None:
            for pragma in (
                "PRAGMA journal_mode=WAL",
                "PRAGMA synchronous=NORMAL",
                "PRAGMA foreign_keys=ON",
                "PRAGMA busy_timeout=10000",
            ):
                connection.execute(pragma)

    return engine


def lift_limits(connection: Connection) -> None:
    """Let a transaction be idle and wait for hours, also where the server limits that."""
    limits = [func.set_config(*limit, True) for limit in _NO_LIMITS.items()]
    name = "transaction_timeout"  # PostgreSQL 17 has it first
    is_known = func.current_setting(name, True).is_not(None)
    connection.execute(select(*limits, case((is_known, func.set_config(name, "0", True)))))


def lock_key(schema: str | None, name: str) -> int:
    """What an advisory lock of a schema is known by; locks are of a whole database."""
    named = f"assay {schema or ''} {name}".encode()
    return int.from_bytes(hashlib.sha256(named).digest()[:8], signed=True)


def unusable(url: URL, reason: BaseException | None) -> StoreError:
    """What a driver has said of a database, as an error for people."""
    words = " ".join(str(reason).split()) or type(reason).__name__
    fix = "Check that the database server runs and can be reached, then try again."
    if "disk is full" in words or (reason is not None and is_full(reason)):
        fix = "The disk is full: free some space and try again."
    elif "is locked" in words:
        fix = "Another process is writing to it; try again in a moment."
    elif "permission denied" in words or "no schema has been selected" in words:
        fix = "Let the database's owner give that right, or create the schema for this user."
    elif "password" in words:
        fix = "Name the variable that holds it (state.password_env), or use PGPASSWORD."
    elif url.get_backend_name() == "postgresql" and "does not exist" in words:
        fix = "Create it (createdb, createuser)."
    elif url.get_backend_name() == "sqlite":
        fix = "Restore it from a backup, or move the file away to start with an empty one."
    return StoreError(
        f"the database cannot be used: {words.rstrip('.?')}.",
        where=_address(url),
        fix=fix,
    )


def _address(url: URL) -> str:
    url = url.set(drivername=url.get_backend_name())
    return url.render_as_string(hide_password=True)


def _make_schema(connection: Connection, schema: str | None) -> None:
    """If it is not there; only then the right to make one is needed."""
    known = text("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = :name")
    if schema is not None and connection.scalar(known, {"name": schema}) is None:
        connection.execute(CreateSchema(schema))


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not engine.dialect.has_table(connection, "alembic_version"):
            return None
        found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found


def _revision_or_none(engine: Engine) -> str | None:
    try:
        return _revision(engine)
    except (DatabaseError, StoreError):
        return None


OWNER = "owner"
"""The setting of a store that keeps the name, if it is another than the folder's."""


def owner_of(store: Store, root: Path) -> str:
    """The name under which a folder keeps what is its own: documents, releases, keys, consents.

    A folder that was served before it became a project keeps the name that it had.
    """
    return store.setting(OWNER) or root.resolve().name
