"""A project that is being created, on a page that was opened meanwhile."""

from __future__ import annotations

from nicegui import ui

from assay.project.start.running_creation import Creation, read_creation
from assay.studio import widgets as w
from assay.studio.session import PageContext

LOOK_EVERY_S = 1.0


def creation_card(context: PageContext, found: Creation) -> None:
    """Follows the creation until it is over; then the page is loaded again and shows what came of
    it."""
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
            return
        timer.cancel()
        ui.navigate.reload()

    show(found)
    timer = ui.timer(LOOK_EVERY_S, update)
