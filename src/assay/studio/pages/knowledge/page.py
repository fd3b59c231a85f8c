"""Knowledge: documents that answers can rest on: brought, looked into, searched, taken out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from nicegui import ui
from nicegui.element import Element

from assay.errors import AssayError
from assay.knowledge.records import Document, Failed
from assay.knowledge.search import Mode, Passage
from assay.project.knowledge import documents
from assay.project.knowledge.documents import Inside
from assay.studio.dialogs import put_away, say, sure, telling
from assay.studio.frame import Page
from assay.studio.pages.knowledge.upkeep import Upkeep
from assay.studio.session import Newest, Visit, action
from assay.studio.shared.upload import Bringing
from assay.studio.widgets import (
    button,
    card,
    cells,
    empty,
    failure,
    field,
    figure,
    heading,
    labelled,
    moment,
    named,
    row,
    table,
    term,
    text,
    title,
    waiting,
)

PATH = "/knowledge"
FIRST = "documents"
SHOWN = 100
"""So many documents are listed at once; a filter finds the others."""
FOUND = 5
WAYS: dict[Mode, tuple[str, str]] = {
    "bm25": (
        "By words",
        "BM25: rare words of the question that stand in the passage, as in a library's index.",
    ),
    "dense": (
        "By meaning",
        "Dense: how near question and passage lie in an embedding, whatever the words. At most 1.",
    ),
    "hybrid": (
        "Both, fused",
        "Each list votes by its ranks (reciprocal rank fusion). What agents use unless told.",
    ),
}
Refresh = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a knowledge base."""

    about: dict[str, Any]
    documents: list[Document]
    failed: list[Failed]


@action("viewer")
def names(visit: Visit) -> list[str]:
    """Of all knowledge bases."""
    return documents.names(visit.workspace)


@action("viewer")
def contents(visit: Visit, base: str) -> Contents:
    """What is in one."""
    of = documents.base(visit.workspace, base)
    return Contents(of.describe(), of.documents(), of.failures())


@action("viewer")
def look(visit: Visit, base: str, document: str) -> Inside:
    """What a document came to."""
    return documents.look(visit.workspace, base, document)


@action("viewer")
def search(visit: Visit, base: str, query: str) -> dict[Mode, list[Passage]]:
    """The passages of a query, by each way."""
    return documents.search(visit.workspace, base, query, FOUND)


@action("editor")
def create(visit: Visit, base: str) -> None:
    """Make another one."""
    documents.create(visit.workspace, base)


@action("editor")
def remove(visit: Visit, base: str, document: str) -> None:
    """Erase a document."""
    documents.remove(visit.workspace, base, document)


async def build(visit: Visit) -> None:
    """The knowledge base that the address names, or the first."""
    title(
        "Knowledge",
        "Documents whose passages are put before a question. Facts that change belong here, not "
        "into a model's weights.",
    )
    known = await visit.do(names)
    wanted = ui.context.client.request.query_params.get("name")
    if not known:
        empty(
            "menu_book",
            "No documents yet",
            "Bring manuals, policies, price lists: whatever an answer should rest on.",
        )
        if visit.may("editor"):
            with card():
                _new(visit, FIRST)
        return
    name = wanted if wanted in known else known[0]
    with row():
        with field("Knowledge base"):
            chosen = ui.select(known, value=name)
            named(chosen, "Knowledge base")
            chosen.on_value_change(lambda: ui.navigate.to(_address(chosen.value)))
        if visit.may("editor"):
            with ui.dialog() as dialog, ui.card().classes("studio"):
                _new(visit, "")
            button("New", dialog.open, icon="add").classes("beside-field")
    _search(visit, name)

    async def refresh() -> None:
        with telling():
            found = await visit.do(contents, name)
            listed.clear()
            with listed:
                _documents(visit, name, found, refresh)

    if visit.may("editor"):
        Bringing(visit, name, refresh)
    listed = ui.element("div").classes("stack gap")
    await refresh()
    if visit.may("editor"):
        Upkeep(visit, name, refresh)


def _new(visit: Visit, proposed: str) -> None:
    heading("New knowledge base", "Documents that belong together, under one name.")
    with field("Name", "Letters, digits, dots and hyphens."):
        name = ui.input(value=proposed)
        named(name, "Name of the knowledge base")

    async def make() -> None:
        with telling():
            called = (name.value or "").strip()
            await visit.do(create, called)
            ui.navigate.to(_address(called))

    name.on("keydown.enter", make)
    with row():
        button("Make it", make, kind="primary")


def _search(visit: Visit, base: str) -> None:
    newest = Newest()
    with card():
        heading("Search", "What would be found, by each way of searching, with its scores.")
        with row("ask"):
            query = ui.input(placeholder="How do I get a refund?")
            named(query, "Search for")

            async def go() -> None:
                words = (query.value or "").strip()
                if not words:
                    return
                shown.clear()
                with shown:
                    waiting("Searching")
                answered, is_newest = False, newest.begun()
                with telling():
                    found = await visit.do(search, base, words)
                    if not is_newest():
                        return
                    shown.clear()
                    with shown:
                        _found(found)
                    answered = True
                if not answered and is_newest():
                    shown.clear()

            query.on("keydown.enter", go)
            button("Search", go, kind="primary", icon="search")
        shown = ui.element("div").props("aria-live=polite")


def _found(found: dict[Mode, list[Passage]]) -> None:
    with ui.element("div").classes("three"):
        for mode, (label, meaning) in WAYS.items():
            with ui.element("div").classes("stack"):
                term(label, meaning)
                if not found[mode]:
                    text("Nothing.", "soft note")
                for passage in found[mode]:
                    with ui.element("article").classes("passage"):
                        with row("spread"):
                            text(_where(passage), "strong note", "span")
                            text(f"{passage.score:.3f}", "score", "span")
                        if passage.heading:
                            text(passage.heading, "soft note")
                        text(passage.text, "pre note clamped").props("tabindex=0")


def _where(passage: Passage) -> str:
    return passage.document + (f", page {passage.page}" if passage.page is not None else "")


def _documents(visit: Visit, base: str, found: Contents, refresh: Refresh) -> None:
    with card():
        with row("figures"):
            figure(f"{found.about['documents']:,}", "documents")
            figure(
                f"{found.about['passages']:,}",
                "passages",
                "Pieces of at most some 200 tokens, cut where headings and paragraphs end.",
            )
        if not found.documents and not found.failed:
            text("Nothing is in it yet.", "soft")
            return
        if found.documents:
            shown = ui.element("div")
            if len(found.documents) > SHOWN:
                wanted = ui.input(placeholder="Find a document").props("debounce=300 clearable")
                named(wanted, "Find a document")
                wanted.on_value_change(lambda: show(wanted.value or ""))
                wanted.move(target_index=1)

            def show(part: str) -> None:
                fitting = [d for d in found.documents if part.lower() in d.path.lower()]
                shown.clear()
                with shown:
                    _table(visit, base, fitting[:SHOWN], refresh)
                    if len(fitting) > SHOWN:
                        text(f"And {len(fitting) - SHOWN:,} more.", "soft note")

            show("")
    if found.failed:
        with card("lost"):
            heading("Could not be read", "Of these files nothing, or not all, is searched.")
            for failed in found.failed:
                text(f"{failed.file}: {failed.reason}", "pre note")


def _table(visit: Visit, base: str, found: list[Document], refresh: Refresh) -> None:
    with table("Document", "#Pages", "#Passages", "#Size", "Added", "", label="Documents"):
        for document in found:
            size = f"#{document.bytes / 1e6:.1f} MB"
            if document.bytes < 1e5:
                size = f"#{document.bytes / 1e3:.0f} kB"
            pages = "" if document.pages is None else f"{document.pages:,}"
            figures = (f"#{pages}", f"#{document.passages:,}", size)
            said = (document.path, *figures, moment(document.added_at))
            with cells(*said), ui.element("td"), row("acts"):
                _acts(visit, base, document.path, refresh)


def _acts(visit: Visit, base: str, document: str, refresh: Refresh) -> None:
    async def away() -> None:
        why = "It is erased: its file, its text, its passages. Agents find it no more."
        if await sure(f"Remove {document}?", why, "Remove"):
            with telling():
                await visit.do(remove, base, document)
                say(f"{document} is removed.")
                await refresh()

    async def inside() -> None:
        with ui.dialog(value=True) as dialog, ui.card().classes("studio wide-dialog"):
            heading(document)
            loading = waiting("Reading it")
            try:
                found = await visit.do(look, base, document)
            except AssayError as error:
                loading.delete()
                failure(error)
            else:
                loading.delete()
                _inside(found)
            with row():
                button("Close", dialog.close)
        await dialog
        put_away(dialog)

    labelled(button("Look", inside, kind="link"), f"Look into {document}")
    if visit.may("editor"):
        labelled(button("Remove", away, kind="link"), f"Remove {document}")


def _reading(label: str) -> Element:
    return labelled(ui.element("div").classes("reading").props("tabindex=0 role=region"), label)


def _inside(found: Inside) -> None:
    with ui.tabs().props("no-caps dense align=left") as tabs:
        ui.tab("passages", f"Passages ({len(found.passages)})")
        ui.tab("text", f"Text as it was read ({len(found.pages)})")
    with ui.tab_panels(tabs, value="passages", animated=False):
        with ui.tab_panel("passages"), _reading("Passages"):
            for passage in found.passages[:SHOWN]:
                with ui.element("article").classes("passage"):
                    if where := passage.heading or (passage.page and f"Page {passage.page}"):
                        text(where, "soft note")
                    text(passage.text, "pre note")
        with ui.tab_panel("text"), _reading("Text as it was read"):
            for number, page in enumerate(found.pages[:SHOWN], start=1):
                if len(found.pages) > 1:
                    text(f"Page {number}", "soft note")
                text(page, "pre note")
    if max(len(found.passages), len(found.pages)) > SHOWN:
        text(f"The first {SHOWN} are shown.", "soft note")


def _address(name: str) -> str:
    return f"{PATH}?name={quote(name)}"  # behind the prefix, which NiceGUI puts there


PAGE = Page(PATH, "Knowledge", "menu_book", "Build", "viewer", build)
