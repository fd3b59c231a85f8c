"""Settings that name something outside of the text they stand in: files, models, variables.

    for name in names_in(config): name.setting, name.value, name.kind

They have these types, so that whoever checks what may be named (`assay.project.reach`) finds them
all: a setting that names a file and has another type is found by tests/project/test_reach.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from unicodedata import category

from pydantic import BaseModel, Field

from assay.errors import UsageError

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""A name of a project or a provider."""
LONGEST_MESSAGE = 2000
"""Characters of what somebody says of a change: why it is made, what it is."""
SLUG_RULE = "use lowercase letters, digits and hyphens, at most 63 characters"
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A variable of the environment, where a text is filled with its value."""

Kind = Literal["data", "file", "code", "model", "arm", "variable", "text"]


def check_project_name(name: str) -> None:
    """See that a project may have a name, before anything is read or written for it.

    Raises:
        UsageError: it may not.
    """
    if not SLUG.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a project.",
            fix=f"{SLUG_RULE[0].upper()}{SLUG_RULE[1:]}.",
        )


def same_name(one: str, other: str) -> bool:
    """Whether two names differ in capitals and the spaces around them at most: people take them for
    one."""
    return one.strip().casefold() == other.strip().casefold()


def check_text(text: str, what: str, most: int) -> str:
    """What a person writes to be kept and shown, without spaces around it.

    Args:
        what: it is, as "the reason".
        most: characters.

    Raises:
        UsageError: it is empty or too long, or has characters that cannot be shown.
    """
    return _check(text, what, most, "\r\n\t")


def check_line(text: str, what: str, most: int) -> str:
    """As `check_text`, of one line."""
    return _check(text, what, most, "")


def _check(text: str, what: str, most: int, also: str) -> str:
    text = text.strip()
    if not text:
        raise UsageError(f"{what} is missing.")
    if len(text) > most:
        raise UsageError(f"{what} has {len(text):,} characters.", fix=f"Use at most {most:,}.")
    wrong = next((one for one in text if category(one) in ("Cc", "Cs") and one not in also), None)
    if wrong is not None:
        raise UsageError(f"{what} has a character that cannot be shown: {wrong!r}.")
    return text


@dataclass(frozen=True, slots=True)
class Naming:
    """What a setting names.

    Attributes:
        kind: `data` (a file, FILE#SHEET, or hf:ORG/NAME), `file` (or a folder), `code` (a file that
            is run), `model` (a reference), `arm` (a candidate, NAME@VERSION, or a model),
            `variable` (of the environment), `text` (with ${NAME} for variables).
        secret: what is named is a key, or may be one.
    """

    kind: Kind
    secret: bool = False


DataName = Annotated[str, Naming("data")]
FileName = Annotated[str, Naming("file")]
CodeName = Annotated[str, Naming("code")]
ModelName = Annotated[str, Naming("model")]
ArmName = Annotated[str, Naming("arm")]
SecretFileName = Annotated[str, Naming("file", secret=True)]
SecretVariable = Annotated[str, Naming("variable", secret=True)]
FilledText = Annotated[str, Naming("text", secret=True)]
KnowledgeName = Annotated[str, Field(pattern=r"^[^@]*(@[0-9]+)?$")]
"""Of a knowledge base, or of a copy in passages of another size; not of a copy by a trained
embedder, whose name does not tell which rows are behind it (`embedder` of an agent does)."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name in a configuration.

    Attributes:
        setting: its path, such as `graders.0.settings.file`.
    """

    setting: str
    value: str
    kind: Kind
    secret: bool

    @property
    def variables(self) -> tuple[str, ...]:
        """Variables of the environment whose values it stands for."""
        if self.kind == "variable":
            return (self.value,)
        return tuple(VARIABLE.findall(self.value)) if self.kind == "text" else ()


def names_in(settings: BaseModel, within: str = "") -> Iterator[Name]:
    """Every name in some settings and in those within them; null names nothing.

    Args:
        within: where these settings stand, such as `graders.0.settings`.
    """
    for field, info in type(settings).model_fields.items():
        setting = f"{within}.{field}" if within else field
        value = getattr(settings, field)
        yield from _names(info.annotation, info.metadata, value, setting)


def _names(annotation: Any, metadata: Sequence[Any], value: Any, setting: str) -> Iterator[Name]:
    if isinstance(value, BaseModel):
        yield from names_in(value, setting)
        return
    for kind, more in _members(annotation):
        if isinstance(value, str):
            for naming in (*metadata, *more):
                if isinstance(naming, Naming):
                    yield Name(setting, value, naming.kind, naming.secret)
        elif isinstance(value, Mapping) and get_origin(kind) is dict:
            of_keys, of_values = get_args(kind)
            for key, one in value.items():
                yield from _names(of_keys, (), key, f"{setting}.{key}")
                yield from _names(of_values, (), one, f"{setting}.{key}")
        elif isinstance(value, (list, tuple)) and get_origin(kind) in (list, tuple):
            for number, one in enumerate(value):
                yield from _names(get_args(kind)[0], (), one, f"{setting}.{number}")


def _members(annotation: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """What a value may be, each with its metadata: the members of a union."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        for kind, more in _members(inner):
            yield kind, (*metadata, *more)
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation, ()


def file_of(name: str, root: Path) -> Path:
    """Where a file is that settings name: `~` is the user's folder, the rest relative to `root`.

    Args:
        root: the folder of the project whose settings these are.
    """
    try:
        return root / Path(name).expanduser()
    except RuntimeError:  # ~nobody: no such user
        return root / name


def split_sheet(path: Path) -> tuple[Path, str | None]:
    """The file and the sheet of `FILE#SHEET`; a file of that very name has no sheet."""
    name, mark, sheet = path.name.partition("#")
    if not mark or path.exists():
        return path, None
    return path.parent / name, sheet
