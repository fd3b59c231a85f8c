"""Two texts, and what differs: removed and added lines, with a little of what is around them."""

from __future__ import annotations

import difflib

from nicegui import ui

from assay.studio.widgets import text

_AROUND = 2
_SIGNS = {"+": "added", "-": "removed", "@": "place"}


def lines_changed(before: str, after: str) -> None:
    """What became of `before` in `after`; a sign says it too, not colour alone."""
    found = list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=_AROUND)
    )[2:]
    if not found:
        text("They say the same.", "soft note")
        return
    with (
        ui.element("div").classes("diff").props('tabindex=0 role=region aria-label="What differs"')
    ):
        for line in found:
            if line.startswith("@@"):
                text("⋯", "place", "div").props("aria-hidden=true")
                continue
            text(line or " ", _SIGNS.get(line[:1], ""), "div")
