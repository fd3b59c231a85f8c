"""Notices of what went well or wrong, and questions before what cannot be taken back."""

from __future__ import annotations

from nicegui import ui

from assay.accounts.people import SignedOutError
from assay.errors import AssayError
from assay.studio.widgets import button, heading, row


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


class Telling:
    """What a person can mend becomes a notice; everything else is a bug, and logged as one."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
        if isinstance(error, SignedOutError):
            ui.navigate.reload()
        elif isinstance(error, AssayError):
            tell(error)
        else:
            return False
        return True


def telling() -> Telling:
    """See `Telling`."""
    return Telling()


def tell(error: AssayError) -> None:
    """An error as a notice, which stays until it is closed."""
    ui.notify(
        str(error),
        type="negative",
        timeout=0,
        close_button="Close",
        multi_line=True,
        position="top",
        classes="notice",
    )


def say(text: str) -> None:
    """Something that went well."""
    ui.notify(text, type="positive", position="top", classes="notice")
