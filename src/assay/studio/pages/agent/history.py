"""The versions of an agent: who saved what and why, what differs, and the way back."""

from __future__ import annotations

from nicegui import ui

from assay.accounts.authors import format_author
from assay.project import agents
from assay.studio import widgets as w
from assay.studio.dialogs import notify
from assay.studio.session import LatestRequest, PageContext, Refresh, workspace_action
from assay.studio.shared.differences import show_differences
from assay.studio.words import format_time

roll_back_agent = workspace_action("editor", agents.rollback)


async def history_tab(context: PageContext, name: str, reopen: Refresh) -> None:
    """All versions, and the difference of two of them."""
    found = await context.read(agents.history, name)

    async def back(version: int) -> None:
        made = await context.do(roll_back_agent, name, version)
        notify(f"Version {version} was restored as version {made.version}.")
        await reopen()

    with (
        w.section(
            "Versions",
            "Every save is kept. Restoring an old version creates a new one with its content.",
        ),
        w.table("Version", "Saved", "By", "Change", "", label="Versions"),
    ):
        for number, version in enumerate(found):
            with (
                w.cells(
                    f"Version {version.version}",
                    format_time(version.at),
                    format_author(version.author),
                    version.message,
                ),
                ui.element("td"),
            ):
                if number == 0:
                    w.badge("newest", "good")
                elif context.may("editor"):
                    w.button(
                        "Restore",
                        lambda number=version.version: back(number),
                        kind="link",
                        name=f"Restore version {version.version}",
                    )
    if len(found) > 1:
        await _show_difference(context, {one.label: f"Version {one.version}" for one in found})


async def _show_difference(context: PageContext, labels: dict[str, str]) -> None:
    newest, before, *_ = labels
    with w.section("What changed"):
        with w.row():
            one = w.field("From", ui.select(labels, value=before), name="From version")
            other = w.field("To", ui.select(labels, value=newest), name="To version")
        shown = ui.element("div").classes("stack")

        latest = LatestRequest()

        async def show() -> None:
            is_latest = latest.start()
            found = await context.read(agents.diff, one.value, other.value)
            if not is_latest():
                return
            with w.refill(shown):
                if names := list(found["fields"]):
                    w.text(f"Changed settings: {', '.join(names)}.", "soft note")
                show_differences(*found["texts"])

        one.on_value_change(show)
        other.on_value_change(show)
        await show()
