"""Files that a browser sends; documents, many at once, each with what became of it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from nicegui import background_tasks, events, ui
from nicegui.elements.mixins.text_element import TextElement
from nicegui.elements.upload_files import FileUpload

from assay.errors import AssayError
from assay.knowledge.sources import SourceFile
from assay.project.knowledge import documents
from assay.studio import widgets as w
from assay.studio.dialogs import advise, show_error
from assay.studio.session import PageContext, workspace_action
from assay.studio.shared.job_progress import ProgressState
from assay.studio.shared.numbers import say_count

QUIET_S = 0.8
"""Files that come within so long of each other are taken in together: one build for all."""
SHOWN_EVERY_S = 0.3
UNREAD_EVERY_S = 1.0

keep_document = workspace_action("editor", documents.keep)
index_documents = workspace_action("editor", documents.add)


def file_picker(
    label: str,
    on_file: Callable[[events.UploadEventArguments], Any] | None = None,
    *,
    on_files: Callable[[events.MultiUploadEventArguments], Any] | None = None,
    style: str = "picked-only",
    kind: str = "",
    icon: str = "folder_open",
    accept: str = "",
    multiple: bool = False,
    most: int | None = None,
    refusal: str = "This file is too large.",
) -> ui.upload:
    """A button that opens the browser's dialog for files, and a place to drop them on.

    Args:
        on_files: takes several files at once.
        style: `drop-target` where files can be dropped; else only the button is seen.
        accept: endings that may be chosen, with commas between them; empty: any.
        most: files at a time.
        refusal: shown where a file is not accepted.
    """
    upload = ui.upload(
        on_upload=on_file,
        on_multi_upload=on_files,
        auto_upload=True,
        multiple=multiple,
        max_files=most,
    ).classes(style)
    if accept:
        upload.props["accept"] = accept
    upload.on("rejected", lambda: advise(refusal))
    with w.row():
        w.button(label, lambda: upload.run_method("pickFiles"), kind=kind, icon=icon)
    return upload


@asynccontextmanager
async def save_files(files: Sequence[FileUpload]) -> AsyncIterator[list[Path]]:
    """Files of a browser on disk, with their endings, while they are used; errors name them as the
    browser does."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            Path(folder) / f"{number}{Path(file.name).suffix}" for number, file in enumerate(files)
        ]
        for file, path in zip(files, paths, strict=True):
            await file.save(path)
        try:
            yield paths
        except AssayError as error:
            for file, path in zip(files, paths, strict=True):
                error.calling(str(path), file.name)
            raise


async def show_unread(
    context: PageContext, base: str, changed: Callable[[], Awaitable[None]]
) -> None:
    """Say how many documents are being read that were brought before the page was opened.

    Args:
        changed: called when they have been read.
    """
    count = await context.read(documents.count_unread, base)
    if not count:
        return
    line = w.text(say_unread(count), "soft note").props("role=status")

    async def show() -> None:
        left = await context.read(documents.count_unread, base)
        line.text = say_unread(left)
        if not left:
            timer.cancel()
            line.delete()
            await changed()

    timer = ui.timer(UNREAD_EVERY_S, show)


def say_unread(count: int) -> str:
    """That documents are being read, in a sentence."""
    return f"{say_count(count, 'document is', 'documents are')} being read."


class DocumentUpload:
    """The place to drop files on, and a line for each that was brought.

    Args:
        changed: called when documents have come in.
        what: the heading, and what they are for.
    """

    def __init__(
        self,
        context: PageContext,
        base: str,
        changed: Callable[[], Awaitable[None]],
        what: tuple[str, str] = ("Drop documents here", ""),
    ) -> None:
        self._context, self._base, self._changed = context, base, changed
        self._waiting: list[SourceFile] = []
        self._lines: dict[str, TextElement] = {}
        self._working = False
        self._progress = ProgressState()
        with w.card("drop"):
            ui.icon("upload_file").props("aria-hidden=true").classes("drop-icon")
            w.heading(*what)
            w.text(
                "PDF, Word, PowerPoint, HTML, Markdown, e-mail or text, many at once. They "
                "stay on this machine.",
                "soft",
            )
            file_picker(
                "Choose files", self._receive, style="drop-target", kind="primary", multiple=True
            )
        self._card = ui.element("section").classes("card")
        self._card.set_visibility(False)
        with self._card:
            self._head = w.text("", "strong").props("role=status")
            self._bar = w.bar(None, "Reading documents")
            self._list = ui.element("ul").classes("brought")
        self._timer = ui.timer(SHOWN_EVERY_S, self._show, active=False)

    async def _receive(self, event: events.UploadEventArguments) -> None:
        self._card.set_visibility(True)
        name = event.file.name
        line = self._line(name, "uploaded")
        try:
            async with save_files([event.file]) as [path]:
                source = await self._context.do(keep_document, self._base, name, path)
        except AssayError as error:
            self._mark(line, name, str(error), "bad")
            return
        self._lines[source.document] = line
        self._waiting.append(source)
        if not self._working:
            self._working = True
            background_tasks.create(self._work(), name="index documents", context=self._card.client)
            await self._changed()  # which shows how many are being read

    async def _work(self) -> None:
        """Index what waits, until nothing does; also when the person has left meanwhile."""
        self._timer.activate()
        try:
            while self._waiting:
                count = -1
                while count != len(self._waiting):
                    count = len(self._waiting)
                    await asyncio.sleep(QUIET_S)
                sources, self._waiting = self._waiting, []
                await self._index(sources)
                if not self._is_gone:
                    await self._changed()
        finally:
            self._working = False
            if not self._is_gone:
                self._timer.deactivate()
                self._show()

    @property
    def _is_gone(self) -> bool:
        return self._card.is_deleted

    async def _index(self, sources: list[SourceFile]) -> None:
        for source in sources:
            self._mark(self._lines[source.document], source.document, "reading", "")
        try:
            added = await self._context.do(index_documents, self._base, sources, self._progress)
        except AssayError as error:
            if not self._is_gone:
                show_error(error)
            for source in sources:
                self._mark(self._lines[source.document], source.document, "not accepted", "bad")
            return
        failed = {one.file: one.reason for one in added.failed}
        for source in sources:
            name = source.document
            why = failed.get(name)
            state = ("can be searched", "good") if why is None else (why, "bad")
            self._mark(self._lines[name], name, *state)

    def _line(self, name: str, state: str) -> TextElement:
        with self._list:
            line = w.text("", tag="li")
        self._mark(line, name, state, "")
        return line

    def _mark(self, line: TextElement, name: str, state: str, kind: str) -> None:
        if not self._is_gone:
            line.text = f"{name}: {state}"
            line.classes(replace=kind)

    def _show(self) -> None:
        if not self._working:
            self._head.text = "All files processed."
            self._bar.set_visibility(False)
            return
        self._bar.set_visibility(True)
        self._progress.show_on(self._bar, self._head)
