"""Where a project's state is kept: SQLite in its folder or a PostgreSQL database, and its files.

state, name = state_in(text)    # of assay.yaml, whatever else is wrong with it
database_variable()             # for folders whose assay.yaml names no database
objects_variable()              # for those whose assay.yaml names no bucket
"""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator

from assay.config import yaml_text
from assay.config.names import SLUG, SecretVariable
from assay.config.sentences import sentence
from assay.config.strict import Strict
from assay.config.yaml_text import UNREADABLE, locate
from assay.errors import ConfigError

DATABASE_VARIABLE = "ASSAY_DATABASE"
"""URL of the database of folders whose assay.yaml names none; it may hold a password."""
OBJECTS_VARIABLE = "ASSAY_OBJECTS"
"""Bucket of folders whose assay.yaml names none."""
_BUCKET = re.compile(
    r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,8}"
)
_SCHEMES = ("postgresql", "postgresql+psycopg")
_EXAMPLE = "postgresql://USER@HOST/NAME"


class State(Strict):
    """Where agents, releases, keys, jobs and traces are kept (docs/database.md), and files."""

    database: str | None = Field(
        None,
        description="PostgreSQL database, as postgresql://USER@HOST/NAME without a password; null: "
        "the variable ASSAY_DATABASE, else SQLite in .assay.",
    )
    schema_name: str | None = Field(
        None,
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        description="Schema of that database with the project's tables; null: assay_ and the "
        "project's name.",
    )
    password_env: SecretVariable | None = Field(
        None,
        description="Environment variable with the password; null: PGPASSWORD or ~/.pgpass.",
    )
    objects: str | None = Field(
        None,
        description="Bucket for files and trained versions (docs/objects.md), as s3://NAME or "
        "s3://NAME/PREFIX; null: the variable ASSAY_OBJECTS, else .assay.",
    )

    @field_validator("objects")
    @classmethod
    def _is_a_bucket(cls, value: str | None) -> str | None:
        if value is not None:
            check_objects(value)
        return value

    @field_validator("database")
    @classmethod
    def _is_a_database(cls, value: str | None) -> str | None:
        if value is not None:
            check_database(value)
        return value

    @field_validator("schema_name")
    @classmethod
    def _is_free(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("pg_"):
            raise ValueError("names that begin with pg_ belong to PostgreSQL")
        return value

    @model_validator(mode="after")
    def _belongs_to_a_database(self) -> State:
        if self.password_env and not self.database:
            raise ValueError("password_env needs database")
        return self


def check_database(value: str, *, password: bool = False) -> None:
    """Hold a text against what the URL of a database must be.

    Args:
        password: whether it may hold one.

    Raises:
        ValueError: it is no URL of a PostgreSQL database; the message holds no part of it.
    """
    parts = urlsplit(value)
    if parts.scheme == "postgres":
        raise ValueError("write postgresql:// instead of postgres://")
    if parts.scheme not in _SCHEMES:
        raise ValueError(
            f"use a PostgreSQL database, as {_EXAMPLE}; SQLite needs no setting, it is used without"
        )
    # Where a password holds one of these, SQLAlchemy divides the URL in another place: part of
    # the password would be taken for a name, and shown.
    if (
        "@" in parts.path
        or parts.netloc.count("@") > 1
        or ("@" in parts.query and ":" in parts.netloc and "@" not in parts.netloc)
    ):
        raise ValueError(
            f"this is not a URL such as {_EXAMPLE}; in a password write %40 for @ and %2F for /"
        )
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f"this is not a URL such as {_EXAMPLE}") from None
    if parts.fragment or not value.isprintable() or " " in value:
        raise ValueError(f"this is not a URL such as {_EXAMPLE}")
    if not parts.path.strip("/"):
        raise ValueError(f"the name of the database is missing: {_EXAMPLE}")
    secrets = {name for name, _ in parse_qsl(parts.query)} & {"password", "sslpassword"}
    if secrets or (parts.password is not None and not password):
        raise ValueError(
            "a password does not belong here: leave it out, and put it into a variable that "
            "state.password_env names, into PGPASSWORD or into ~/.pgpass"
        )


def check_objects(value: str) -> None:
    """Hold a text against what names a bucket; ValueError, without any part of it, if it is wrong.

    Credentials and the server's address are found in the environment.
    """
    if not _BUCKET.fullmatch(value):
        raise ValueError(
            "use a bucket such as s3://NAME or s3://NAME/PREFIX; the server's address and the "
            "credentials belong into AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )


def state_in(text: str) -> tuple[State, str | None] | None:
    """The section `state` and the name of a project, whatever else is wrong with its assay.yaml.

    Returns:
        None where the text is no YAML; no name where it is none that a project may have.

    Raises:
        ConfigError: the section cannot be used.
    """
    try:
        tree = yaml_text.read(text)
    except UNREADABLE:
        return None
    if not isinstance(tree, dict):
        return None
    name = tree.get("name")
    try:
        state = State.model_validate(tree.get("state") or {})
    except ValidationError as error:
        raw = error.errors()[0]
        problem = locate(tree, ("state", *raw["loc"]), sentence(raw))
        raise ConfigError(
            f"{problem.field}: {problem.message}", where=f"assay.yaml, line {problem.line}"
        ) from None
    return state, name if isinstance(name, str) and SLUG.fullmatch(name) else None


def database_variable() -> str | None:
    """What `ASSAY_DATABASE` says.

    Raises:
        ConfigError: it is no URL of a PostgreSQL database.
    """
    value = os.environ.get(DATABASE_VARIABLE, "").strip()
    if not value:
        return None
    try:
        check_database(value, password=True)
    except ValueError as error:
        raise ConfigError(f"{error}.", where=f"the variable {DATABASE_VARIABLE}") from None
    return value


def objects_variable() -> str | None:
    """What `ASSAY_OBJECTS` says.

    Raises:
        ConfigError: it names no bucket.
    """
    value = os.environ.get(OBJECTS_VARIABLE, "").strip()
    if not value:
        return None
    try:
        check_objects(value)
    except ValueError as error:
        raise ConfigError(f"{error}.", where=f"the variable {OBJECTS_VARIABLE}") from None
    return value
