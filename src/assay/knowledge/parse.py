"""Files in, pages of text out; what cannot be read is named with its reason and stops nothing.

    with Parser() as parser:
        parsed = parser.parse("manual.pdf", data)

Documents come from strangers. All but plain text is read in a process of its own, which may use so
much time and memory, reaches no network, starts no program and writes no file
(`parse_worker.py`). What breaks it is reported as the fault of that one file.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any

from assay import json_reader
from assay.data.encoding import decode
from assay.data.source import IMAGES
from assay.errors import AssayError, ModelError
from assay.interpreter import ending, python
from assay.knowledge.chunk import Page
from assay.models.pull import cache_folder

KINDS = {
    ".pdf": "pdf", ".docx": "docx", ".pptx": "pptx", ".xlsx": "xlsx", ".html": "html",
    ".htm": "html", ".xhtml": "html", ".md": "markdown", ".markdown": "markdown", ".txt": "text",
    ".text": "text", ".rst": "text", ".log": "text", ".epub": "epub", ".eml": "eml", ".csv": "csv",
    ".tsv": "tsv", ".odt": "odt", ".rtf": "rtf",
}  # fmt: skip
"""What is read, by suffix."""
_NAMES = {
    "pdf": "PDF", "docx": "Word", "pptx": "PowerPoint", "xlsx": "Excel", "html": "HTML",
    "markdown": "Markdown", "text": "text", "epub": "EPUB", "eml": "e-mail", "csv": "CSV",
    "tsv": "TSV", "odt": "OpenDocument", "rtf": "RTF",
}  # fmt: skip
*_SEVERAL, _LAST = dict.fromkeys(_NAMES[kind] for kind in KINDS.values())
KINDS_IN_WORDS = f"{', '.join(_SEVERAL)} or {_LAST}"
"""What is read, for a person."""
PLAIN = frozenset({"text", "markdown"})
UNFORMATTED = frozenset({"text", "pdf"})
"""Whose text is no Markdown: a "#" in it is no heading."""
_NEEDS_UTF8 = frozenset({"html", "csv", "tsv"})
_NO_TYPE = "files without an extension, such as .pdf, are not read."
_WORKER = Path(__file__).with_name("parse_worker.py")
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ")  # no keys, no tokens
_STARTING_SECONDS = 60.0
_FILES_A_WORKER = 200
_CHARSET = re.compile(rb"""charset\s*=\s*["']?([A-Za-z0-9_-]+)""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one file may take.

    Attributes:
        file_bytes: the largest file.
        seconds: wall-clock, to read it.
        memory_mib: of the reading process (address space; not enforced on macOS).
        unpacked: bytes that an archive (docx, pptx, xlsx, epub, odt) may unpack to; beyond `free`
            bytes at most `ratio` times its own size.
        entries: files in an archive.
        depth: of messages in messages.
        characters: of text.
    """

    file_bytes: int = 100 * 2**20
    seconds: float = 60.0
    memory_mib: int = 2048
    unpacked: int = 1 << 30
    free: int = 64 * 2**20
    ratio: int = 100
    entries: int = 10_000
    depth: int = 3
    characters: int = 20_000_000


class UnreadableError(AssayError):
    """Nothing can be taken from this file; the message says why."""


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """What came of a file.

    Attributes:
        skipped: (name, reason) of its attachments that could not be read.
    """

    pages: tuple[Page, ...]
    skipped: tuple[tuple[str, str], ...] = ()


def kind_of(document: str) -> str | None:
    """How a document of this name is read; None where it is not."""
    return KINDS.get(PurePath(document).suffix.lower())


def load(document: str, file: Path, limits: Limits) -> bytes:
    """The bytes of a file that is of a kind and a size that is read.

    Raises:
        UnreadableError: it is not, or is no file, or may not be read.
    """
    if kind_of(document) is None:
        suffix = PurePath(document).suffix
        raise UnreadableError(f"files of type {suffix} are not read." if suffix else _NO_TYPE)
    try:
        if not file.is_file():
            raise UnreadableError("there is no such file.")
        with file.open("rb") as opened:
            data = opened.read(limits.file_bytes + 1)
    except OSError as error:
        raise UnreadableError(f"it cannot be read ({error.strerror}).") from None
    if len(data) > limits.file_bytes:
        raise UnreadableError(f"it is larger than {limits.file_bytes // 2**20} MiB.")
    if not data:
        raise UnreadableError("it is empty.")
    return data


class Parser:
    """Reads one document after another; its process starts when it is first needed."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._worker: _Worker | None = None

    def __enter__(self) -> Parser:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def parse(self, document: str, data: bytes) -> ParsedDocument:
        """The pages of a document of a kind that is read.

        Raises:
            UnreadableError: it is damaged, too much, or holds no text.
        """
        kind = kind_of(document)
        assert kind is not None
        if data.startswith(IMAGES):
            raise UnreadableError("this is an image; there is no text in it to be searched.")
        if kind in PLAIN:
            reply: dict[str, Any] = {"pages": [[None, decode(data)]]}
        else:
            reply = self._ask(kind, _utf8(kind, data) if kind in _NEEDS_UTF8 else data)
        if "error" in reply:
            raise UnreadableError(reply["error"])
        pages = tuple(Page(number, _clean(text)) for number, text in reply["pages"])
        if sum(len(page.text) for page in pages) > self.limits.characters:
            raise UnreadableError(
                f"it contains more than {self.limits.characters} characters of text."
            )
        if not any(page.text.strip() for page in pages):
            scanned = ", perhaps a scan" if kind == "pdf" else ""
            raise UnreadableError(f"no text was found in it{scanned}.")
        return ParsedDocument(pages, tuple((name, why) for name, why in reply.get("skipped", ())))

    def _ask(self, kind: str, data: bytes) -> dict[str, Any]:
        if self._worker is not None and self._worker.files >= _FILES_A_WORKER:
            self._end()
        fresh = self._worker is None
        try:
            if self._worker is None:
                self._worker = self._started()
            return self._worker.ask(kind, data)
        except _DiedError as error:
            self._end()
            if not fresh:  # what the files before have left in memory is not this one's fault
                return self._ask(kind, data)
            return {"error": str(error)}
        except TimeoutError:
            self._end()
            return {"error": f"reading it took more than {self.limits.seconds:g} s."}
        except BaseException:
            self._end()  # Ctrl-C: an answer that nobody waits for must not meet the next question
            raise

    def _started(self) -> _Worker:
        try:
            return _Worker(self.limits)
        except (_DiedError, TimeoutError):
            raise ModelError(
                "the process that reads documents could not be started.",
                fix="Free some memory, or lift the limits of the shell (ulimit), and try again.",
            ) from None

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None


class _DiedError(Exception):
    """The process ended instead of answering."""


class _Worker:
    """The process that reads documents."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.files = 0
        given = {
            **asdict(limits),
            "cpu_seconds": int(limits.seconds * _FILES_A_WORKER + _STARTING_SECONDS),
        }
        self._process = subprocess.Popen(
            python("-I", "-B", str(_WORKER), json.dumps({"limits": given, "kinds": KINDS})),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={
                **{key: os.environ[key] for key in _PASSED_ON if key in os.environ},
                "TMPDIR": str(_unpacked()),
            },
            start_new_session=True,  # Ctrl-C is for us
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._stdout, selectors.EVENT_READ)
        try:
            self._next(_STARTING_SECONDS)
        except BaseException:
            self.end()
            raise

    def ask(self, kind: str, data: bytes) -> dict[str, Any]:
        """What it makes of a document; raises `_DiedError` or TimeoutError."""
        self.files += 1
        try:
            self._stdin.write(json.dumps({"kind": kind, "bytes": len(data)}).encode() + b"\n")
            self._stdin.write(data)
            self._stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        return self._next(self._limits.seconds)

    def _next(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        pieces: list[bytes] = []
        while not pieces or not pieces[-1].endswith(b"\n"):
            if not self._ready.select(max(end - time.monotonic(), 0)):
                raise TimeoutError
            piece = os.read(self._stdout.fileno(), 1 << 20)
            if not piece:
                raise self._died()
            pieces.append(piece)
        reply: dict[str, Any] = json_reader.read(b"".join(pieces))
        return reply

    def _died(self) -> _DiedError:
        cause = ending(self._process.wait())
        return _DiedError(
            f"it is damaged, or reading it takes more than {self._limits.memory_mib} MiB: its "
            f"reader ended ({cause})."
        )

    def end(self) -> None:
        """Whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._ready.close()
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(BrokenPipeError):  # what was not sent is not needed any more
                pipe.close()


def _unpacked() -> Path:
    """Where kreuzberg unpacks the library that reads PDFs, and loads whatever lies there already.

    Not the temporary folder of all users: anybody could have put something there.
    """
    folder = cache_folder() / f"kreuzberg-{version('kreuzberg')}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _utf8(kind: str, data: bytes) -> bytes:
    """Text of any encoding as UTF-8; an HTML page may name its own.

    What it names counts for less than a byte order mark, and cannot be UTF-16, in which nobody
    could have read it (HTML Living Standard, 13.2.3.2).
    """
    marked = data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    named = _CHARSET.search(data[:2048]) if kind == "html" and not marked else None
    if named is not None and not named[1].lower().startswith(b"utf-16"):
        with contextlib.suppress(LookupError, UnicodeDecodeError):
            return data.decode(codecs.lookup(named[1].decode()).name).encode()
    return decode(data).encode(errors="replace")


def _clean(text: str) -> str:
    """Without NUL and lone surrogates, which no database or index takes."""
    return text.replace("\0", "").encode(errors="replace").decode()
