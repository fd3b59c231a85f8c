"""Fine-tuned versions: what each was made of, what differs between two, which saw a row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from nicegui import ui

from assay.project import versions
from assay.project.answer.names import own, owns
from assay.project.versions import SHORT
from assay.quantities import say_count, say_number
from assay.studio import widgets as w
from assay.studio.dialogs import query_row, show_record
from assay.studio.pages.models.export import export_card
from assay.studio.session import LatestRequest, PageContext, action
from assay.studio.shared.names import method_names, plain_labels, typed_term, version_names
from assay.studio.words import format_time

REMOVED = "one that was removed"


@action("viewer")
def list_versions(context: PageContext) -> list[dict[str, Any]]:
    """Every version of the folder's project, oldest first."""
    found = versions.versions(context.workspace.store)
    return [one for one in found if owns(context.workspace, one["id"], context.workspace.name)]


@action("viewer")
def read_facts(context: PageContext, id: str) -> dict[str, Any]:
    """What a version was made of; its files are checked against their hashes."""
    version = versions.version(context.workspace.store, own(context.workspace, id))
    found = versions.facts(version | {"agents": plain_labels(version["agents"]).values()})
    del found["folder"]  # where it lies on the server
    found["bytes"] = f"{found['bytes']:,}"
    return found


@action("viewer")
def compare_versions(context: PageContext, one: str, other: str) -> dict[str, Any]:
    """What two versions were made of differently."""
    first, second = own(context.workspace, one), own(context.workspace, other)
    return versions.diff(context.workspace.store, first, second)


@action("viewer")
def find_trained_on(context: PageContext, example: str) -> dict[str, Any]:
    """The versions of the folder's project that were trained on a row, and what all are called."""
    found, names = context.workspace.find_uses(example), _call(list_versions(context))
    ours = [one for one in found["versions"] if one["id"] in names]
    return found | {"versions": ours, "names": names}


def _call(found: Sequence[dict[str, Any]]) -> dict[str, str]:
    return version_names({one["id"]: datetime.fromisoformat(one["saved_at"]) for one in found})


async def versions_tab(context: PageContext) -> None:
    """The table, a way out for each, and what can be asked about them."""
    found = (await context.do(list_versions))[::-1]
    if not found:
        w.empty(
            "model_training",
            "No versions yet",
            "A training creates one, with a record of everything that went into it.",
            act=("Compare", "/compare") if context.may("editor") else None,
        )
        await export_card(context, {})
        return
    names = _call(found)
    with (
        w.section(
            "Versions",
            "A version never changes: another training makes another version. The lower its "
            "validation loss, the better it fits examples that it was not trained on.",
        ),
        w.table(
            "Version",
            "Base model",
            "Method",
            w.Number("Validation loss"),
            "Continued from",
            "Used by",
            "",
            label="Versions",
        ),
    ):
        for one in found:
            _show_version(context, one, names)
    await export_card(context, names)
    if len(found) > 1:
        _show_comparison(context, names)
    _show_row_search(context)


def _show_version(context: PageContext, one: dict[str, Any], names: Mapping[str, str]) -> None:
    loss, parent = one["metrics"].get("validation_loss"), one["parent"]
    with ui.element("tr"):
        with ui.element("td"):
            _show_name(one["id"], names)
        w.text(one["base"], tag="td")
        w.text(method_names().get(one["method"], one["method"] or ""), tag="td")
        w.text("" if loss is None else f"{loss:.4f}", "number", "td")
        with ui.element("td"):
            if parent:
                _show_name(parent, names)
        with ui.element("td"):
            for label, plain in plain_labels(one["agents"]).items():
                with ui.element("div"):
                    typed_term(plain, label)
        with ui.element("td"):
            w.button(
                "View",
                lambda: _show_facts(context, one["id"], names),
                kind="link",
                name=f"View {names[one['id']]}",
            )


def _show_name(id: str, names: Mapping[str, str]) -> None:
    typed_term(names.get(id, REMOVED), id[:SHORT])


async def _show_facts(context: PageContext, id: str, names: Mapping[str, str]) -> None:
    def show(found: dict[str, Any]) -> None:
        with (
            ui.element("div").classes("reading"),
            w.table("Property", "Value", label=f"Record of {names[id]}"),
        ):
            for name, value in found.items():
                value = names.get(value, value) if name == "parent" else value
                w.line(name, "unknown" if value is None else _format_value(value))

    await show_record(
        names[id],
        "Checking the files",
        context.do(read_facts, id),
        show,
        under="Everything that went into it. Its files have just been verified.",
    )


def _show_comparison(context: PageContext, names: dict[str, str]) -> None:
    ids = list(names)
    with w.section("Compare two versions", "Shows the settings and rows that differ."):
        with w.row():
            one = w.field("First", ui.select(names, value=ids[1]), name="First version")
            other = w.field("Second", ui.select(names, value=ids[0]), name="Second version")
            w.button("Compare", lambda: show(), kind="primary").classes("beside-field")
        shown = ui.element("div").classes("stack").props("aria-live=polite")

        latest = LatestRequest()

        async def show() -> None:
            is_latest = latest.start()
            diff = await context.do(compare_versions, str(one.value), str(other.value))
            if not is_latest():
                return
            with w.refill(shown):
                _show_differences(diff, names)


def _show_differences(diff: dict[str, Any], names: Mapping[str, str]) -> None:
    if not diff["fields"]:
        w.text("The two records are identical.", "soft")
    else:
        heads = names[diff["first"]], names[diff["second"]]
        with w.table("Property", *heads, label="Differences"):
            for path, (before, after) in diff["fields"].items():
                if path == "parent":
                    before, after = names.get(before, before), names.get(after, after)
                w.line(path, _format_value(before), _format_value(after))
    for part, only in diff["rows"].items():
        if any(only.values()):
            w.text(
                f"{part}: {say_count(only['only_first'], 'row')} only in the first, "
                f"{only['only_second']:,} only in the second."
            )


def _show_row_search(context: PageContext) -> None:
    with w.section(
        "Which versions trained on this row?",
        "A version records what it was trained on, even after the row is deleted.",
    ):

        async def search(example: str) -> None:
            shown.clear()
            found = await context.do(find_trained_on, example)
            with shown:
                _show_trained_on(example, found)

        query_row(
            "Example ID",
            "Find versions",
            "search",
            search,
            placeholder="Example ID or content hash",
        )
        shown = ui.element("div").classes("stack").props("aria-live=polite")


def _show_trained_on(example: str, found: dict[str, Any]) -> None:
    if not found["versions"]:
        w.text(f"No version used {example}.")
    for one in found["versions"]:
        users = ", ".join(plain_labels(one["agents"]).values())
        used = f", used by {users}" if users else ""
        w.text(f"{found['names'][one['id']]}: {', '.join(one['as'])}{used}")
    if found["agents"]:
        held = ", ".join(plain_labels(found["agents"]).values())
        w.text(f"Agents that show it, look it up or learned from it: {held}.")
    if found["unknown"]:
        w.text(
            f"Older versions without a record of the rows they used: {len(found['unknown'])}.",
            "soft note",
        )


def _format_value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, float):
        return say_number(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
