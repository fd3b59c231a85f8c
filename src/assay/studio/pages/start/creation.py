"""A project that is being created."""

from __future__ import annotations

from nicegui import ui

from assay.project.start.running_creation import Creation, read_creation
from assay.studio import widgets as w
from assay.studio.session import PageContext

LOOK_EVERY_S = 1.0


def creation_card(context: PageContext, found: Creation, *, is_awaited: bool = False) -> None:
    """Follows the creation until it is over; then the page is loaded again and shows what came of
    it.

    Args:
        is_awaited: whoever shows the card waits for the end, and takes it away.
    """
    title = "Creating the project"
    with w.section(title, "You can close this page: the project is created all the same."):
        doing = w.text("", "soft").props("role=status")
        bar = w.bar(None, title)

    def show(now: Creation) -> None:
        doing.text = f"{now.doing.removesuffix('.')} …"
        w.set_bar(bar, now.share)

    async def update() -> None:
        now = await context.read(read_creation)
        if now is not None and now.error is None:
            show(now)
        elif not is_awaited:
            timer.cancel()
            ui.navigate.reload()

    show(found)
    timer = ui.timer(LOOK_EVERY_S, update)
