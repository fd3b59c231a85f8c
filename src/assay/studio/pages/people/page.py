"""Keys and people: who and what may come in, and at whose expense."""

from __future__ import annotations

from nicegui import ui

from assay.studio.frame import Page
from assay.studio.pages.people.api_keys import api_keys
from assay.studio.pages.people.persons import persons
from assay.studio.pages.people.provider_keys import provider_keys
from assay.studio.session import Visit
from assay.studio.widgets import title

PARTS = {"keys": "API keys", "providers": "Providers", "people": "People"}
_BUILD = {"keys": api_keys, "providers": provider_keys, "people": persons}


async def build(visit: Visit) -> None:
    """One tab a part; `?part=` names the first to be seen."""
    wanted = ui.context.client.request.query_params.get("part", "keys")
    title(
        "Keys and people",
        "Programs come in with a key, people by a link. What is secret is shown once, or never.",
    )
    with ui.tabs().props("no-caps dense align=left") as tabs:
        for part, label in PARTS.items():
            ui.tab(part, label)
    with ui.tab_panels(tabs, value=wanted if wanted in PARTS else "keys", animated=False):
        for part, show in _BUILD.items():
            with ui.tab_panel(part), ui.element("div").classes("stack gap"):
                await show(visit)


PAGE = Page("/people", "Keys and people", "key", "Manage", "admin", build)
