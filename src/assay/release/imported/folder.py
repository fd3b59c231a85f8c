"""The folder of imported traces: private, redacted, and added to by one process at a time.

    with opened(Path("imported-traces")) as folder:
        report = folder.add(Path("spans.jsonl"), None, progress)

A trace is on disk, its secrets and personal data replaced, before it is counted on. A killed run
leaves what it has written; the same command adds the rest, and no trace twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.data.privacy import mask, mask_within
from assay.errors import StateError, StoreError, UsageError
from assay.example import json_sha256
from assay.progress import SILENT, Progress
from assay.release.imported.raw import TraceFormat
from assay.release.imported.reading import FoundTrace, read_file, read_record
from assay.release.imported.trace import ImportedTrace
from assay.rescue.recording import short_digest, spell
from assay.store.files import (
    append_durable,
    drop_cut_line,
    one_at_a_time,
    replacing,
    said_when_full,
    sha256_file,
    write_atomic,
)

TRACES, IMPORTS, REJECTED = "traces.jsonl", "imports.jsonl", "rejected"
README = "README.txt"
FOUND = "jobs.json"
_LOCK = ".lock"
_BATCH_BYTES = 4 * 2**20
_KEY = "key"
_KEY_AT_END = re.compile(rb'"key": "([0-9a-f]{16})"\}\n$')
"""As `_line` writes it: no text within a line can end so, for its quotes are escaped."""
_OURS = ("at", "thumb", "usd", "seconds", "prompt_tokens", "completion_tokens", "cached_tokens")
"""Fields that are written in a form of ours: a time would be taken for a telephone number."""
_FEEDBACK = ("thumb", "corrected")
_LONGEST = 40
_ABOUT = """\
This folder was written by `assay traces import`. It holds requests to models and their answers, as
other programs kept them. Secrets, card numbers, IBANs, e-mail addresses and phone numbers were
replaced before anything was written; names and postal addresses stay.

IT HOLDS USER DATA. Only the user who imported it can read it. Do not put it into a repository or a
shared folder; delete it when nobody needs it any more.

traces.jsonl             one trace a line
imports.jsonl            one line for each file that was imported
jobs.json                what the newest search for jobs in the studio has found
rejected/FILE.jsonl      what could not be used of a file: line, place, reason
"""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a file.

    Attributes:
        added: traces that are new; `known`: that were here before.
        other: records that are no calls of a model.
        rejected_file: where each rejection has its reason; None where there is none.
        masked: secrets and items of personal data that were replaced in what was added.
        formats: how many traces of each format the file has.
    """

    file: str
    sha256: str
    added: int
    known: int
    other: int
    rejected: int
    rejected_file: str | None
    masked: int
    formats: dict[str, int]


@dataclass(frozen=True, slots=True)
class RecordReport:
    """What became of a record that was sent.

    Attributes:
        reasons: why each of the rejected calls was.
        is_cut: the time was over before its end; the same record once more adds the rest.
    """

    added: int
    known: int
    other: int
    reasons: list[str]
    is_cut: bool


class TraceFolder:
    """Imported traces. One process writes, see `writing`; reading needs no more than the path."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._keys: set[int] = set()
        self._read: tuple[int, int, int] | None = None  # device, file, bytes: the keys are of these

    @property
    def size(self) -> int:
        """Bytes of the traces that are here."""
        state = self._state()
        return 0 if state is None else state[2]

    def traces(self, until: int | None = None) -> Iterator[ImportedTrace]:
        """The traces in the order in which they came.

        Args:
            until: bytes of the file, `size` at some time: what has come since is left out.

        Raises:
            UsageError: there are none.
            StoreError: a line is damaged.
        """
        for row in self._rows(until=until):
            yield ImportedTrace.from_dict(row)

    def add(
        self, file: Path, forced: TraceFormat | None = None, progress: Progress = SILENT
    ) -> ImportReport:
        """Add the traces of a file.

        Args:
            forced: its format; None: each record's own.

        Raises:
            DataError: there is no such file.
            StoreError: the disk is full, or what is here already is damaged.
        """
        counts: Counter[str] = Counter()
        formats: Counter[str] = Counter()
        found = read_file(file, forced)
        first = next(found, None)  # before anything is written: whether there is such a file
        digest = sha256_file(file)
        beside = self._rejected_file(file, digest)
        with (
            said_when_full(self.path),
            progress.task(f"Importing {file.name}", None, "records") as bar,
            replacing(beside, private=True) as rejected,
        ):
            every = found if first is None else chain((first,), found)
            for one in self._keep(every, counts):
                bar.advance(1)
                if one.trace is not None:
                    assert one.format is not None
                    formats[one.format] += 1
                elif one.reason:
                    rejected.write(_rejection(file, one))
        if not counts["rejected"]:
            beside.unlink()
        report = ImportReport(
            file=mask(str(file)),
            sha256=digest,
            added=counts["added"],
            known=counts["known"],
            other=counts["other"],
            rejected=counts["rejected"],
            rejected_file=str(beside) if counts["rejected"] else None,
            masked=counts["masked"],
            formats=dict(formats),
        )
        append_durable(self.path / IMPORTS, json.dumps(asdict(report)).encode() + b"\n")
        return report

    def add_record(
        self, record: dict[str, Any], format: TraceFormat, within_s: float
    ) -> RecordReport:
        """Add the traces of a record that was sent, as far as the time goes; raises StoreError as
        `add`."""
        counts: Counter[str] = Counter()
        reasons, is_cut = [], False
        end = time.monotonic() + within_s

        def timely() -> Iterator[FoundTrace]:
            nonlocal is_cut
            for one in read_record(record, format, self.path):
                if is_cut := time.monotonic() > end:
                    return
                yield one

        with said_when_full(self.path):
            for one in self._keep(timely(), counts):
                if one.reason:
                    reasons.append(one.reason)
        return RecordReport(counts["added"], counts["known"], counts["other"], reasons, is_cut)

    def _keep(self, found: Iterable[FoundTrace], counts: Counter[str]) -> Iterator[FoundTrace]:
        """Write the traces that are new; what was found is handed on, and counted."""
        self._find_keys()
        waiting: list[bytes] = []
        size = 0
        seen: Counter[int] = Counter()

        def write() -> None:
            nonlocal waiting, size
            lines, waiting, size = b"".join(waiting), [], 0
            self._read = None  # until they are on disk
            append_durable(self.path / TRACES, lines)
            self._read = self._state()

        try:
            for one in found:
                if one.trace is None:
                    counts["rejected" if one.reason else "other"] += 1
                    yield one
                    continue
                key = _key(one, seen)
                if int(key, 16) in self._keys:
                    counts["known"] += 1
                    yield one
                    continue
                line, masked = _line(one.trace, key)
                counts.update(added=1, masked=masked)
                self._keys.add(int(key, 16))
                waiting.append(line)
                size += len(line)
                if size > _BATCH_BYTES:
                    write()
                yield one
            write()
        except BaseException:  # what was found before stays
            if waiting:
                write()
            raise

    def _find_keys(self) -> None:
        """Learn what is here: of a file that has only grown, what came since."""
        now = self._state()
        if now is None or self._read is None or self._read[:2] != now[:2] or self._read[2] > now[2]:
            self._keys, self._read = set(), None
        if now is not None:
            known = 0 if self._read is None else self._read[2]
            for number, line in self._lines(known):
                key = _KEY_AT_END.search(line, max(0, len(line) - 64))
                if key is None:
                    raise self._damaged(number, known)
                self._keys.add(int(key[1], 16))
        self._read = now

    def _state(self) -> tuple[int, int, int] | None:
        try:
            found = (self.path / TRACES).stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino, found.st_size

    def _rejected_file(self, file: Path, digest: str) -> Path:
        name = spell(mask(file.name))[:_LONGEST].strip("-")
        return self.path / REJECTED / f"{name}-{short_digest(digest)}.jsonl"

    def _rows(self, start: int = 0, until: int | None = None) -> Iterator[dict[str, Any]]:
        """The rows from a byte on, up to another."""
        for number, line in self._lines(start, until):
            try:
                row = json_reader.read(line)
                int(row[_KEY], 16), ImportedTrace.from_dict(row)
            except (ValueError, KeyError, TypeError, AttributeError):
                raise self._damaged(number, start) from None
            yield row

    def _lines(self, start: int = 0, until: int | None = None) -> Iterator[tuple[int, bytes]]:
        if not (self.path / TRACES).exists():
            raise UsageError(
                "there are no imported traces in this folder.",
                where=str(self.path),
                fix="Import some with `assay traces import FILE`, or name their folder.",
            )
        with (self.path / TRACES).open("rb") as lines:
            lines.seek(start)
            at = start
            for number, line in enumerate(lines, start=1):
                at += len(line)
                if until is not None and at > until:
                    return
                if not line.endswith(b"\n"):  # a process that was killed has left it
                    return
                yield number, line

    def _damaged(self, number: int, start: int) -> StoreError:
        behind = f" behind byte {start:,}" if start else ""
        return StoreError(
            "this is no line that `assay traces import` has written.",
            where=f"{self.path / TRACES}, line {number}{behind}",
            fix="Delete the line.",
        )


@contextmanager
def writing(folder: TraceFolder) -> Iterator[None]:
    """Add traces to a folder meanwhile, one process at a time; it is made if there is none.

    Raises:
        UsageError: it holds other files.
        StateError: another process adds to it.
    """
    path = folder.path
    if path.exists() and not path.is_dir():
        raise UsageError("this is a file.", where=str(path), fix="Name a folder.")
    if path.exists() and not _is_ours(path):
        raise UsageError(
            "this folder cannot be used: it holds other files.",
            where=str(path),
            fix="Name a new folder with --to.",
        )

    def occupied() -> None:
        raise StateError("another process is importing traces.", where=str(path))

    with said_when_full(path):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.chmod(path, 0o700)
    with one_at_a_time(path / _LOCK, occupied):
        for name, text in ((".gitignore", "*\n"), (README, _ABOUT)):
            if not (path / name).exists():
                write_atomic(path / name, text, private=True)
        for file in (TRACES, IMPORTS):
            drop_cut_line(path / file)
        yield


@contextmanager
def opened(path: Path) -> Iterator[TraceFolder]:
    """A folder to add traces to; raises as `writing`."""
    folder = TraceFolder(path)
    with writing(folder):
        yield folder


def _is_ours(path: Path) -> bool:
    """Whether a folder was made by an import, or is empty: nothing of anybody else is changed."""
    names = {one.name for one in path.iterdir() if not one.name.endswith(".part")}
    if {TRACES, IMPORTS} <= names:
        return True
    if (path / README).is_file():
        with (path / README).open("rb") as file:
            return file.readline().decode("utf-8", "replace") == _ABOUT.splitlines(True)[0]
    return names <= {_LOCK, ".gitignore"}  # a killed process has written no more


def _key(one: FoundTrace, seen: Counter[int]) -> str:
    """16 hex digits: of the id that its program gave it; where a user's own program did, of what
    was said, too, for it may number each file anew. Without an id, of the record, and of how often
    it was `seen` in its file."""
    assert one.trace is not None
    said = f"{one.format}\0{one.key}"
    if one.format == "plain" or not one.key:
        row = one.trace.to_dict()
        kept = ("messages", "answer") if one.key else row.keys() - set(_FEEDBACK)
        said += "\0" + json_sha256({name: row[name] for name in kept})
    key = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    if one.key:
        return key
    seen[int(key, 16)] += 1
    return hashlib.sha256(f"{key}\0{seen[int(key, 16)]}".encode()).hexdigest()[:16]


def _line(trace: ImportedTrace, key: str) -> tuple[bytes, int]:
    """The line of a trace, redacted, and how much was."""
    known = trace.to_dict()
    ours = {name: known.pop(name) for name in _OURS if name in known}
    row, hidden = mask_within(known)
    row |= {**ours, _KEY: key}
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n", len(hidden)


def _rejection(file: Path, one: FoundTrace) -> bytes:
    row = {
        "file": mask(str(file)),
        "line": one.line,
        "place": one.place or None,
        "reason": one.reason,
    }
    return json.dumps(row).encode() + b"\n"
