"""Files of a promptfoo configuration: only those in its folder, each value with its place."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.config.yaml_text import Problem, locate, plain, tree_of
from assay.data.formats.delimited import read_table
from assay.data.formats.delimiter import find_delimiter
from assay.data.formats.json_records import read_lines
from assay.data.formats.record import Raw
from assay.errors import DataError, UsageError

PREFIX = "file://"
MOST_BYTES = 100 << 20
"""Of a file of tests."""
MOST_TEXT_BYTES = 1 << 20
"""Of a prompt, of a variable in a file, and of YAML or JSON that is read as a whole."""
MOST_FILES = 1000
PROGRAMS = frozenset((".js", ".cjs", ".mjs", ".ts", ".cts", ".mts", ".py", ".rb", ".sh", ".pl"))
TEXTS = frozenset((".txt", ".md", ".j2", ".jinja", ".jinja2", ""))
TREES = frozenset((".yaml", ".yml", ".json"))


def suffix_of(name: str) -> str:
    """The ending of the file that a reference names; behind a colon a function of it is named."""
    return Path(name.removeprefix(PREFIX).partition(":")[0]).suffix


@dataclass(frozen=True, slots=True)
class Unsupported:
    """What has no equal here, and where it stands.

    Attributes:
        line: counted from 1; None where the file tells no lines.
        key: from the top of the file, such as `tests.3.assert.0`.
    """

    file: str
    line: int | None
    key: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands.

    Attributes:
        tree: as ruamel read the file, which knows lines; None: it has none.
        row: line of the record in a file of records.
    """

    value: Any
    file: str
    loc: tuple[int | str, ...] = ()
    tree: Any = field(default=None, repr=False, compare=False)
    row: int | None = None

    def child(self, part: int | str) -> Node:
        """The value below; null where there is none."""
        try:
            below = self.value[part]
        except (KeyError, IndexError, TypeError):
            below = None
        return replace(self, value=below, loc=(*self.loc, part))

    def children(self) -> Iterator[Node]:
        """The entries of a list; of any other value that itself; of null none."""
        if isinstance(self.value, list):
            yield from map(self.child, range(len(self.value)))
        elif self.value is not None:
            yield self

    @property
    def line(self) -> int | None:
        return self.row or (None if self.tree is None else locate(self.tree, self.loc, "").line)

    @property
    def where(self) -> str:
        """File and line, as errors name them."""
        return f"{self.file}, line {self.line}" if self.line else self.file

    def unsupported(self, what: str, reason: str) -> Unsupported:
        key = ".".join(str(part) for part in self.loc)
        return Unsupported(self.file, self.line, key, what[:200], reason)

    def error(self, message: str, fix: str | None = None) -> DataError:
        """An error at this place."""
        key = ".".join(str(part) for part in self.loc)
        return DataError(f"{key}: {message}" if key else message, where=self.where, fix=fix)


class SuiteFolder:
    """The folder of a configuration. What it names elsewhere is refused, links included."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.root = config.resolve().parent

    def find(self, node: Node, name: str) -> list[Path]:
        """The files that a reference names, sorted; `*` stands for any part of a file's name.

        Raises:
            UsageError: it leads out of the folder.
            DataError: there is none.
        """
        name = name.removeprefix(PREFIX)
        if any(sign in name for sign in "*?["):
            found = glob.iglob(name, root_dir=self.root, recursive=True)
            paths = [self.root / one for _, one in zip(range(MOST_FILES + 1), found, strict=False)]
            if len(paths) > MOST_FILES:
                raise node.error(f"{name!r} names more than {MOST_FILES} files.")
            paths = [path for path in paths if not path.is_dir()]
        else:
            paths = [self.root / name]
        inside = sorted({self._inside(node, path, name) for path in paths})
        if not inside or not all(path.is_file() for path in inside):
            raise node.error(f"there is no file {name!r}.", "Correct the name, or add the file.")
        return inside

    def _inside(self, node: Node, path: Path, name: str) -> Path:
        try:
            found = path.resolve()
        except (OSError, ValueError, RuntimeError):
            raise node.error(f"{name[:200]!r} cannot be the name of a file.") from None
        if not found.is_relative_to(self.root):
            raise UsageError(
                f"{name[:200]!r} is outside of the configuration's folder, and is not read.",
                where=node.where,
                fix="Copy the file into the folder, and name it there.",
            )
        return found

    def show(self, path: Path) -> str:
        """The file as messages name it."""
        return str(path.relative_to(self.root))

    def text(self, path: Path, most: int = MOST_TEXT_BYTES) -> str:
        """The text of a file.

        Raises:
            DataError: it is too large, or no text in UTF-8.
        """
        self._check_size(path, most)
        try:
            return path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise DataError("the file is no text in UTF-8.", where=self.show(path)) from None

    def tree(self, path: Path) -> Node:
        """What a file of YAML or JSON says.

        Raises:
            DataError: it says nothing that can be read; names line and reason.
        """
        text, shown = self.text(path), self.show(path)
        if path.suffix == ".json":
            try:
                return Node(json_reader.read(text), shown)
            except ValueError as error:
                raise DataError(f"{json_reader.describe(error)}.", where=shown) from None
        tree, problems = tree_of(text, None)
        value = None if problems else plain(tree, tree, (), problems)
        if problems:
            raise _unreadable(shown, problems)
        return Node(value, shown, tree=tree)

    def records(self, path: Path) -> Iterator[Node]:
        """The records of a JSONL or CSV file.

        Raises:
            DataError: one cannot be read; names its line.
        """
        self._check_size(path, MOST_BYTES)
        shown = self.show(path)
        raws: Iterator[Raw]
        if path.suffix == ".csv":
            sample = self.text(path, MOST_BYTES)[: 1 << 20]
            delimiter = find_delimiter(sample, whole=len(sample) < 1 << 20)
            raws = read_table(path, shown, "utf-8-sig", delimiter)
        else:
            raws = read_lines(path, shown, "utf-8-sig")
        for raw in raws:
            if raw.problems:
                found = raw.problems[0]
                raise DataError(found.message, where=f"{shown}, line {raw.line}", fix=found.fix)
            yield Node(raw.value, shown, row=raw.line)

    def _check_size(self, path: Path, most: int) -> None:
        if path.stat().st_size > most:
            raise DataError(
                f"the file has more than {most >> 20} MiB.",
                where=self.show(path),
                fix="Keep tests in a JSONL or CSV file of at most 100 MiB.",
            )


def _unreadable(file: str, problems: list[Problem]) -> DataError:
    first = problems[0]
    what = f"{first.field}: {first.message}" if first.field else first.message
    return DataError(what, where=f"{file}, line {first.line}" if first.line else file)
