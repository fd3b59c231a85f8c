"""What has changed since the newest verdict, as a line on the pages that show it."""

from __future__ import annotations

from dataclasses import replace

from nicegui.element import Element

from assay.errors import AssayError
from assay.project import comparisons
from assay.project.comparisons import Changes
from assay.studio import widgets as w
from assay.studio.session import PageContext


async def tell_changes(context: PageContext, place: Element, shown_last: bool) -> None:
    """Say what has changed since the newest verdict; nothing where examples cannot be divided.

    Documents are left out where the newest verdict is shown: the page warns of them beside it.
    """
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


def list_changes(found: Changes) -> list[str]:
    """What has changed, to be listed."""
    beside = {"documents": found.documents, "costs": found.costs}
    return [*found.changed, *(name for name, is_changed in beside.items() if is_changed)]


def describe_changes(changed: list[str]) -> str:
    listed = " and ".join(filter(None, (", ".join(changed[:-1]), changed[-1])))
    return f"Changed since the last comparison: {listed}."
