"""The process in which a stranger's document is read: no network, no new programs, no written
file, bounded memory. Started by path, so it knows nothing of Assay.

    python -I -B parse_worker.py '{"limits": {...}, "kinds": {".pdf": "pdf", ...}}'

Reads one JSON line a document ({"kind", "bytes"}) and then so many bytes; writes one JSON line
each: {"pages": [[number or null, text], ...], "skipped": [...]} or {"error": "..."}. The first
line is {"sealed": true} where the kernel keeps it from the network.
"""

from __future__ import annotations

import contextlib
import csv
import ctypes
import importlib
import io
import json
import os
import platform
import resource
import signal
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any, BinaryIO

Pages = list[tuple[int | None, str]]

ARCHIVES = {"docx", "pptx", "xlsx", "epub", "odt"}
MIME = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "epub": "application/epub+zip",
    "html": "text/html",
    "odt": "application/vnd.oasis.opendocument.text",
    "rtf": "application/rtf",
}
_ENTITIES = tuple("<!ENTITY".encode(code) for code in ("ascii", "utf-16-le", "utf-16-be"))
_PIECE = 1 << 20


class UnreadableError(Exception):
    """Why a document is not read; a sentence for the user."""


def main(limits: dict[str, int], kinds: dict[str, str]) -> None:
    """Serve documents until stdin ends."""
    asked = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    _unpack()
    bound(limits["memory_mib"], limits["cpu_seconds"])
    _load()
    _reply(replies, {"sealed": seal()})
    reader = Reader(limits, kinds)
    while line := asked.readline():
        document = json.loads(line)
        _reply(replies, _read(reader, document["kind"], _exactly(asked, document["bytes"])))


def _read(reader: Reader, kind: str, data: bytes) -> dict[str, Any]:
    reader.skipped = []
    try:
        pages = reader.pages(kind, data)
        return {"pages": pages, "skipped": reader.skipped}
    except UnreadableError as error:
        return {"error": str(error)}
    except (MemoryError, RecursionError):
        return {"error": "it is nested too deeply, or needs too much memory."}
    except Exception as error:  # any parser may raise anything on a broken file
        return {"error": f"it is damaged, encrypted, or no {kind} ({_said(error)})."}


def _said(error: Exception) -> str:
    """What an exception says, each part of it once."""
    parts = dict.fromkeys(" ".join(str(error).split()).strip(" .").split(": "))
    return ": ".join(parts)[:200] or type(error).__name__


class Reader:
    """Reads one document after another.

    Args:
        kinds: of attachments, by the suffix of their names.

    Attributes:
        skipped: attachments of the last document that could not be read, with the reason.
    """

    def __init__(self, limits: dict[str, int], kinds: dict[str, str]) -> None:
        self._limits, self._kinds = limits, kinds
        self.skipped: list[tuple[str, str]] = []

    def pages(self, kind: str, data: bytes, depth: int = 0) -> Pages:
        """The text of a document; a list without text where there is none."""
        if kind in ARCHIVES:
            check_archive(data, self._limits)
        if kind == "eml":
            mail = BytesParser(policy=policy.default).parsebytes(data)
            found: Pages = [(None, "\n\n".join(self._mail(mail, depth)))]
        elif kind in _READERS:
            found = _READERS[kind](data)
        else:
            found = [(None, _kreuzberg(kind, data).content)]
        if sum(len(text) for _, text in found) > self._limits["characters"]:
            raise UnreadableError(
                f"it holds more than {self._limits['characters']} characters of text."
            )
        return found

    def _mail(self, mail: Any, depth: int) -> Iterator[str]:
        """Subject and people, the body, then each attachment under a heading."""
        if mail["subject"]:
            yield f"# {mail['subject']}"
        yield "\n".join(f"{name}: {mail[name]}" for name in ("From", "To", "Date") if mail[name])
        body = mail.get_body(preferencelist=("plain", "html"))
        if body is not None:
            text = body.get_content()
            yield _html(text.encode())[0][1] if body.get_content_subtype() == "html" else text
        for part in mail.iter_attachments():
            name = part.get_filename() or "attachment"
            forwarded = part.get_content_type() == "message/rfc822"
            kind = "eml" if forwarded else self._kinds.get(os.path.splitext(name)[1].lower())
            if kind is None:
                continue
            try:
                texts = list(self._attached(part, kind, forwarded, depth + 1))
                yield "\n\n".join((f"## Attachment: {name}", *texts))
            except Exception as error:  # the message itself is still worth reading
                self.skipped.append((name, _said(error)))

    def _attached(
        self, part: EmailMessage, kind: str, forwarded: bool, depth: int
    ) -> Iterator[str]:
        if depth > self._limits["depth"]:
            raise UnreadableError(f"it is more than {self._limits['depth']} messages deep.")
        if forwarded:
            yield from self._mail(part.get_payload(0), depth)
            return
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        yield from (text for _, text in self.pages(kind, data, depth))


def check_archive(data: bytes, limits: dict[str, int]) -> None:
    """Refuse an archive that unpacks to too much, or whose XML defines entities.

    Each member is unpacked once in pieces, since what its header says of its size may be a lie.
    """
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise UnreadableError("it is damaged, encrypted, or of another format than its name says.")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if len(members) > limits["entries"]:
            raise UnreadableError(f"it is an archive of more than {limits['entries']} files.")
        total, most = 0, min(limits["unpacked"], max(limits["free"], limits["ratio"] * len(data)))
        for member in members:
            if member.flag_bits & 1:
                raise UnreadableError("it is protected by a password.")
            with archive.open(member) as file:
                before = b""
                while piece := file.read(_PIECE):
                    total += len(piece)
                    if total > most:
                        raise UnreadableError(
                            f"it unpacks to more than {most // 2**20} MiB, far more than its size: "
                            "a decompression bomb."
                        )
                    seen = before[-16:] + piece
                    if any(mark in seen for mark in _ENTITIES):
                        raise UnreadableError(
                            "its XML defines entities, which can hide or multiply text."
                        )
                    before = piece


def _kreuzberg(kind: str, data: bytes, **options: Any) -> Any:
    import kreuzberg

    config = kreuzberg.ExtractionConfig(
        use_cache=False,  # it would keep the text in the user's cache folder
        output_format="plain" if kind == "pdf" else "markdown",
        concurrency=kreuzberg.ConcurrencyConfig(max_threads=1),
        **options,
    )
    return kreuzberg.extract_bytes_sync(data, MIME[kind], config=config)


def _pdf(data: bytes) -> Pages:
    import kreuzberg

    found = _kreuzberg("pdf", data, pages=kreuzberg.PageConfig(extract_pages=True))
    return [(page["page_number"], page["content"]) for page in found.pages or ()]


def _html(data: bytes) -> Pages:
    """Mended first: kreuzberg loses what follows a tag that is left open, which HTML allows."""
    from lxml import etree, html

    parser = html.HTMLParser(encoding="utf-8")
    root = html.document_fromstring(data or b"<p></p>", parser=parser)
    if any("depth" in entry.message.lower() for entry in parser.error_log):
        raise UnreadableError("its tags are nested too deeply.")
    title = " ".join((root.findtext(".//title") or "").split())
    for element in list(root.iter("title", "meta", "script", "style")):
        element.drop_tree()
    mended = etree.tostring(root, method="html", encoding="utf-8")
    text = _kreuzberg("html", mended).content
    if title and root.find(".//h1") is None and text.strip():
        text = f"# {title}\n\n{text}"
    return [(None, text)]


def _pptx(data: bytes) -> Pages:
    """A page a slide: its title, its texts and tables, its notes."""
    from pptx import Presentation

    found: Pages = []
    for number, slide in enumerate(Presentation(io.BytesIO(data)).slides, start=1):
        title = slide.shapes.title
        named = title is not None and title.text_frame.text
        parts = [f"# {named}"] if named else []
        parts += _shapes(slide.shapes, title)
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            parts.append(slide.notes_slide.notes_text_frame.text)
        found.append((number, "\n\n".join(part for part in parts if part.strip())))
    return found


def _shapes(shapes: Iterable[Any], title: Any) -> Iterator[str]:
    for shape in shapes:
        if title is not None and shape.shape_id == title.shape_id:
            continue
        if hasattr(shape, "shapes"):  # a group
            yield from _shapes(shape.shapes, None)
        elif getattr(shape, "has_table", False):
            yield from _records([cell.text for cell in row.cells] for row in shape.table.rows)
        elif getattr(shape, "has_text_frame", False):
            yield shape.text_frame.text


def _xlsx(data: bytes) -> Pages:
    """A page a sheet, a line a row."""
    import openpyxl

    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    found: Pages = []
    for number, sheet in enumerate(book.worksheets, start=1):
        values = sheet.iter_rows(values_only=True)
        rows = (["" if v is None else str(v) for v in row] for row in values)
        lines = "\n".join(_records(rows))
        found.append((number, f"# {sheet.title}\n\n{lines}" if lines else ""))
    return found


def _csv(data: bytes, delimiter: str | None = None) -> Pages:
    text = _decoded(data)
    csv.field_size_limit(len(text) + 1)
    if delimiter is None:
        try:
            delimiter = csv.Sniffer().sniff(text[:4096], ",;\t|").delimiter
        except csv.Error:
            delimiter = ","
    return [(None, "\n".join(_records(csv.reader(io.StringIO(text), delimiter=delimiter))))]


def _records(rows: Iterable[list[str]]) -> Iterator[str]:
    """Each row as a line that can stand alone: with the names of its columns, if there are any."""
    header: list[str] | None = None
    first, alone = True, True
    for row in rows:
        cells = [" ".join(cell.split()) for cell in row]
        if not any(cells):
            continue
        if first:
            first = False
            if len(cells) > 1 and all(cells) and len(set(cells)) == len(cells):
                header = cells
                continue
        alone = False
        if header is None or len(cells) > len(header):
            yield "- " + ", ".join(cell for cell in cells if cell)
        else:
            named = zip(header, cells, strict=False)
            yield "- " + "; ".join(f"{name}: {cell}" for name, cell in named if cell)
    if header is not None and alone:
        yield "- " + ", ".join(header)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


_READERS: dict[str, Callable[[bytes], Pages]] = {
    "csv": _csv,
    "tsv": lambda data: _csv(data, "\t"),
    "xlsx": _xlsx,
    "pptx": _pptx,
    "html": _html,
    "pdf": _pdf,
    "text": lambda data: [(None, _decoded(data))],
    "markdown": lambda data: [(None, _decoded(data))],
}
"""How a kind is read; the others go to kreuzberg as they are."""


def bound(memory_mib: int, cpu_seconds: int) -> None:
    """Limits that hold even when the parent is gone; no file can be written."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if sys.platform != "darwin":  # macOS refuses to lower it
        resource.setrlimit(resource.RLIMIT_AS, (memory_mib << 20, memory_mib << 20))


_MACHINES = {
    "x86_64": (
        0xC000003E,
        (
            *(41, 42, 59, 322, 101, 425),  # socket, connect, execve(at), ptrace, io_uring_setup
            *(62, 200, 234, 424, 310, 311),  # (t)(g)kill, pidfd_send_signal, process_vm_*
            *(76, 82, 264, 316, 87, 263, 84),  # truncate, rename(at)(2), unlink(at), rmdir
            *(86, 265, 88, 266, 133, 259),  # link(at), symlink(at), mknod(at)
            *(85, 437, 90, 91, 268, 452),  # creat, openat2, chmod, fchmod(at)(2)
            *(92, 93, 94, 260, 188, 189, 190, 280),  # chown and its kind, setxattr, utimensat
        ),
        (83, 258),  # mkdir(at)
        ((2, 24), (257, 32)),  # open, openat
    ),
    "aarch64": (
        0xC00000B7,
        (
            *(198, 203, 221, 281, 117, 425, 129, 130, 131, 424, 270, 271),
            *(45, 38, 276, 35, 37, 36, 33, 437, 52, 53, 452, 54, 55, 5, 6, 7, 88),
        ),
        (34,),
        ((56, 32),),
    ),
}
"""By machine: its number, the calls that are refused, those that make a folder, and those that open
a file, with the place of their flags in what the filter is given."""
_CHANGING = 0x1 | 0x2 | 0x40 | 0x200  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC


def seal() -> bool:
    """Take network, new programs, other processes and every change to files away from this process
    for good; whether the kernel did.

    On Linux by a seccomp filter (see seccomp(2)), which binds native code too; elsewhere by
    Python's audit hooks, which bind Python code alone.
    """
    sys.addaudithook(_no_network)
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    program = _filter(*_MACHINES[platform.machine()])
    code = b"".join(
        op.to_bytes(2, "little") + bytes((yes, no)) + value.to_bytes(4, "little")
        for op, yes, no, value in program
    )

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: end with the parent
    return bool(
        libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
        and libc.prctl(22, 2, ctypes.byref(Filter(len(program), code)), 0, 0) == 0  # PR_SET_SECCOMP
    )


def _filter(
    arch: int, refused: Sequence[int], making: Sequence[int], opening: Sequence[tuple[int, int]]
) -> list[tuple[int, int, int, int]]:
    """Instructions (operation, steps if so, steps if not, value) of the kernel's packet filter."""
    load, equal, above, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse = 0x7FFF0000, 0x00050001  # ERRNO with EPERM
    there = 0x00050000 + 17  # EEXIST: kreuzberg makes its folder again for every document
    # From behind: every jump is forward, to one of the three ends.
    tail = [(give, 0, 0, allow), (give, 0, 0, refuse), (give, 0, 0, there)]
    for number, flags in reversed(opening):
        steps = len(tail)
        tail = [
            (equal, 0, 2, number),
            (load, 0, 0, flags),
            (any_bit, steps - 2, steps - 3, _CHANGING),
            *tail,
        ]
    for number in making:
        tail = [(equal, len(tail) - 1, 0, number), *tail]
    for number in refused:
        tail = [(equal, len(tail) - 2, 0, number), *tail]
    return [
        (load, 0, 0, 4),
        (equal, 1, 0, arch),
        (give, 0, 0, refuse),
        (load, 0, 0, 0),
        (above, len(tail) - 2, 0, 0x40000000),  # the x32 calls of x86 are refused
        *tail,
    ]


def _no_network(event: str, _: object) -> None:
    if event.startswith("socket.") or event in ("subprocess.Popen", "os.exec", "os.posix_spawn"):
        raise PermissionError("a document's reader has no network and starts no programs")


def _unpack() -> None:
    """Let kreuzberg put the library that reads PDFs below TMPDIR, where it looks for it.

    It does so at its first PDF, which a process that may write nothing cannot; and in a process
    that ends, since threads that it starts before the seal would stay free.
    """
    if child := os.fork():
        os.waitpid(child, 0)
        return
    with contextlib.suppress(Exception):  # what is wrong is said of the documents
        _kreuzberg("pdf", b"%PDF-1.4")
    os._exit(0)


def _load() -> None:
    """What reads documents is loaded while that is still free."""
    for name in ("kreuzberg", "lxml.html", "openpyxl", "pptx"):
        importlib.import_module(name)


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        sys.exit(0)  # the parent is gone
    return data


def _reply(replies: Any, value: dict[str, Any]) -> None:
    replies.write(json.dumps(value) + "\n")
    replies.flush()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
