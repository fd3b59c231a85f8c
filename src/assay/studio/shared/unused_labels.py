"""Labels that no row has any more, with a button that takes them out."""

from __future__ import annotations

from nicegui import ui

from assay.data.contents import quote_label
from assay.project.settings import unused_labels
from assay.studio import widgets as w
from assay.studio.dialogs import advise, notify
from assay.studio.session import PageContext, Refresh, workspace_action

remove_labels = workspace_action("editor", unused_labels.remove_unused_labels)


def show_unused_labels(context: PageContext, refresh: Refresh) -> None:
    """Say so a moment later, where there are any; the page is shown anew once they are gone."""
    box = ui.element("div").classes("stack")
    box.set_visibility(False)

    async def remove() -> None:
        left = await context.do(remove_labels)
        notify("The labels were changed in Settings.")
        advise_of_prompt(left, "The system prompt in Settings")
        await refresh()

    async def show() -> None:
        labels = await context.read(unused_labels.find_unused_labels)
        if box.is_deleted or not labels:
            return
        box.set_visibility(True)
        with box:
            tell_unused_labels(labels, remove if context.may("editor") else None)

    with box:
        ui.timer(0.05, show, once=True)


def tell_unused_labels(labels: list[str], remove: Refresh | None) -> None:
    """Name them, with a button that takes them out; None: this person may not."""
    w.text(unused_labels.describe_unused(labels), "warn note")
    if remove is not None:
        with w.row():
            label = "Take it out" if len(labels) == 1 else "Take them out"
            w.button(label, remove, icon="delete")


def advise_of_prompt(labels: list[str], prompt: str) -> None:
    """Say that the system prompt, named so, still speaks of labels, where it does."""
    if labels:
        advise(f"{prompt} still mentions {', '.join(map(quote_label, labels))}. Correct it there.")
