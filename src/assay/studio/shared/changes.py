"""What has changed since the newest verdict, as a line on the pages that show it."""

from __future__ import annotations

from dataclasses import replace

from nicegui import ui
from nicegui.element import Element

from assay.errors import AssayError
from assay.project import comparisons
from assay.project.comparisons import Changes
from assay.studio import widgets as w
from assay.studio.session import PageContext

LOOKING = "Looking for what has changed since the last comparison …"
SLOW_S = 1.5
"""A look that takes longer is told: nothing is not yet an answer."""


def changes_line(context: PageContext, *, shown_last: bool, link: bool = False) -> None:
    """A place where it is said, soon, what has changed since the newest verdict: to find out may
    take a while, and may divide the examples anew.

    Args:
        shown_last: the newest verdict is shown: the page warns beside it of changed documents,
            which are left out here.
        link: to where one compares again, which is on another page.
    """
    place = ui.element("div")
    place.set_visibility(False)
    with place:
        looking = w.text(LOOKING, "soft note").props("role=status")

    async def tell() -> None:
        await tell_changes(context, place, shown_last=shown_last, link=link)
        if not place.is_deleted:
            looking.delete()

    ui.timer(0.05, tell, once=True)
    # Before, it would come and go in a moment on most pages.
    ui.timer(SLOW_S, lambda: None if looking.is_deleted else place.set_visibility(True), once=True)


async def tell_changes(
    context: PageContext, place: Element, *, shown_last: bool, link: bool = False
) -> None:
    """Say it at a place, see `changes_line`; nothing where examples cannot be divided."""
    try:
        found = await context.read(comparisons.changes)
    except AssayError:
        return
    if place.is_deleted:
        return
    if changed := list_changes(replace(found, documents=found.documents and not shown_last)):
        said = f"{describe_changes(changed)} The newest verdict is from before."
        if found.opening is None:
            said += " Comparing again does not open the holdout."
        place.set_visibility(True)
        with place:
            w.text(said, "warn")
            if link and context.may("editor"):
                w.link("Compare again on the page Compare", "/compare")


def list_changes(found: Changes) -> list[str]:
    """What has changed, to be listed."""
    beside = {"documents": found.documents, "costs": found.costs}
    return [*found.changed, *(name for name, is_changed in beside.items() if is_changed)]


def describe_changes(changed: list[str]) -> str:
    listed = " and ".join(filter(None, (", ".join(changed[:-1]), changed[-1])))
    return f"Changed since the last comparison: {listed}."
