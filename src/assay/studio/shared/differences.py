"""What differs between two texts, line by line, and which of two saves is kept."""

from __future__ import annotations

import difflib
from typing import Any

from nicegui import ui

from assay.studio import widgets as w
from assay.studio.dialogs import open_dialog, read_choice


async def ask_which_to_keep(under: str, theirs: str, mine: str) -> Any:
    """Ask what becomes of a text that somebody else has saved since it was read.

    Args:
        under: says who has saved it.

    Returns:
        "theirs" or "mine"; else it is edited further.
    """
    with open_dialog("Somebody else has saved a change", under, "wide-dialog") as dialog:
        w.text("Changes from theirs to yours:", "strong note")
        show_differences(theirs, mine)
        with w.row():
            w.button("Keep editing mine", lambda: dialog.submit("back"))
            w.button("Use theirs", lambda: dialog.submit("theirs"))
            w.button("Save mine instead", lambda: dialog.submit("mine"), kind="primary")
    return await read_choice(dialog)


def show_differences(before: str, after: str) -> None:
    """The lines that differ between two texts; a sign says how, not colour alone."""
    found = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2))
    if not found:
        w.text("They are identical.", "soft note")
        return
    with w.set_label(
        ui.element("div").classes("diff").props("tabindex=0 role=region"), "Differences"
    ):
        for one in found[2:]:
            if one.startswith("@@"):
                w.text("⋯", "place", "div").props("aria-hidden=true")
            else:
                w.text(one or " ", {"+": "added", "-": "removed"}.get(one[:1], ""), "div")
