"""Texts on their way to a program, and from it: one line each, without this machine's paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from assay.log_lines import printable

LONGEST_ERROR = 2000


def say(text: str, root: Path, most: int = LONGEST_ERROR) -> str:
    """A text of Assay's as one line, cut; paths in `root` are told as they are from there."""
    text = re.sub(
        re.escape(str(root)) + r"(/|(?![\w.-]))", lambda found: "" if found[1] else ".", text
    )
    text = " ".join(map(printable, text.splitlines()))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("write it in one line of printable characters")
    return text


OneLine = Annotated[str, AfterValidator(_one_line)]
"""What people will read in a table on their terminal, where nothing may stand for more than it
is."""
