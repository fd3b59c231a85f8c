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
from typing import Any, BinaryIO, Literal

from assay import json_reader
from assay.chat.plain_calls import say_turn
from assay.config import Config
from assay.config.names import file_of
from assay.data.checks import PROBLEMS_FILE, REJECTED_FILE, earlier_line
from assay.data.formats.hub import PREFIX
from assay.data.formats.record import text_of
from assay.data.problems import CODES, escape_surrogates
from assay.data.split import has_split, visible_files
from assay.errors import DataError, UsageError
from assay.example import Example, Message, dump_examples
from assay.progress import SILENT, Progress
from assay.project.files import check_file
from assay.project.workspace import Workspace, project_of
from assay.store.files import new_folder, write_atomic_lines

Part = Literal["train", "validation", "undivided", "rejected"]
PARTS: tuple[Part, ...] = ("train", "validation", "undivided", "rejected")
"""`undivided` are the rows of a file that cannot be divided yet."""
InputOutput = tuple[tuple[str, ...], tuple[str, ...]]
"""Columns of the input and of the output."""
SHORT = 240
"""Characters of a text in a page of rows."""
CONTRADICTION = "contradiction"
_CHECKED = "rows"
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
    ) -> None:
        self._columns = columns
        # Kept open: whatever takes their place meanwhile, these rows stay what they were.
        self._files = {PARTS.index(part): file.open("rb") for part, file in files.items()}
        others = [PARTS.index(part) for part in elsewhere]
        found = sorted(
            (
                (0 if place in others else line, place, offset, size)
                for place, file in self._files.items()
                for line, offset, size in _places(file)
            ),
            key=lambda row: (row[0] == 0, row),
        )
        self._lines = array("Q", (line for line, _, _, _ in found))
        self._parts = bytes(place for _, place, _, _ in found)
        self._offsets = array("Q", (offset for _, _, offset, _ in found))
        self._sizes = array("Q", (size for _, _, _, size in found))
        visible = frozenset(self._lines) - {0}
        self._found, self.unseen_contradictions = _problems(problems, visible)
        self._first = _alike(self._found, visible)
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
        return _texts(self._row_at(row), self._columns)

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
                yield line, _texts(self._read(row), self._columns)[1]

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
            row for row in rows if text in " ".join(_texts(self._read(row), self._columns)).lower()
        ]

    def _row(self, row: int) -> dict[str, Any]:
        line = self._lines[row]
        given, target = _texts(self._read(row), self._columns)
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
        if not folder.is_dir():
            with new_folder(folder) as draft:
                check_file(None, folder=workspace.root, out=draft, progress=progress)
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
        at = data_file(workspace).stat()
    except OSError:
        raise why from None  # gone meanwhile, perhaps with its folder
    key = (workspace.root, at.st_mtime_ns, at.st_size, project.text)
    with _opening, TemporaryDirectory() as name:
        if (known := _undivided.get(key)) is not None:
            return known
        folder = Path(name)
        read: list[Example] = []
        check_file(None, folder=workspace.root, out=folder, keep=read.append, progress=progress)
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
    return Rows(files, checked / PROBLEMS_FILE, columns, elsewhere)


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


def _places(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """(line in the data file, where its JSON is in this one, bytes of it) of each row."""
    offset = 0
    for text in file:
        yield int(json_reader.read(text).get("line") or 0), offset, len(text)
        offset += len(text)


def _problems(file: Path, visible: frozenset[int]) -> tuple[dict[int, list[dict[str, Any]]], int]:
    """What was found, by line, of rows that may be seen; of the others how many contradict
    an earlier one."""
    found: dict[int, list[dict[str, Any]]] = {}
    contradictions = 0
    with file.open(encoding="utf-8") as lines:
        for text in lines:
            one = json_reader.read(text)
            if one["line"] in visible and one["code"] in CODES:
                found.setdefault(one["line"], []).append(one)
            elif one["code"] == CONTRADICTION:
                contradictions += 1
    return found, contradictions


def _alike(found: dict[int, list[dict[str, Any]]], visible: frozenset[int]) -> dict[int, int]:
    """Line -> the first line of the rows that it is like, itself among them."""
    first: dict[int, int] = {}
    for line in sorted(found):
        for one in found[line]:
            earlier = earlier_line(one["code"], one["message"])
            if earlier in visible:
                root = first.setdefault(earlier, earlier)
                first[line] = root
    return first


def _texts(read: dict[str, Any], columns: InputOutput | None) -> tuple[str, str]:
    """Input and output of a row of a split, or of a rejected one as far as it can be shown.

    Args:
        columns: that a rejected row has them in, where it is one of a table.
    """
    if "messages" in read:
        turns = [turn for turn in read["messages"] if turn["role"] not in ("system", "developer")]
        *given, target = [say_turn(Message.from_dict(turn)) for turn in turns] or [""]
        return "\n".join(given), target
    raw = read.get("raw")
    if isinstance(raw, dict) and columns is not None:
        filled = [[text_of(raw[name]) for name in names if name in raw] for names in columns]
        left, right = ("\n".join(texts) for texts in filled)
    elif isinstance(raw, dict):
        left, right = "\n".join(f"{name}: {text_of(value)}" for name, value in raw.items()), ""
    elif isinstance(raw, list):
        left, right = " | ".join(map(text_of, raw)), ""
    else:
        left, right = text_of(raw), ""
    return escape_surrogates(left), escape_surrogates(right)
