"""The process in which a stranger's document is read: no network, no new programs, no written
file, bounded memory (`sandbox.py`). Started by path, so it imports nothing of Assay.

    python -I -B parse_worker.py '{"limits": {...}, "kinds": {".pdf": "pdf", ...}}'

Reads one JSON line a document ({"kind", "bytes"}) and then so many bytes; writes one JSON line
each: {"pages": [[number or null, text], ...], "skipped": [...]} or {"error": "..."}. The first
line is {"sealed": true} where the kernel keeps it from the network.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import importlib
import importlib.util
import io
import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
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
_CSV_SAMPLE = 1 << 16
"""Characters by which the delimiter is found."""


class UnreadableError(Exception):
    """Why a document is not read; a sentence for the user."""


def main(limits: dict[str, int], kinds: dict[str, str]) -> None:
    """Serve documents until stdin ends."""
    asked = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    _unpack()
    sandbox = _beside("sandbox")
    sandbox.bound(limits["memory_mib"], limits["cpu_seconds"])
    _load()
    _reply(replies, {"sealed": sandbox.seal()})
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
        if "password" in str(error).lower():
            return {"error": NEEDS_PASSWORD.format(kind=kind.upper())}
        # What the parser says names its own parts, which nobody can mend.
        return {"error": f"it is damaged, encrypted, or not a {kind.upper()} file."}


NEEDS_PASSWORD = "this {kind} needs a password. Save it without one, and add it again."


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
                f"it contains more than {self._limits['characters']} characters of text."
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
        raise UnreadableError(
            "it is damaged, encrypted, or its format does not match its file name."
        )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if len(members) > limits["entries"]:
            raise UnreadableError(f"it is an archive of more than {limits['entries']} files.")
        total, most = 0, min(limits["unpacked"], max(limits["free"], limits["ratio"] * len(data)))
        for member in members:
            if member.flag_bits & 1:
                raise UnreadableError(NEEDS_PASSWORD.format(kind="file"))
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
    """A part a sheet, under its name, a line a row: a sheet has no number to be found by."""
    import openpyxl

    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    found: Pages = []
    for sheet in book.worksheets:
        values = sheet.iter_rows(values_only=True)
        rows = (["" if v is None else str(v) for v in row] for row in values)
        lines = "\n".join(_records(rows))
        found.append((None, f"# {sheet.title}\n\n{lines}" if lines else ""))
    return found


def _csv(data: bytes, delimiter: str | None = None) -> Pages:
    text = _decoded(data)
    csv.field_size_limit(len(text) + 1)
    if delimiter is None:
        sample = text[:_CSV_SAMPLE]
        delimiter = _delimiter().find_delimiter(sample, whole=len(sample) == len(text))
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [(None, "\n".join(_records(rows)))]


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


def _beside(name: str) -> Any:
    """A module by its path from this folder: `-I` searches no folder of ours."""
    path = os.path.join(os.path.dirname(__file__), f"{name}.py")
    spec = importlib.util.spec_from_file_location(os.path.basename(name), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    _delimiter()


@functools.cache
def _delimiter() -> Any:
    """How the cells of a file of examples are parted, so that both are read alike."""
    return _beside("../data/formats/delimiter")


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
