"""The rows of a project that may be looked at, many of them: by page, by problem, by likeness.

    rows = open_rows(workspace)                   # divides and checks the file first, if need be
    page, count = rows.page(RowFilter(problem="email"), 0, 100)
    row_edits.change(workspace, line, record, before)  # mends a row in the file itself

What is locked stays so: rows of the holdout, and those kept out because they are nearly the same,
are in no page; only how many they are is told.
"""

from __future__ import annotations

import os
import shutil
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Literal

from assay import json_reader
from assay.config import Config
from assay.config.names import file_of
from assay.data.checks import PROBLEMS_FILE, REJECTED_FILE
from assay.data.formats.hub import PREFIX
from assay.data.problems import CODES
from assay.data.split import has_split, visible_files
from assay.errors import DataError, UsageError
from assay.example import Example, Message, dump_examples
from assay.progress import SILENT, Progress
from assay.project.files import check_file
from assay.project.row_files import (
    InputOutput,
    find_alike,
    find_locked,
    find_places,
    read_problems,
    texts_of,
)
from assay.project.workspace import Workspace, project_of
from assay.store.files import new_folder, stamp_of, write_atomic_lines

Part = Literal["train", "validation", "undivided", "rejected"]
PARTS: tuple[Part, ...] = ("train", "validation", "undivided", "rejected")
"""`undivided` are the rows of a file that cannot be divided yet."""
SHORT = 240
"""Characters of a text in a page of rows."""
_CHECKED = "rows"
_USABLE_FILE = "usable-lines"
"""Eight bytes a row of the file that can be used: its line."""
_opening = Lock()
_latest: dict[Path, Rows] = {}
_undivided: dict[tuple[Path, int, int, str], Rows] = {}
"""The rows that could not be divided last, by folder, time and size of the file, and settings."""


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows; None and "" mean all.

    Attributes:
        problem: a code of `assay.data.problems.CODES`.
        cluster: the line of the first of rows that are alike.
        text: somewhere in the row, whatever its case.
    """

    part: Part | None = None
    problem: str | None = None
    cluster: int | None = None
    text: str = ""


class Rows:
    """All rows that may be seen, in the order of the file; texts stay on disk.

    Rows of other files, which are validation rows of a file of their own and earlier holdouts that
    were brought in one, come last. Their line is 0: what is done to a line is done to the file.

    Args:
        elsewhere: parts whose rows all stand in other files.
        usable: the line of each row of the file that can be used; of rows that share one with a row
            that is in no part, those in train and validation alone are shown, and not what was
            found in them.

    Attributes:
        counts: rows by part.
        problems: how often each code was found in these rows.
        unseen_contradictions: other rows with the input of an earlier one and another output.
        clusters: first line -> how many rows are alike, itself included, the largest first.
    """

    def __init__(
        self,
        files: dict[Part, Path],
        problems: Path,
        columns: InputOutput | None = None,
        elsewhere: Sequence[Part] = (),
        usable: Sequence[int] = (),
    ) -> None:
        self._columns = columns
        # Kept open: whatever takes their place meanwhile, these rows stay what they were.
        self._files = {PARTS.index(part): file.open("rb") for part, file in files.items()}
        others = [PARTS.index(part) for part in elsewhere]
        rejected = PARTS.index("rejected")
        every = [
            (0 if place in others else line, place, offset, size)
            for place, file in self._files.items()
            for line, offset, size in find_places(file)
        ]
        self._locked = find_locked(usable, (row[0] for row in every if row[1] != rejected))
        found = sorted(
            (row for row in every if row[1] != rejected or row[0] not in self._locked),
            key=lambda row: (row[0] == 0, row),
        )
        self._lines = array("Q", (line for line, _, _, _ in found))
        self._parts = bytes(place for _, place, _, _ in found)
        self._offsets = array("Q", (offset for _, _, offset, _ in found))
        self._sizes = array("Q", (size for _, _, _, size in found))
        visible = frozenset(self._lines) - {0} - self._locked
        self._found, self.unseen_contradictions = read_problems(problems, visible)
        self._first = find_alike(self._found, visible)
        sizes = Counter(self._first.values())
        self.clusters = dict(sizes.most_common())
        self.counts = {part: self._parts.count(place) for place, part in enumerate(PARTS)}
        codes = Counter(one["code"] for several in self._found.values() for one in several)
        self.problems = dict(codes.most_common())
        self._chosen = lru_cache(maxsize=16)(self._choose)

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def is_divided(self) -> bool:
        """Whether the examples could be divided."""
        return PARTS.index("undivided") not in self._files

    def page(self, where: RowFilter, start: int, end: int) -> tuple[list[dict[str, Any]], int]:
        """Rows START to END (from 0, END not included) of those wished for, and how many there are.

        Each is `{row, line, part, input, output, problems, cluster}`, texts cut at `SHORT`; `row`
        is for `texts_of`, `problems` are codes.
        """
        chosen = self._chosen(where)
        return [self._row(row) for row in chosen[max(0, start) : max(0, end)]], len(chosen)

    def is_seen(self, line: int) -> bool:
        """Whether there is such a row in the file, and it may be seen."""
        return line > 0 and line in self._lines

    def count_at(self, line: int) -> int:
        """How many rows the record at a line is."""
        return self._lines.count(line)

    def refuse_locked(self, line: int) -> None:
        """See that the record at a line may be seen whole.

        Raises:
            DataError: no row of it may.
            UsageError: some may not.
        """
        self.problems_of(line)
        if line in self._locked:
            raise UsageError(
                "other rows of this record are locked away or left out, so it cannot be opened "
                "here.",
                where=f"line {line}",
            )

    def problems_of(self, line: int) -> list[dict[str, Any]]:
        """What was found in a row.

        Raises:
            DataError: there is no such row that may be seen.
        """
        if not self.is_seen(line):
            raise DataError(
                "there is no such row among those that may be seen.", where=f"line {line}"
            )
        return list(self._found.get(line, []))

    def texts_of(self, row: int) -> tuple[str, str]:
        """Input and expected output of a row of a page, whole.

        Raises:
            DataError: there is no such row.
        """
        return texts_of(self._row_at(row), self._columns)

    def turns_of(self, row: int, line: int) -> tuple[Message, ...]:
        """The turns of a row of a page; of one that is not used none, nor where the row is of
        another line by now, since the file was changed meanwhile."""
        if not 0 <= row < len(self) or self._lines[row] != line:
            return ()
        return tuple(map(Message.from_dict, self._row_at(row).get("messages", ())))

    def outputs(self) -> Iterator[tuple[int, str]]:
        """Line and expected output of every row that is used."""
        rejected = PARTS.index("rejected")
        for row, line in enumerate(self._lines):
            if self._parts[row] != rejected:
                yield line, texts_of(self._read(row), self._columns)[1]

    def errors_of(self, line: int) -> list[dict[str, Any]]:
        """What keeps a row from being used; nothing of a row that may not be seen."""
        return [one for one in self._found.get(line, []) if CODES[one["code"]][0] == "error"]

    def _choose(self, where: RowFilter) -> Sequence[int]:
        part = PARTS.index(where.part) if where.part is not None else None
        rows: list[int] = []
        for row, line in enumerate(self._lines):
            if part is not None and self._parts[row] != part:
                continue
            if where.cluster is not None and self._first.get(line) != where.cluster:
                continue
            several = self._found.get(line, ())
            if where.problem is not None and all(o["code"] != where.problem for o in several):
                continue
            rows.append(row)
        return self._holding(where.text.lower(), rows) if where.text else rows

    def _holding(self, text: str, rows: list[int]) -> list[int]:
        return [
            row
            for row in rows
            if text in " ".join(texts_of(self._read(row), self._columns)).lower()
        ]

    def _row(self, row: int) -> dict[str, Any]:
        line = self._lines[row]
        given, target = texts_of(self._read(row), self._columns)
        codes = dict.fromkeys(one["code"] for one in self._found.get(line, ()))
        return {
            "row": row,
            "line": line,
            "part": PARTS[self._parts[row]],
            "input": given[:SHORT],
            "output": target[:SHORT],
            "problems": list(codes),
            "cluster": self._first.get(line),
        }

    def _row_at(self, row: int) -> dict[str, Any]:
        if not 0 <= row < len(self):
            raise DataError("there is no such row any more.", fix="Reload the page.")
        return self._read(row)

    def _read(self, row: int) -> dict[str, Any]:
        handle = self._files[self._parts[row]].fileno()
        read: dict[str, Any] = json_reader.read(
            os.pread(handle, self._sizes[row], self._offsets[row])
        )
        return read


def open_rows(workspace: Workspace, progress: Progress = SILENT) -> Rows:
    """The rows, divided and checked; what was done before is used again.

    Raises:
        UsageError: the folder is no project.
        AssayError: its examples cannot be read or divided.
    """
    project = project_of(workspace)
    with _opening:
        manifest = project.split(progress)
        folder = workspace.store.folder / "cache" / _CHECKED / manifest.key[:32]
        if not (folder / _USABLE_FILE).is_file():
            lines = array("Q")
            with new_folder(folder) as draft:
                check_file(
                    None,
                    folder=workspace.root,
                    out=draft,
                    keep=lambda example, _: lines.append(example.line),
                    progress=progress,
                )
                (draft / _USABLE_FILE).write_bytes(lines.tobytes())
        for old in folder.parent.iterdir():
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)
        columns = _columns(project.config)
        elsewhere: tuple[Part, ...] = ("validation",) if project.config.data.validation else ()
        sha256 = manifest.train_sha256
        rows = _loaded(project.split_folder, folder, sha256, columns, elsewhere)
        _latest[workspace.root] = rows
        return rows


def latest_rows(workspace: Workspace) -> Rows:
    """The rows as they were opened last; opened now where they never were."""
    return _latest.get(workspace.root) or open_visible_rows(workspace)


def open_visible_rows(workspace: Workspace, progress: Progress = SILENT) -> Rows:
    """As `open_rows`; all rows of the file where it could never be divided.

    Raises:
        AssayError: the examples cannot be read, or divided where they once were.
    """
    try:
        return open_rows(workspace, progress)
    except DataError as error:
        return open_undivided(workspace, error, progress)


def open_undivided(workspace: Workspace, why: DataError, progress: Progress = SILENT) -> Rows:
    """The rows of a file that could never be divided, to be mended.

    Once rows are locked away, which they are cannot be told from a file, or settings, that have
    changed: then none are shown.

    Args:
        why: it cannot be divided; raised where it once was.

    Raises:
        AssayError: see above, or the examples cannot be read.
    """
    project = project_of(workspace)
    if has_split(project.split_folder):
        raise why
    try:
        stamp = stamp_of(data_file(workspace))
    except OSError:
        raise why from None  # gone meanwhile, perhaps with its folder
    key = (workspace.root, *stamp, project.text)
    with _opening, TemporaryDirectory() as name:
        if (known := _undivided.get(key)) is not None:
            return known
        folder = Path(name)
        read: list[Example] = []
        check_file(
            None,
            folder=workspace.root,
            out=folder,
            keep=lambda example, _: read.append(example),
            progress=progress,
        )
        write_atomic_lines(folder / "undivided.jsonl", dump_examples(read))
        files: dict[Part, Path] = {
            "undivided": folder / "undivided.jsonl",
            "rejected": folder / REJECTED_FILE,
        }
        rows = Rows(files, folder / PROBLEMS_FILE, _columns(project.config))
        _latest[workspace.root] = rows
        _undivided.clear()
        _undivided[key] = rows
        return rows


@lru_cache(maxsize=1)
def _loaded(
    split: Path,
    checked: Path,
    train_sha256: str,
    columns: InputOutput | None,
    elsewhere: tuple[Part, ...],
) -> Rows:
    train, validation = visible_files(split)
    files: dict[Part, Path] = {
        "train": train,
        "validation": validation,
        "rejected": checked / REJECTED_FILE,
    }
    usable = array("Q", (checked / _USABLE_FILE).read_bytes())
    return Rows(files, checked / PROBLEMS_FILE, columns, elsewhere, usable)


def data_file(workspace: Workspace) -> Path:
    """The project's file of examples.

    Raises:
        UsageError: it lies on a hub.
    """
    name = project_of(workspace).config.data.file
    if name.startswith(PREFIX):
        raise UsageError("these examples are on a hub and cannot be changed here.", where=name)
    return file_of(name, workspace.root)


def _columns(config: Config) -> InputOutput | None:
    found = config.data.columns
    return None if found is None else (tuple(found.input), tuple(found.output))
