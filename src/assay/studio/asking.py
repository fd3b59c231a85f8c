"""A question before something that cannot be taken back."""

from __future__ import annotations

from nicegui import ui

from assay.studio.parts import button, heading, row


def put_away(dialog: ui.dialog) -> None:
    """Put a dialog away that was answered, or whose person has left meanwhile."""
    if not dialog.is_deleted:
        dialog.delete()


async def sure(question: str, what_follows: str, yes: str) -> bool:
    """Ask; whoever closes the question has said no."""
    with ui.dialog(value=True) as dialog, ui.card().classes("studio"):
        heading(question, what_follows)
        with row():
            button(yes, lambda: dialog.submit(True), kind="primary")
            button("Cancel", lambda: dialog.submit(False))
    answer = await dialog
    put_away(dialog)
    return bool(answer)
