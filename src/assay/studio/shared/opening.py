"""Editors, which are large: shown once their page is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from assay.studio import widgets as w
from assay.studio.session import Refresh


def open_editor(what: str, show: Callable[[Refresh], Awaitable[None]]) -> None:
    """Show an editor, which is large, once the page is there.

    Args:
        what: is being done until then, as "Reading the agent".
        show: shows what is edited; it is given what shows it anew.
    """
    shown = ui.element("div").classes("stack gap")

    async def reopen() -> None:
        with w.refill(shown):
            await show(reopen)

    with shown:
        w.waiting(what)
    ui.timer(0.05, reopen, once=True)
