"""Texts from elsewhere, without the secrets that were sent there, however they are spelled."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache

INSTEAD = "<key>"
_PART = 8
"""Characters of a secret that are not shown in a row, where it has at least twice as many."""
_BASE64 = {"+": r"(?:[+-]|%2B)", "/": r"(?:[/_]|%2F)"}


def redact(text: str, secrets: Iterable[str | None]) -> str:
    """The text with `INSTEAD` for every secret.

    As it is, in other case, in base64 (also amid other bytes, also for URLs), in hexadecimal, with
    escapes of URLs, JSON or HTML; and for parts of it.
    """
    for secret in filter(None, secrets):
        text = _without_parts(_spellings(secret).sub(INSTEAD, text), secret)
    return text


@lru_cache(maxsize=64)
def _spellings(secret: str) -> re.Pattern[str]:
    raw = secret.encode()
    found = ["".join(map(_character, secret)), raw.hex()]
    for before in range(3):  # where it stands among groups of three bytes decides how it is spelled
        core = b64encode(b"\0" * before + raw).decode()
        # The first and the last characters hold bits of what stands around.
        core = core[(before * 8 + 5) // 6 :].rstrip("=")
        if (before + len(raw)) % 3:
            core = core[:-1]
        if len(core) >= _PART:
            found.append("".join(_BASE64.get(one, re.escape(one)) for one in core))
    return re.compile("|".join(found), re.IGNORECASE)


def _character(one: str) -> str:
    code = f"{ord(one):02x}"
    return rf"(?:{re.escape(one)}|%(?:25)*{code}|\\u00{code}|&#(?:x0*{code}|0*{ord(one)});)"


def _without_parts(text: str, secret: str) -> str:
    if len(secret) < 2 * _PART:
        return text
    known, low = secret.lower(), text.lower()
    parts = {known[at : at + _PART] for at in range(len(known) - _PART + 1)}
    kept, at = [], 0
    while at < len(text):
        end = at
        while low[end : end + _PART] in parts:
            end += 1
        if end > at:
            kept.append(INSTEAD)
            at = end - 1 + _PART
        else:
            kept.append(text[at])
            at += 1
    return "".join(kept)
