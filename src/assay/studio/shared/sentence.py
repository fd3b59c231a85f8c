"""A sentence in which something is typed, such as the name of a setting: shown as code."""

from __future__ import annotations

from assay.compare.report import typed_names
from assay.studio import widgets as w


def sentence(content: str, style: str = "", tag: str = "p") -> None:
    """A text as `w.text` has it, with what stands in backquotes as code and without them."""
    with w.text("", style, tag):
        for part, is_typed in typed_names.divide(content):
            w.text(part, tag="code" if is_typed else "span")
