"""JSON from files, models and other people: what is read has a limited depth.

    value = json_reader.read(line)        # ValueError where it is no JSON, or too deep

Whatever walks a value calls itself for each level, and so does Python's own reader; a value that
is too deep for them is no value (`tests/source_rules.py` holds everybody to this function).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import accumulate
from typing import Any

MOST_DEPTH = 100
"""Objects and lists in each other; Python's own limits are beyond."""
_DECODER = json.JSONDecoder()
_NO_SIGNS = bytes(byte for byte in range(256) if byte not in b'",:[]{}')
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""One deeper, one back: as signed bytes."""


def read(text: str | bytes, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """The value that a text spells.

    Args:
        parse_constant: given `NaN`, `Infinity` and `-Infinity`; None: the float of that name.

    Raises:
        ValueError: it is no JSON in UTF-8, or is nested more than `MOST_DEPTH` deep.
    """
    if isinstance(text, bytes):  # UTF-8, which Python's reader would guess: signs are bytes in it
        text = text.decode("utf-8-sig", "surrogatepass")
    if is_too_deep(text):
        raise json.JSONDecodeError(f"nested more than {MOST_DEPTH} deep", text, 0)
    # Without its line end, behind which an error would else be: on a line of its own, at column 1.
    return json.loads(text.rstrip(" \t\r\n"), parse_constant=parse_constant)


def read_at(text: str, place: int) -> tuple[Any, int]:
    """The value that begins at a place of a text, and where it ends.

    Raises:
        ValueError: none begins there, or it is nested more than `MOST_DEPTH` deep.
    """
    try:
        value, end = _DECODER.raw_decode(text, place)
    except RecursionError:
        end = None
    if end is None or is_too_deep(text[place:end]):
        raise json.JSONDecodeError(f"nested more than {MOST_DEPTH} deep", text, place)
    return value, end


def is_too_deep(text: str | bytes) -> bool:
    """Whether the JSON of a text has more than `MOST_DEPTH` objects and lists in each other."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    opened = raw.count(b"[") + raw.count(b"{")
    return opened > MOST_DEPTH and depth(outside(signs(raw))) > MOST_DEPTH


def signs(raw: bytes) -> bytes:
    """Quotes of strings, and the signs `,:[]{}` wherever they stand, in their order."""
    return raw.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_SIGNS)


def outside(signs: bytes) -> bytes:
    """Those that stand outside of strings, without the quotes."""
    return b"".join(signs.split(b'"')[::2])


def depth(outside: bytes) -> int:
    """Objects and lists in each other, of the signs outside of strings."""
    steps = memoryview(outside.translate(_STEPS, b",:")).cast("b")
    return max(accumulate(steps), default=0)


_SAID = {
    "Invalid control character at": "a line break or another control character in a text (a line "
    "break is written \\n)",
    "Unterminated string starting at": "a text without its closing quotation mark",
    "Expecting property name enclosed in double quotes": "a name in double quotation marks is "
    "missing",
    "Expecting ',' delimiter": "a comma or a closing bracket is missing",
    "Expecting ':' delimiter": "a colon is missing after a name",
    "Expecting value": "a value is missing",
    "Illegal trailing comma before end of object": "a comma that nothing follows",
    "Illegal trailing comma before end of array": "a comma that nothing follows",
    "Extra data": "something stands after the end of the value",
    "Invalid \\escape": "a backslash that begins no escape: a backslash itself is written \\\\",
    "Invalid \\uXXXX escape": "\\u without four hexadecimal digits",
}
"""What Python's reader says, for people who write no programs."""


def describe(error: ValueError) -> str:
    """What is wrong with a text that `read` refused, without the place."""
    message = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    said = _SAID.get(message, _SAID.get(message.partition(": ")[0], message))
    if isinstance(error, json.JSONDecodeError) and error.pos and not error.doc[error.pos :].strip():
        return f"it ends too early ({said})"
    return said
