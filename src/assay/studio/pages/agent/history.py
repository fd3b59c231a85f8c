"""The versions of an agent: who saved what and why, what differs, and the way back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from assay.agent.versions import AgentVersion
from assay.project import agents
from assay.studio.dialogs import say, telling
from assay.studio.session import Newest, Visit, action
from assay.studio.shared.differences import lines_changed
from assay.studio.widgets import (
    badge,
    button,
    card,
    cells,
    field,
    heading,
    labelled,
    moment,
    named,
    row,
    somebody,
    table,
    text,
)


@action("viewer")
def versions(visit: Visit, name: str) -> list[AgentVersion]:
    """All of an agent, newest first."""
    return agents.history(visit.workspace, name)


@action("viewer")
def differ(visit: Visit, one: str, other: str) -> dict[str, Any]:
    """What two versions say differently."""
    return agents.diff(visit.workspace, one, other)


@action("editor")
def roll_back(visit: Visit, name: str, to: int) -> AgentVersion:
    """Make an earlier version the newest one again."""
    return agents.rollback(visit.workspace, name, to)


async def history(visit: Visit, name: str, reopen: Callable[[], Awaitable[None]]) -> None:
    """All versions, and the difference of two of them."""
    found = await visit.do(versions, name)

    async def back(version: int) -> None:
        with telling():
            made = await visit.do(roll_back, name, version)
            say(f"{made.label} says what {name}@{version} says.")
            await reopen()

    with card():
        heading("Versions", "Every save is kept. Going back makes a new version of an old one.")
        with table("Version", "Saved", "By", "Why", "", label="Versions"):
            for number, version in enumerate(found):
                with (
                    cells(
                        version.label, moment(version.at), somebody(version.author), version.message
                    ),
                    ui.element("td"),
                ):
                    if number == 0:
                        badge("newest", "good")
                    elif visit.may("editor"):
                        go = button("Go back to it", _bound(back, version.version), kind="link")
                        labelled(go, f"Go back to {version.label}")
    if len(found) > 1:
        await _difference(visit, [version.label for version in found])


def _bound(act: Callable[[int], Awaitable[None]], version: int) -> Callable[[], Awaitable[None]]:
    return lambda: act(version)


async def _difference(visit: Visit, labels: list[str]) -> None:
    with card():
        heading("What changed")
        with row():
            with field("From"):
                one = ui.select(labels, value=labels[1])
                named(one, "From version")
            with field("To"):
                other = ui.select(labels, value=labels[0])
                named(other, "To version")
        shown = ui.element("div").classes("stack")

        newest = Newest()

        async def show() -> None:
            is_newest = newest.begun()
            with telling():
                found = await visit.do(differ, one.value, other.value)
                if not is_newest():
                    return
                shown.clear()
                with shown:
                    if names := list(found["fields"]):
                        text(f"Settings: {', '.join(names)}.", "soft note")
                    lines_changed(*found["texts"])

        one.on_value_change(show)
        other.on_value_change(show)
        await show()
