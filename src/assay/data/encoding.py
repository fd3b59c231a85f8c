"""Bytes in, lines of text out: the encoding is found by content, broken bytes keep their line.

UTF-8 is decided by the whole file, not by its start, since the first accent of a Latin-1 file may
come late. Bytes that do not belong are carried as lone surrogates (PEP 383), so that one broken
line is one broken row and the rest is read.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from assay.data.source import open_bytes
from assay.errors import DataError

CHUNK = 1 << 20
LINE_LIMIT = 64 * 1024 * 1024
"""Characters of the longest line (or JSON record) that is read."""

_BOMS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: it starts with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNDEFINED_IN_CP1252 = frozenset(b"\x81\x8d\x8f\x90\x9d")
_SIGNS = frozenset("\xa0€£¥¢§°±µ×÷·²³¼½¾‰–—…•‘’‚“”„«»".encode("cp1252"))
"""What stands beside numbers and words in Western text; in other scripts some are letters."""
_HIGH = re.compile(rb"[\x80-\xff]+")
_MOSTLY_FOREIGN = 0.4
"""From this share of non-ASCII bytes among the letters on, the text is hardly Western European."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """A Python codec name, and whether it was guessed (no BOM, not valid UTF-8)."""

    name: str
    guessed: bool = False


def find_encoding(path: Path, head: bytes) -> Encoding:
    """The encoding of a text file whose first bytes are `head` (gzip undone).

    In this order: a BOM; UTF-16 by the place of its zero bytes; UTF-8 when all of the file is, or
    when it clearly is but for a few bytes; else a one-byte encoding, Windows-1252 or Latin-1
    unless most letters are not ASCII, in which case charset-normalizer is asked.
    """
    for bom, name in _BOMS:
        if head.startswith(bom):
            return Encoding(name)
    wide = _utf16_without_bom(head)
    if wide:
        return Encoding(wide)
    window = _first_invalid_utf8(path)
    if window is None:
        return Encoding("utf-8")
    if _mostly_utf8(head) and _mostly_utf8(window):
        return Encoding("utf-8")
    return Encoding(_one_byte(window), guessed=True)


def _utf16_without_bom(head: bytes) -> str | None:
    """Half of the bytes of ASCII in UTF-16 are zero, all in even or all in odd places."""
    sample = head[: len(head) // 2 * 2][:65536]
    if b"\0" not in sample:
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    name = "utf-16-le" if odd > even else "utf-16-be"
    many, few = max(even, odd), min(even, odd)
    share = many * 2 / len(sample)
    if few * 20 > many or share < 0.02:
        return None
    # Text in other scripts has zero bytes at line ends and punctuation only. A stray NUL in UTF-8
    # text looks the same, but the rest of such a text is UTF-8.
    if share < 0.3 and not _invalid_utf8(sample):
        return None
    try:
        text = codecs.getincrementaldecoder(name)().decode(sample)
    except UnicodeDecodeError:
        return None
    # Nor are the line ends of one-byte text with a stray NUL line ends of UTF-16: each is half of
    # a character then.
    if share < 0.3 and _line_ends(text) * 4 < sample.count(b"\n") + sample.count(b"\r"):
        return None
    return name


def _line_ends(text: str) -> int:
    return text.count("\n") + text.count("\r")


def _invalid_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return True
    return False


def _first_invalid_utf8(path: Path) -> bytes | None:
    """Up to 2 MiB around the first byte that is not UTF-8; None when there is none."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    before = b""
    with open_bytes(path) as file:
        while chunk := file.read(CHUNK):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                return before + chunk + file.read(CHUNK)
            before = chunk
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return before
    return None


def _mostly_utf8(window: bytes) -> bool:
    """True when multi-byte characters outnumber the bytes that fit nowhere."""
    text = window.decode("utf-8", "surrogateescape")
    broken = sum(1 for c in text if "\udc80" <= c <= "\udcff")
    whole = sum(1 for c in text if c > "\x7f") - broken
    return whole > broken or not broken


def _one_byte(window: bytes) -> str:
    # Signs in a run with others are letters of a word.
    runs = (run for run in _HIGH.findall(window) if not _SIGNS.issuperset(run))
    high = sum(map(len, runs))
    letters = high + sum(1 for b in window if 65 <= b <= 90 or 97 <= b <= 122)
    if high and high / letters >= _MOSTLY_FOREIGN:
        from charset_normalizer import from_bytes

        best = from_bytes(window).best()
        if best is not None and best.encoding not in ("ascii", "utf_8"):
            return best.encoding.replace("_", "-")
    return "latin-1" if _UNDEFINED_IN_CP1252 & set(window) else "cp1252"


def decode(data: bytes) -> str:
    """A whole text in the encoding that `find_encoding` would find; what does not belong is U+FFFD.

    For texts that are read by people and models; rows of examples keep their broken bytes.
    """
    name = next((name for bom, name in _BOMS if data.startswith(bom)), None)
    name = name or _utf16_without_bom(data[:CHUNK])
    if name is None:
        name = "utf-8"
        if _invalid_utf8(data) and not _mostly_utf8(data):
            name = _one_byte(data[:CHUNK])
    return data.decode(name, "replace")


def find_newline(sample: str) -> str | None:
    """The line end that is used most in a sample; None when there is none."""
    crlf = sample.count("\r\n")
    counts = {
        "\r\n": crlf,
        "\n": sample.count("\n") - crlf,
        "\r": sample.count("\r") - crlf,
    }
    best = max(counts, key=lambda end: counts[end])
    return best if counts[best] else None


def open_text(path: Path, encoding: str) -> TextIO:
    """The text of a file, line ends kept, broken bytes as lone surrogates where the codec can."""
    wide = encoding.startswith(("utf-16", "utf-32"))
    return io.TextIOWrapper(
        open_bytes(path), encoding, "strict" if wide else "surrogateescape", newline=""
    )


def decode_head(head: bytes, encoding: str) -> str:
    """The start of a file as text; a character cut in two at its end is left out."""
    wide = encoding.startswith(("utf-16", "utf-32"))
    decoder = codecs.getincrementaldecoder(encoding)("replace" if wide else "surrogateescape")
    return decoder.decode(head)


def defect_of(text: str) -> tuple[str, str] | None:
    """(code, what) when a piece of decoded text holds a NUL or bytes that could not be decoded."""
    if "\0" in text:
        return "nul-byte", f"a NUL byte after {text.index(chr(0))} characters"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00
        return "invalid-byte", f"the byte 0x{byte:02X} after {error.start} characters"
    return None


class Lines:
    """The lines of a text file, line ends kept, with the number and defect of the last one.

    Attributes:
        number: of the line given last, counted from 1.
        defect: what `defect_of` found in the lines since it was last set to None.
    """

    __slots__ = ("_file", "_text", "defect", "number")

    def __init__(self, text: TextIO, file: str) -> None:
        self._text, self._file = text, file
        self.number = 0
        self.defect: tuple[str, str] | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = read_text(self._text, self._file, self.number + 1, line=True)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == LINE_LIMIT:
            raise DataError(
                f"the line is longer than {LINE_LIMIT // 2**20} MB.",
                where=f"{self._file}, line {self.number}",
                fix="Check that the file contains one record per line; split the record or "
                "remove it.",
            )
        if "\0" in line or not line.isascii():
            self.defect = self.defect or defect_of(line)
        return line


def read_text(text: TextIO, file: str, number: int, *, line: bool = False) -> str:
    """One line, or one chunk, of an open text; `number` is the line it starts on.

    Raises:
        DataError: bytes that are not UTF-16 or UTF-32, after which nothing can be told apart.
    """
    try:
        return text.readline(LINE_LIMIT) if line else text.read(CHUNK)
    except UnicodeDecodeError as error:
        raise DataError(
            f"the file contains bytes that are not {error.encoding.upper()} ({error.reason}); the "
            "rest of the file cannot be read.",
            where=f"{file}, line {number} or shortly after",
            fix="Save the file as UTF-8.",
        ) from None
