"""Regular expressions that others have written: what is read is small, and can be stopped.

    found = patterns.compile_pattern(pattern).search(text, timeout=0.25)

To read a pattern has no clock, and `regex` writes out what must occur more than once: `a{9999999}`
takes gigabytes, `((((a+)+)+)+)+` twice as much with every bracket. So it is counted first what a
pattern comes to (`tests/source_rules.py` holds everybody to this function).
"""

from __future__ import annotations

import re

import regex

MOST_PARTS = 10_000
"""Each takes 1 to 1.6 KB."""
_PARTS = re.compile(
    r"\\."  # a character that means itself, or one that stands for others
    r"|\[\^?\]?(?:\\.|[^\]\\])*+\]?"  # a set
    r"|\{\s*+(?P<least>\d++)[^{}]*+\}"  # a repetition
    r"|.",  # a character, a bracket, another repetition
    re.DOTALL,
)
_OTHERWISE = re.compile(r"\(\?(?:#|[a-zA-Z-]*[xV])")
"""Comments and flags by which brackets would not mean what is counted here."""


def compile_pattern(pattern: str, *, ignore_case: bool = False) -> regex.Pattern[str]:
    """A pattern whose matching takes a `timeout`; it is not kept by `regex`.

    Raises:
        ValueError: it is no regular expression, or comes to too much.
    """
    if _OTHERWISE.search(pattern):
        raise ValueError("patterns with comments or the flags x and V are not read")
    if _parts(pattern) > MOST_PARTS:
        raise ValueError(
            f"the pattern has more than {MOST_PARTS:,} parts when its repetitions are written "
            "out; use fewer repetitions"
        )
    try:
        flags = regex.IGNORECASE if ignore_case else 0
        return regex.compile(pattern, flags, cache_pattern=False)
    except (regex.error, RecursionError) as error:
        raise ValueError(f"it is not a valid regular expression: {error}") from None


def _parts(pattern: str) -> int:
    """How many there are when all that must occur is written out; at least as many as it takes.

    Raises:
        ValueError: brackets without their others, or a set of named characters.
    """
    sums, last = [0], 0  # of the groups that are open, and what a repetition is of
    for found in _PARTS.finditer(pattern):
        part = found[0]
        if part == "(":
            sums.append(1)
            last = 0
        elif part == ")":
            last = sums.pop()
            if not sums:
                raise ValueError(
                    "it is not a valid regular expression: a bracket is closed, not opened"
                )
            sums[-1] += last
        elif part in "*?+" or found["least"]:
            least = int(found["least"] or part == "+")
            sums[-1] += last * least
            last *= least + 1
        else:
            if part[0] == "[" and "[:" in part[1:]:
                raise ValueError("patterns with named sets such as [:alpha:] are not read")
            last = len(part)
            sums[-1] += last
        if sums[-1] > MOST_PARTS:
            break
    else:
        if len(sums) > 1:
            raise ValueError("it is not a valid regular expression: a bracket is not closed")
    return sum(sums)
