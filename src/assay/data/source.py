"""A file as bytes: found, readable, of a kind that holds examples, gzip undone on the way.

Everything that can be wrong before the first character is told here, as a `DataError`.
"""

from __future__ import annotations

import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Literal, cast

from assay.close_names import find_close_name
from assay.errors import DataError, Step

SAMPLE = 256 * 1024
"""Bytes at the start of a file that are looked at to tell what it is."""
GZIP_RATIO = 300
"""Largest expansion of a .gz file; DEFLATE itself ends at about 1030 to 1."""
GZIP_FREE = 256 * 1024 * 1024
"""Bytes that may come out before the ratio counts."""
_SHOWN = 200
"""Characters of a path that can be none."""
WORKBOOK_LIMIT = 4 * 1024**3
"""Largest unpacked size of a workbook, in bytes."""

DOCUMENTS = (".md", ".markdown", ".rst", ".adoc", ".html", ".htm", ".tex", ".eml")
"""Endings of texts that are no rows, whatever commas they have."""
ADD_DOCUMENTS = f"To have documents searched for answers, {Step.ADD_KNOWLEDGE}."
PROSE_LINES = 5
"""Below the first one, from which on a text can be told from a table."""

Kind = Literal["text", "parquet", "xlsx"]

IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")
"""First bytes of pictures, whatever the files are called."""
_REFUSED: tuple[tuple[bytes, str, str], ...] = (
    (
        b"\xd0\xcf\x11\xe0",
        "an old or password-protected Office file",
        "Save it as .xlsx or CSV, without password.",
    ),
    (b"%PDF", "a PDF", ADD_DOCUMENTS),
    (b"BZh", "a bzip2 archive", "Unpack it first."),
    (b"\xfd7zXZ", "an xz archive", "Unpack it first."),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "Unpack it first."),
    (b"7z\xbc\xaf", "a 7-zip archive", "Unpack it first."),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV."),
    (b"\x80\x02", "a Python pickle", "Pickles are never loaded: they can run code. Export CSV."),
    (b"\x80\x03", "a Python pickle", "Pickles are never loaded: they can run code. Export CSV."),
    (b"\x80\x04", "a Python pickle", "Pickles are never loaded: they can run code. Export CSV."),
    (b"\x80\x05", "a Python pickle", "Pickles are never loaded: they can run code. Export CSV."),
    (b"ARROW1", "an Arrow file", "Save it as Parquet."),
    *((magic, "an image", "Assay reads text.") for magic in IMAGES),
    (b"GGUF", "a model", f"{Step.NAME_MODEL}."),
)


class _GuardedFile(io.RawIOBase):
    """A gzip stream that stops when it grows out of proportion (a decompression bomb)."""

    def __init__(self, path: Path) -> None:
        self._path, self._size, self._out = path, path.stat().st_size, 0
        self._stream = gzip.GzipFile(path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        try:
            count = self._stream.readinto(buffer)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"the gzip file is damaged or truncated ({error}).",
                where=str(self._path),
                fix="Download or compress it again.",
            ) from None
        self._out += count
        if self._out > GZIP_FREE and self._out > GZIP_RATIO * self._size:
            raise DataError(
                f"the gzip file expands to more than {GZIP_RATIO} times its size.",
                where=str(self._path),
                fix="Unpack it yourself if you trust it.",
            )
        return count

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def open_bytes(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked when it is gzip.

    Raises:
        DataError: no such file, a folder, no permission; later, damaged or bomb-like gzip.
    """
    try:
        is_folder, is_other = path.is_dir(), path.exists() and not path.is_file()
    except OSError as error:  # such as a name that is too long for one
        raise DataError(
            f"this cannot be the path of a file: {error.strerror}.", where=str(path)[:_SHOWN]
        ) from None
    if is_folder:
        raise DataError("this is a folder.", where=str(path), fix="Choose a file in it.")
    if is_other:
        raise DataError(
            "this is a pipe or a device, but the file must be read more than once.",
            where=str(path),
            fix="Save it to a file first.",
        )
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise DataError("there is no such file.", where=str(path), fix=_neighbour(path)) from None
    except PermissionError:
        raise DataError(
            "you do not have permission to read this file.",
            where=str(path),
            fix="Change its permissions.",
        ) from None
    except OSError as error:
        raise DataError(f"the file cannot be opened: {error.strerror}.", where=str(path)) from None
    if file.read(2) == b"\x1f\x8b":
        file.close()
        return io.BufferedReader(cast(io.RawIOBase, _GuardedFile(path)), 1 << 20)
    file.seek(0)
    return file


def _neighbour(path: Path) -> str:
    try:
        names = [name for name in os.listdir(path.parent or Path()) if not name.startswith(".")]
    except OSError:
        return f"The folder {path.parent} cannot be read either."
    close = find_close_name(path.name, names)
    return f"Did you mean {close}?" if close else "Check the path."


def kind_of(path: Path) -> tuple[Kind, bytes]:
    """What a file is, by its first bytes, with its first `SAMPLE` bytes.

    Raises:
        DataError: it cannot be opened, is empty, or is no table and no text.
    """
    with open_bytes(path) as file:
        head = file.read(SAMPLE)
    if not head:
        raise DataError(
            "the file is empty.", where=str(path), fix="Choose a file that contains examples."
        )
    if head.startswith(b"PAR1"):
        return "parquet", head
    if head.startswith(b"PK\x03\x04"):
        _check_workbook(path)
        return "xlsx", head
    for magic, what, fix in _REFUSED:
        if head.startswith(magic):
            raise DataError(f"this is {what}, not a file of examples.", where=str(path), fix=fix)
    return "text", head


def refuse_binary(path: Path, sample: str) -> None:
    """Refuse decoded text that is mostly control characters.

    Raises:
        DataError: more than one character in 20 is a control character (a few NULs are a
            problem of their row).
    """
    control = sum(1 for c in sample if c < " " and c not in "\t\n\r\f")
    if control * 20 > len(sample):
        raise DataError(
            "this is a binary file, not text.",
            where=str(path),
            fix="Export the examples as CSV, JSONL, Parquet or XLSX.",
        )


def refuse_document(path: Path) -> None:
    """Refuse a text that its name tells to be a document.

    Raises:
        DataError: it is one.
    """
    if (ending := ending_of(path.name)) in DOCUMENTS:
        raise _document(path, ending)


def refuse_prose(path: Path, is_broken: Iterable[bool]) -> None:
    """Refuse a text without a table's name whose lines do not have the cells of its first one.

    Args:
        is_broken: of each of its first lines below that; read only of a text without such a name.

    Raises:
        DataError: most of them have more cells or fewer.
    """
    if ending_of(path.name) not in ("", ".txt", ".text"):
        return
    broken = list(is_broken)
    if len(broken) >= PROSE_LINES and sum(broken) * 2 > len(broken):
        raise DataError(
            "this is plain text, not a table: most lines have more or fewer cells than the first.",
            where=str(path),
            fix=f"Save examples as CSV or JSONL. {ADD_DOCUMENTS}",
        )


def ending_of(name: str) -> str:
    """The ending of a file's name in lower case, that of what was packed where it is `.gz`."""
    return Path(name.lower().removesuffix(".gz")).suffix


def _document(path: Path, ending: str) -> DataError:
    return DataError(
        f"this is a document ({ending}), not a table of examples.",
        where=str(path),
        fix=f"Save examples as CSV, JSONL or XLSX. {ADD_DOCUMENTS}",
    )


def _other_archive(path: Path, names: Sequence[str]) -> DataError:
    """What a ZIP archive of such files is, which is no workbook."""
    if "[Content_Types].xml" in names:
        for folder, ending in (("word/", ".docx"), ("ppt/", ".pptx")):
            if any(name.startswith(folder) for name in names):
                return _document(path, ending)
    if "META-INF/manifest.xml" in names:
        return DataError(
            "this is an OpenDocument file, which is not read as a table.",
            where=str(path),
            fix="Save a table as XLSX or CSV.",
        )
    return DataError(
        "this is a ZIP archive, not a workbook.",
        where=str(path),
        fix=f"Unpack it and choose one of its files: {', '.join(names[:5])}.",
    )


def _check_workbook(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(
            f"the file is a damaged or half-copied ZIP archive or workbook ({error}).",
            where=str(path),
            fix="Save or copy it again.",
        ) from None
    if "xl/workbook.xml" not in names:
        raise _other_archive(path, names)
    if size > WORKBOOK_LIMIT:
        raise DataError(
            f"the workbook unpacks to {size / 1e9:.1f} GB.",
            where=str(path),
            fix="Save the sheet as CSV.",
        )
