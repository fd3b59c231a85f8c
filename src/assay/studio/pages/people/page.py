"""Keys and people: who and what may come in, and at whose expense."""

from __future__ import annotations

from nicegui import ui

from assay.studio import widgets as w
from assay.studio.frame import Page
from assay.studio.pages.people.api_keys import keys_tab
from assay.studio.pages.people.persons import people_tab
from assay.studio.pages.people.provider_keys import providers_tab
from assay.studio.session import PageContext

PARTS = {"keys": "API keys", "providers": "Providers", "people": "People"}
_BUILD = {"keys": keys_tab, "providers": providers_tab, "people": people_tab}


async def build(context: PageContext) -> None:
    """One tab a part; `?part=` names the first to be seen."""
    wanted = ui.context.client.request.query_params.get("part", "keys")
    w.title(
        "Keys and people",
        "Programs sign in with an API key, people with a link. Secrets are shown once or never.",
    )
    panels = w.tab_panels(PARTS, wanted)
    for part, show in _BUILD.items():
        with panels[part]:
            await show(context)


PAGE = Page("/people", "Keys and people", "key", "Manage", "admin", build)
