"""Fine-tuned versions: what each was made of, what differs between two, which saw a row."""

from __future__ import annotations

import json
from typing import Any

from nicegui import ui

from assay.errors import AssayError
from assay.project import versions
from assay.project.answer.names import own, owns
from assay.project.versions import SHORT
from assay.studio.dialogs import put_away, telling
from assay.studio.pages.models.export import exporting
from assay.studio.session import Newest, Visit, action
from assay.studio.widgets import (
    button,
    card,
    cells,
    empty,
    failure,
    field,
    heading,
    labelled,
    line,
    named,
    row,
    table,
    text,
    waiting,
)


@action("viewer")
def listed(visit: Visit) -> list[dict[str, Any]]:
    """Every version of the folder's project, oldest first."""
    found = versions.versions(visit.workspace.store)
    return [one for one in found if owns(visit.workspace, one["id"], visit.workspace.name)]


@action("viewer")
def facts(visit: Visit, id: str) -> dict[str, Any]:
    """What a version was made of; its files are checked against their hashes."""
    found = versions.facts(versions.version(visit.workspace.store, own(visit.workspace, id)))
    del found["folder"]  # where it lies on the server
    return found


@action("viewer")
def differ(visit: Visit, one: str, other: str) -> dict[str, Any]:
    """What two versions were made of differently."""
    first, second = own(visit.workspace, one), own(visit.workspace, other)
    return versions.diff(visit.workspace.store, first, second)


@action("viewer")
def saw(visit: Visit, example: str) -> dict[str, Any]:
    """The versions of the folder's project that were trained on a row."""
    found, workspace = visit.workspace.trained_on(example), visit.workspace
    ours = [one for one in found["versions"] if owns(workspace, one["id"], workspace.name)]
    return found | {"versions": ours}


async def model_versions(visit: Visit) -> None:
    """The table, a way out for each, and what can be asked about them."""
    found = (await visit.do(listed))[::-1]
    if not found:
        empty(
            "model_training",
            "No versions yet",
            "A training makes one: an adapter, with a record of all that made it.",
            act=("Compare", "/compare"),
        )
        return
    with card():
        heading("Versions", "Each is named by the hash of all that made it, and never changes.")
        with table("Version", "Base", "Method", "Saved", "#Validation loss", "Continues",
                   "Used by", "", label="Versions"):  # fmt: skip
            for one in found:
                _version(visit, one)
    await exporting(visit, [one["id"] for one in found])
    if len(found) > 1:
        _difference(visit, found)
    _who_saw(visit)


def _version(visit: Visit, one: dict[str, Any]) -> None:
    loss = one["metrics"].get("validation_loss")
    with (
        cells(
            one["id"][:SHORT],
            one["base"],
            one["method"] or "",
            one["saved_at"][:16].replace("T", ", ") + " UTC",
            "#" if loss is None else f"#{loss:.4f}",
            (one["parent"] or "")[:SHORT],
            ", ".join(one["agents"]),
        ),
        ui.element("td"),
    ):
        look = button("Look", lambda: _look(visit, one["id"]), kind="link")
        labelled(look, f"Look at {one['id'][:SHORT]}")


async def _look(visit: Visit, id: str) -> None:
    with ui.dialog(value=True) as dialog, ui.card().classes("studio wide-dialog"):
        heading(f"Version {id[:SHORT]}", "All that made it. Its files were checked just now.")
        loading = waiting("Checking its files")
        try:
            found = await visit.do(facts, id)
        except AssayError as error:
            loading.delete()
            failure(error)
        else:
            loading.delete()
            with (
                ui.element("div").classes("reading"),
                table("What", "Is", label=f"What made {id[:SHORT]}"),
            ):
                for name, value in found.items():
                    line(name, "unknown" if value is None else _told(value))
        with row():
            button("Close", dialog.close)
    await dialog
    put_away(dialog)


def _difference(visit: Visit, found: list[dict[str, Any]]) -> None:
    labels = {one["id"]: f"{one['id'][:SHORT]}, {one['saved_at'][:10]}" for one in found}
    ids = list(labels)
    with card():
        heading("What two were made of differently")
        with row():
            with field("The one"):
                one = ui.select(labels, value=ids[1])
                named(one, "The one version")
            with field("The other"):
                other = ui.select(labels, value=ids[0])
                named(other, "The other version")
            button("Compare them", lambda: show(), kind="primary").classes("beside-field")
        shown = ui.element("div").classes("stack").props("aria-live=polite")

        newest = Newest()

        async def show() -> None:
            is_newest = newest.begun()
            with telling():
                said = await visit.do(differ, str(one.value), str(other.value))
                if not is_newest():
                    return
                shown.clear()
                with shown:
                    _differences(said)


def _differences(said: dict[str, Any]) -> None:
    if not said["fields"]:
        text("The records say the same.", "soft")
    else:
        heads = said["first"][:SHORT], said["second"][:SHORT]
        with table("What", *heads, label="Differences"):
            for path, (before, after) in said["fields"].items():
                line(path, _told(before), _told(after))
    for part, only in said["rows"].items():
        if any(only.values()):
            text(
                f"{part}: {only['only_first']:,} rows only in the first, "
                f"{only['only_second']:,} only in the second."
            )


def _who_saw(visit: Visit) -> None:
    with card():
        heading(
            "Who saw a row",
            "A version remembers what it was trained on, also after the row is deleted.",
        )
        with row("ask"):
            wanted = ui.input(placeholder="id of an example, or the hash of its content")
            named(wanted, "Id of an example")

            async def ask() -> None:
                example = (wanted.value or "").strip()
                if not example:
                    return
                shown.clear()
                with telling():
                    found = await visit.do(saw, example)
                    with shown:
                        _seen(example, found)

            wanted.on("keydown.enter", ask)
            button("Find them", ask, kind="primary", icon="search")
        shown = ui.element("div").classes("stack").props("aria-live=polite")


def _seen(example: str, found: dict[str, Any]) -> None:
    if not found["versions"]:
        text(f"No version saw {example}.")
    for one in found["versions"]:
        used = f", used by {', '.join(one['agents'])}" if one["agents"] else ""
        text(f"{one['id'][:SHORT]}: {', '.join(one['as'])}{used}")
    if found["unknown"]:
        text(
            f"Of {len(found['unknown'])} older versions it is not known which rows they saw.",
            "soft note",
        )


def _told(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
