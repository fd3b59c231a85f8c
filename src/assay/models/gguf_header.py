"""A GGUF file's header held against the file's size, before a reader believes what it claims.

    check(path)        # ModelError where it claims more than there is

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A reader makes an object of every
entry; an array of a billion entries is spelled in a hundred bytes.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO

from assay.errors import ModelError

MOST_FIELDS, MOST_TENSORS = 10_000, 100_000
MOST_ENTRIES = 4_000_000
"""Of all arrays together: a vocabulary of 262,144 tokens has 1.3 million."""
LONGEST_NAME, LONGEST_TEXT = 1024, 16_000_000
_MOST_DIMENSIONS = 4
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a number, by its type."""
_TEXT, _ARRAY = 8, 9


class _DamagedError(ValueError):
    pass


def check(path: Path) -> None:
    """Refuse a header that claims what cannot be.

    Raises:
        ModelError: it is no GGUF file, or is cut short or damaged.
    """
    try:
        with path.open("rb") as file:
            _Header(file, path.stat().st_size).check()
    except _DamagedError as error:
        raise ModelError(
            f"this is not a GGUF file, or it is incomplete or damaged ({error}).",
            where=str(path),
            fix="Pull or copy the file again.",
        ) from None


class _Header:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size
        self._entries = 0

    def check(self) -> None:
        if self._bytes(4) != b"GGUF":
            raise _DamagedError("it does not begin with GGUF")
        version = self._number("<I")
        if version not in (2, 3):
            raise _DamagedError(f"version {version}; versions 2 and 3 are supported")
        tensors, fields = self._number("<Q"), self._number("<Q")
        if tensors > MOST_TENSORS or fields > MOST_FIELDS:
            raise _DamagedError(f"{tensors} tensors and {fields} fields")
        for _ in range(fields):
            self._field()
        for _ in range(tensors):
            self._tensor()

    def _field(self) -> None:
        name = self._text(LONGEST_NAME)
        kind = self._number("<I")
        if name == b"general.alignment":
            alignment = self._number("<I") if kind == 4 else 0
            if not 0 < alignment <= 1 << 20 or alignment % 8:
                raise _DamagedError(f"an alignment of {alignment}")
        else:
            self._value(kind)

    def _value(self, kind: int) -> None:
        if kind == _TEXT:
            self._text(LONGEST_TEXT)
        elif kind == _ARRAY:
            kind, count = self._number("<I"), self._number("<Q")
            self._entries += count
            if self._entries > MOST_ENTRIES:
                raise _DamagedError(f"arrays of {self._entries} entries")
            if kind == _TEXT:
                for _ in range(count):
                    self._text(LONGEST_TEXT)
            else:
                self._skip(count * self._size(kind))
        else:
            self._skip(self._size(kind))

    def _tensor(self) -> None:
        self._text(LONGEST_NAME)
        dimensions = self._number("<I")
        if dimensions > _MOST_DIMENSIONS:
            raise _DamagedError(f"a tensor of {dimensions} dimensions")
        if math.prod(self._number("<Q") for _ in range(dimensions)) > 1 << 48:
            raise _DamagedError("a tensor without end")
        self._skip(4 + 8)  # its type, and where it begins

    def _size(self, kind: int) -> int:
        if kind not in _SIZES:
            raise _DamagedError(f"a value of type {kind}")
        return _SIZES[kind]

    def _text(self, longest: int) -> bytes:
        length = self._number("<Q")
        if length > longest:
            raise _DamagedError(f"a text of {length} bytes")
        return self._bytes(length)

    def _number(self, form: str) -> int:
        number: int = struct.unpack(form, self._bytes(struct.calcsize(form)))[0]
        return number

    def _bytes(self, count: int) -> bytes:
        self._take(count)
        return self._file.read(count)

    def _skip(self, count: int) -> None:
        self._take(count)
        self._file.seek(count, 1)

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise _DamagedError("shorter than its header says")
