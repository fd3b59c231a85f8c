"""Models elsewhere: endpoints and their keys, which can be put in and replaced but never read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from assay.project.settings import providers
from assay.studio.dialogs import put_away, say, sure, telling
from assay.studio.session import Visit, action
from assay.studio.widgets import (
    badge,
    button,
    card,
    cells,
    field,
    heading,
    labelled,
    named,
    row,
    table,
    text,
)

Refresh = Callable[[], Awaitable[None]]
OTHER = "Another"
KNOWN: dict[str, tuple[str, str, str]] = {
    "OpenAI": ("openai", "https://api.openai.com/v1", "openai"),
    "Anthropic": ("anthropic", "https://api.anthropic.com/v1", "anthropic"),
    "OpenRouter": ("openrouter", "https://openrouter.ai/api/v1", "openai"),
    "Mistral": ("mistral", "https://api.mistral.ai/v1", "openai"),
    OTHER: ("", "", "openai"),
}
"""Name, address and protocol of endpoints that many have."""
PROTOCOLS = {"openai": "OpenAI's chat completions", "anthropic": "Anthropic's messages"}


@action("admin")
def listed(visit: Visit) -> list[dict[str, Any]]:
    """All providers; of a key only where it comes from."""
    return providers.listed(visit.workspace.providers)


@action("admin")
def add(visit: Visit, name: str, settings: dict[str, Any], key: str | None) -> None:
    """Keep a provider and its key."""
    given = None if key is None else lambda: key
    providers.added_over_web(visit.workspace, name, settings, given)


@action("admin")
def replace_key(visit: Visit, name: str, key: str) -> None:
    """Put another key in the place of the kept one, or a first one."""
    visit.workspace.providers.by(visit.workspace.who).add(name, None, key)


@action("admin")
def agree(visit: Visit, name: str) -> None:
    """The project's rows may go there."""
    visit.workspace.providers.by(visit.workspace.who).agree(name)


@action("admin")
def remove(visit: Visit, name: str) -> None:
    """Forget settings, key and consent."""
    visit.workspace.providers.by(visit.workspace.who).remove(name)


@action("admin")
def ask_once(visit: Visit, name: str, model: str) -> dict[str, Any]:
    """One short request."""
    return providers.tested_over_web(visit.workspace, name, model)


async def provider_keys(visit: Visit) -> None:
    """The table, and a form for another one."""
    shown = ui.element("div").classes("stack gap")

    async def refresh() -> None:
        found = await visit.do(listed)
        shown.clear()
        with shown, card():
            heading("Providers", "Their models are asked for as remote:PROVIDER/MODEL.")
            if not found:
                text("There is none yet.", "soft")
                return
            with table("Name", "Address", "Key", "Your rows", "", label="Providers"):
                for line in found:
                    _line(visit, line, refresh)

    await refresh()
    _make(visit, refresh)


def _line(visit: Visit, line: dict[str, Any], refresh: Refresh) -> None:
    name = line["name"]
    with cells(name, line["base_url"], line["key"]):
        with ui.element("td"):
            badge("may go there", "good") if line["consent"] else badge("stay here")
        with ui.element("td"), row("acts"):
            _acts(visit, name, line, refresh)


def _acts(visit: Visit, name: str, line: dict[str, Any], refresh: Refresh) -> None:
    async def put() -> None:
        key = await _asked(f"Key of {name}", "New key", "Keep it", secret=True)
        if key:
            with telling():
                await visit.do(replace_key, name, key)
                say(f"The key of {name} is kept, encrypted.")
                await refresh()

    async def try_it() -> None:
        model = await _asked(f"Ask {name} for one word", "Model, as it calls it", "Ask")
        if model:
            with telling():
                told = await visit.do(ask_once, name, model)
                say(f"{name} answers in {told['seconds']:.2f} s: {told['text']}")

    async def consent() -> None:
        why = (
            f"Comparisons may then send rows of this project to {line['base_url']}, and releases "
            "what users ask. "
            "Who runs it can read them."
        )
        if await sure(f"May your rows go to {name}?", why, "They may"):
            with telling():
                await visit.do(agree, name)
                await refresh()

    async def forget() -> None:
        if await sure(f"Remove {name}?", "Its key is erased, too.", "Remove"):
            with telling():
                await visit.do(remove, name)
                say(f"{name} is removed.")
                await refresh()

    acts = [("Replace key", put), ("Test", try_it)]
    if not line["consent"]:
        acts.append(("Allow rows", consent))
    if line["described"] != "assay.yaml":
        acts.append(("Remove", forget))
    for label, act in acts:
        labelled(button(label, act, kind="link"), f"{label}: {name}")


async def _asked(title: str, label: str, yes: str, *, secret: bool = False) -> str | None:
    with ui.dialog(value=True) as dialog, ui.card().classes("studio"):
        heading(title)
        with field(label):
            asked = ui.input(password=secret)
            named(asked, label).props('autocomplete="off"')
        with row():
            button(yes, lambda: dialog.submit(asked.value), kind="primary")
            button("Cancel", lambda: dialog.submit(None))
        asked.on("keydown.enter", lambda: dialog.submit(asked.value))
    said = await dialog
    put_away(dialog)
    return None if said is None else str(said).strip()


def _make(visit: Visit, refresh: Refresh) -> None:
    with card():
        heading(
            "Add a provider",
            "Its key is encrypted, and never shown again: to nobody, in no page and no log.",
        )
        with ui.element("div").classes("split"):
            with field("Which"):
                which = ui.select(list(KNOWN), value="OpenAI")
                named(which, "Which provider")
            with field("Name", "Small letters, digits and hyphens."):
                name = ui.input(value=KNOWN["OpenAI"][0])
                named(name, "Name of the provider")
            with field("Address", "Up to and with /v1."):
                address = ui.input(value=KNOWN["OpenAI"][1])
                named(address, "Address of the provider")
            with field("It speaks"):
                protocol = ui.select(PROTOCOLS, value="openai")
                named(protocol, "Protocol of the provider")
            with field("Key", "Empty: it needs none."):
                key = ui.input(password=True)
                named(key, "Key of the provider").props('autocomplete="off"')
        inside = ui.checkbox("It is on this machine or in our own network")

        def chosen() -> None:
            name.value, address.value, protocol.value = KNOWN[which.value]

        which.on_value_change(chosen)

        async def click() -> None:
            settings: dict[str, Any] = {
                "base_url": (address.value or "").strip(),
                "protocol": protocol.value,
            }
            if inside.value:
                settings["private_network"] = True
            secret = (key.value or "").strip() or None
            with telling():
                await visit.do(add, (name.value or "").strip(), settings, secret)
                key.value = ""
                say(f"{name.value} is there.")
                await refresh()

        with row():
            button("Add it", click, kind="primary", icon="add")
