"""Knowledge: documents that answers can rest on: brought, looked into, searched, taken out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from nicegui import ui
from nicegui.element import Element

from assay.errors import UsageError
from assay.knowledge.build import RETENTION
from assay.knowledge.excerpt import excerpt
from assay.knowledge.failures import FailedDocument
from assay.knowledge.records import Document
from assay.knowledge.search import Mode, Passage
from assay.project.knowledge import documents, searching
from assay.project.knowledge.documents import DocumentContent
from assay.studio import widgets as w
from assay.studio.dialogs import (
    advise,
    confirm,
    enter_or_click,
    errors_at,
    notify,
    query_row,
    show_record,
    type_at_once,
)
from assay.studio.frame import Page
from assay.studio.pages.knowledge.examples_warning import examples_warning
from assay.studio.pages.knowledge.upkeep import UpkeepCard
from assay.studio.session import LatestRequest, PageContext, Refresh, action, workspace_action
from assay.studio.shared.job_progress import show_edits_meanwhile
from assay.studio.shared.upload import (
    DocumentUpload,
    dismiss_failure,
    remove_document,
    show_unread,
)
from assay.studio.words import format_size, format_time

PATH = "/knowledge"
FIRST = "documents"
SHOWN = 100
"""So many documents are listed at once; a filter finds the others."""
FOUND = 5
WAYS: dict[Mode, tuple[str, str]] = {
    "bm25": (
        "By words",
        "BM25: the words that question and passage share; rare words count more.",
    ),
    "dense": (
        "By meaning",
        "Dense: embedding similarity of question and passage, whatever the words. At most 1.",
    ),
    "hybrid": (
        "By both",
        "Merges both lists by rank (reciprocal rank fusion). Agents use this by default.",
    ),
}


@dataclass(frozen=True, slots=True)
class Contents:
    """The content of a knowledge base.

    Attributes:
        unread: documents that are being read.
        behind: releases that answer from other documents, those that they were measured with.
    """

    about: dict[str, Any]
    documents: list[Document]
    failed: list[FailedDocument]
    unread: int
    behind: list[str]


@action("viewer")
def read_contents(context: PageContext, base: str) -> Contents:
    """The documents of a knowledge base, and what could not be read."""
    of = documents.base(context.workspace, base)
    unread = documents.count_unread(context.workspace, base)
    behind = searching.find_releases_behind(context.workspace, base)
    return Contents(of.describe(), of.documents(), of.failures(), unread, behind)


create_base = workspace_action("editor", documents.create)


async def build(context: PageContext) -> None:
    """The knowledge base that the address names, or the first."""
    w.title(
        "Knowledge",
        "Documents whose passages are added to a question. Facts that change belong here, not "
        "in a model's weights.",
    )
    await show_edits_meanwhile(context)
    known = await context.read(documents.names)
    wanted = ui.context.client.request.query_params.get("name")
    if not known:
        w.empty(
            "menu_book",
            "No documents yet",
            "Upload manuals, policies, price lists: anything that answers should be based on.",
        )
        if context.may("editor"):
            with w.card():
                _show_new_form(context, FIRST)
        return
    name = wanted if wanted in known else known[0]
    with w.row():
        chosen = w.field("Knowledge base", ui.select(known, value=name))
        chosen.on_value_change(lambda: ui.navigate.to(_make_path(chosen.value)))
        if context.may("editor"):
            with ui.dialog() as dialog, ui.card().classes("studio"):
                type_at_once(dialog)
                _show_new_form(context, "", dialog.close)
            w.button("Create knowledge base", dialog.open, icon="add").classes("beside-field")
    results = _show_search(context, name)

    async def refresh() -> None:
        found = await context.do(read_contents, name)
        results.clear()  # what was found may be gone
        with w.refill(listed):
            _show_documents(context, name, found, refresh)
            _show_failures(context, name, found.failed, forget)
        if upload is not None:
            upload.forget_removed({document.path for document in found.documents})

    async def forget(file: str) -> None:
        if upload is not None:
            upload.forget_failure(file)
        await refresh()

    upload = DocumentUpload(context, name, refresh) if context.may("editor") else None
    await show_unread(context, name, refresh)
    listed = ui.element("div").classes("stack gap")
    if context.may("editor"):
        UpkeepCard(context, name, refresh)
    await refresh()


def _show_new_form(
    context: PageContext, proposed: str, cancel: Callable[[], object] | None = None
) -> None:
    w.heading("New knowledge base", "Documents that belong together, under one name.")
    name = w.field(
        "Name",
        ui.input(value=proposed),
        "Letters, digits, dots, hyphens and underscores.",
        name="Name of the knowledge base",
    )

    async def make() -> None:
        called = (name.value or "").strip()
        with errors_at(name, UsageError):
            await context.do(create_base, called)
        ui.navigate.to(_make_path(called))

    enter_or_click(name, "Create", make, cancel)


def _show_search(context: PageContext, base: str) -> ui.element:
    """A search; returns where it shows what it has found."""
    latest = LatestRequest()
    with w.section(
        "Search",
        "What three ways of searching find, the best first. A score compares the passages of one "
        "column, not of two.",
    ):

        async def search(query: str) -> None:
            is_latest = latest.start()
            with w.refill(shown):
                found = await w.load(
                    "Searching", context.read(documents.search, base, query, FOUND)
                )
                if found is not None and is_latest():
                    shown.clear()
                    _show_results(found, query)

        query_row("Search for", "Search", "search", search, placeholder="How do I get a refund?")
        shown = ui.element("div").props("aria-live=polite")
    return shown


def _show_results(found: dict[Mode, list[Passage]], query: str) -> None:
    with ui.element("div").classes("three"):
        for mode, (label, meaning) in WAYS.items():
            with ui.element("div").classes("stack"):
                w.term(label, meaning)
                if not found[mode]:
                    w.text("Nothing found.", "soft note")
                for passage in found[mode]:
                    _show_passage(passage, query)


def _show_passage(passage: Passage, query: str) -> None:
    with ui.element("article").classes("passage"):
        with w.row("spread"):
            page = "" if passage.page is None else f", page {passage.page}"
            w.text(f"{passage.document}{page}", "strong note", "span")
            w.text(f"{passage.score:.3f}", "score", "span")
        if passage.heading:
            w.text(passage.heading, "soft note")
        part = excerpt(passage.text, query)
        w.text(part, "pre note excerpt")
        if part != passage.text.strip():
            with w.details("Show all"):
                w.text(passage.text, "pre note")


def _show_documents(context: PageContext, base: str, found: Contents, refresh: Refresh) -> None:
    with w.card():
        with w.row("figures"):
            w.figure(f"{found.about['documents']:,}", "documents")
            w.figure(
                f"{found.about['passages']:,}",
                "passages",
                f"Parts of at most {found.about['chunk_tokens']:,} tokens, split at headings and "
                "paragraphs.",
            )
        if found.behind:
            w.text(explain_behind(found.behind), "warn note").props("role=status")
        if not found.documents and not found.failed and not found.unread:
            w.text("This knowledge base has no documents yet.", "soft")
        if found.documents:
            examples_warning(context, base)
            shown = ui.element("div")
            if len(found.documents) > SHOWN:
                wanted = w.label_input(
                    ui.input(placeholder="Find a document").props("debounce=300 clearable"),
                    "Find a document",
                )
                wanted.on_value_change(lambda: show(wanted.value or ""))
                wanted.move(target_index=1)

            def show(part: str) -> None:
                fitting = [d for d in found.documents if part.lower() in d.path.lower()]
                with w.refill(shown):
                    _show_table(context, base, fitting[:SHOWN], refresh)
                    if len(fitting) > SHOWN:
                        w.text(f"{len(fitting) - SHOWN:,} more not shown.", "soft note")

            show("")


def _show_failures(
    context: PageContext,
    base: str,
    failed: Sequence[FailedDocument],
    dismissed: Callable[[str], Awaitable[None]],
) -> None:
    """What could not be read.

    Args:
        dismissed: called with the file whose failure was.
    """
    if not failed:
        return
    with w.section(
        "Could not be read", "These files are searched only in part or not at all.", style="lost"
    ):
        for one in failed:
            _show_failure(context, base, one, dismissed)


def _show_failure(
    context: PageContext,
    base: str,
    failed: FailedDocument,
    dismissed: Callable[[str], Awaitable[None]],
) -> None:
    async def dismiss() -> None:
        await context.do(dismiss_failure, base, failed.file)
        await dismissed(failed.file)

    with w.row("spread"):
        w.text(f"{failed.file}: {failed.reason}", "pre note")
        if context.may("editor"):
            name = f"Dismiss the failure of {failed.file}"
            w.button("Dismiss", dismiss, kind="link", name=name)


def _show_table(context: PageContext, base: str, found: list[Document], refresh: Refresh) -> None:
    with w.table(
        "Document",
        w.Number("Pages"),
        w.Number("Passages"),
        w.Number("Size"),
        "Added",
        "",
        label="Documents",
    ):
        for document in found:
            size = w.Number(f"{format_size(document.bytes)}")
            pages = "" if document.pages is None else f"{document.pages:,}"
            figures = (w.Number(f"{pages}"), w.Number(f"{document.passages:,}"), size)
            texts = (document.path, *figures, format_time(document.added_at))
            with w.cells(*texts), w.cell("acts"):
                _show_actions(context, base, document.path, refresh)


def _show_actions(context: PageContext, base: str, document: str, refresh: Refresh) -> None:
    async def erase() -> None:
        why = explain_removal(await context.read(searching.find_releases, base))
        if await confirm(f"Remove {document}?", why, "Remove"):
            learned = await context.do(remove_document, base, document)
            notify(f"{document} was removed.")
            if learned is not None:
                advise(learned)
            await refresh()

    async def look() -> None:
        reading = context.read(documents.look, base, document)
        await show_record(document, f"Reading {document}", reading, _show_document)

    w.button("View", look, kind="link", name=f"View {document}")
    if context.may("editor"):
        w.button("Remove", erase, kind="link danger", name=f"Remove {document}")


def explain_removal(releases: Sequence[str]) -> str:
    """What removing a document does, to the releases too that search its knowledge base."""
    why = (
        "Its text, its passages and, if it was uploaded, its file are deleted. Agents no longer "
        "find it."
    )
    if not releases:
        return why
    if len(releases) == 1:
        return (
            f"{why} The release {releases[0]} searches this knowledge base: it answers without the "
            "document from then on. Compare again to measure how well."
        )
    return (
        f"{why} These releases search this knowledge base: {', '.join(releases)}. They answer "
        "without the document from then on. Compare again to measure how well."
    )


def explain_behind(releases: Sequence[str]) -> str:
    """From what releases answer while the documents are others than those they were measured with.

    Args:
        releases: at least one.
    """
    names, they, answer = f"The release {releases[0]}", "it was", "answers"
    if len(releases) > 1:
        names, they, answer = f"The releases {', '.join(releases)}", "they were", "answer"
    return (
        f"{names} still {answer} from the documents that {they} measured with, not from what was "
        f"added or replaced since: for {RETENTION.days} days from the change, or until one of "
        "those documents is removed. To have answers from the present documents now, compare "
        "again and promote what was measured on them."
    )


def _scroll_area(label: str) -> Element:
    return w.set_label(ui.element("div").classes("reading").props("tabindex=0 role=region"), label)


def _show_document(found: DocumentContent) -> None:
    labels = {
        "passages": f"Passages ({len(found.passages)})",
        "text": f"Extracted text ({len(found.pages)})",
    }
    panels = w.tab_panels(labels, "passages")
    with panels["passages"], _scroll_area("Passages"):
        for passage in found.passages[:SHOWN]:
            with ui.element("article").classes("passage"):
                if where := passage.heading or (passage.page and f"Page {passage.page}"):
                    w.text(where, "soft note")
                w.text(passage.text, "pre note")
    with panels["text"], _scroll_area("Extracted text"):
        for number, page in enumerate(found.pages[:SHOWN], start=1):
            if len(found.pages) > 1:
                w.text(f"Page {number}", "soft note")
            w.text(page, "pre note")
    if max(len(found.passages), len(found.pages)) > SHOWN:
        w.text(f"Only the first {SHOWN} are shown.", "soft note")


def _make_path(name: str) -> str:
    return f"{PATH}?name={quote(name)}"  # behind the prefix, which NiceGUI puts there


PAGE = Page(PATH, "Knowledge", "menu_book", "Build", "viewer", build)
