"""What stays of a prompt when what changes from call to call is taken out."""

from __future__ import annotations

import re

_VARIABLE = re.compile(
    r"https?://\S+"
    r"|<(?:[A-Za-z-]+ ){0,3}[A-Za-z-]+>"  # what took the place of a secret or of personal data
    r"|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b"
    r"|\b(?:january|february|march|april|june|july|august|september|october|november|december)\b"
    # Beside a number only: the card may be lost.
    r"|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)\b\.?(?=\s*\d)"
    r"|(?<=\d )(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)\b\.?"
    r"|\b\w*\d\w*(?:[.,:/+\-]\w*\d\w*)*",  # numbers, dates, times, ids
    re.IGNORECASE,
)
_SEVERAL = re.compile(r"#(?:[\s,]*#)+")
MOST = 4000
"""Characters of a prompt that tell which it is."""


def skeleton(text: str) -> str:
    """The text without numbers, dates, addresses and ids, `#` in their place; of a long one its
    beginning and its end, where the instruction may stand."""
    if len(text) > 4 * MOST:
        text = f"{text[: 2 * MOST]} {text[-2 * MOST :]}"
    shown = " ".join(_SEVERAL.sub("#", _VARIABLE.sub("#", text)).split())
    if len(shown) > MOST:
        shown = shown[: MOST // 2] + shown[-(MOST // 2) :]
    return shown


def opening(text: str, words: int) -> str:
    """The first words of a text's skeleton."""
    return " ".join(skeleton(text[:400]).split(" ")[:words])
