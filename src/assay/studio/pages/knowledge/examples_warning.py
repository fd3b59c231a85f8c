"""The warning that documents hold the examples, which is found once the page is there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from weakref import WeakValueDictionary

from nicegui import background_tasks, ui
from nicegui.element import Element

from assay.errors import AssayError
from assay.project.knowledge.example_search import warn_of_examples
from assay.studio import widgets as w
from assay.studio.session import PageContext

SEARCHING = "Searching the documents for the examples …"
SLOW_S = 1.5
"""A search that takes longer is told: nothing is not yet an answer."""
_SEARCHES: WeakValueDictionary[tuple[Path, str], asyncio.Lock] = WeakValueDictionary()
"""Held while a knowledge base is searched. Who waits for one takes no thread."""


def examples_warning(context: PageContext, base: str) -> None:
    """A place where it is said, soon, that the documents hold the examples, if they do."""
    place = ui.element("div").classes("stack").props("role=status")
    with place:
        searching = w.text(SEARCHING, "soft note")
    searching.set_visibility(False)

    async def tell() -> None:
        # By a task of its own: the search of a page that is left goes on, and another page's begins
        # when it has ended, with what it found.
        search = background_tasks.create(_search(context, base, place), name="search examples")
        warning = await asyncio.shield(search)
        if not place.is_deleted:
            with w.refill(place):
                if warning is not None:
                    w.text(warning, "warn note")

    ui.timer(0.1, tell, once=True)
    # Before, it would come and go in a moment on most pages.
    ui.timer(
        SLOW_S,
        lambda: None if searching.is_deleted else searching.set_visibility(True),
        once=True,
    )


async def _search(context: PageContext, base: str, place: Element) -> str | None:
    """The warning; None, too, where nobody looks any more, or may."""
    async with _SEARCHES.setdefault((context.workspace.root, base), asyncio.Lock()):
        if place.is_deleted:
            return None
        try:
            return await context.read(warn_of_examples, base)
        except AssayError:  # of a bug the log tells
            return None
