"""Documents that a browser sends, many at once, each with what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass

from nicegui import background_tasks, events, ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from assay.errors import AssayError
from assay.knowledge.failures import FailedDocument
from assay.knowledge.parse import KINDS_IN_WORDS
from assay.knowledge.sources import SourceFile
from assay.project.knowledge import documents
from assay.quantities import say_count
from assay.studio import widgets as w
from assay.studio.dialogs import show_error
from assay.studio.session import PageContext, workspace_action
from assay.studio.shared.files import file_picker, save_files
from assay.studio.shared.job_progress import ProgressState
from assay.studio.shared.sending import UploadProgress

QUIET_S = 0.8
"""Files that come within so long of each other are taken in together: one build for all."""
SHOWN_EVERY_S = 0.3
UNREAD_EVERY_S = 1.0

keep_document = workspace_action("editor", documents.keep)
index_documents = workspace_action("editor", documents.add)
dismiss_failure = workspace_action("editor", documents.dismiss_failure)
remove_document = workspace_action("editor", documents.remove)


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


@dataclass(slots=True)
class _Line:
    """What became of a file that was brought: an item of the list, and the text in it.

    Attributes:
        brought: the file's name, which a document of some other name may have come of.
        batch: in which it was brought; None: before the page was opened, and why it could not be
            read is listed until that is dismissed or is so no more.
        kind: what it says: that the document can be searched ("good"), that the file could not be
            read, or only in part ("bad"), or neither.
    """

    item: Element
    text: TextElement
    brought: str
    batch: int | None
    kind: str = ""


class DocumentUpload:
    """The place to drop files on, and a line for each that was brought.

    Args:
        changed: called when documents have come in.
        what: the heading, and what they are for.
        on_reading: called with what is being done, again and again while documents are being read,
            and with "" when all of them have been.
    """

    def __init__(
        self,
        context: PageContext,
        base: str,
        changed: Callable[[], Awaitable[None]],
        what: tuple[str, str] = ("Drop documents here", ""),
        on_reading: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._context, self._base, self._changed = context, base, changed
        self._on_reading = on_reading
        self._waiting: list[SourceFile] = []
        self._lines: dict[str, _Line] = {}
        self._working = False
        self._brought = self._done = 0
        """Files since there was nothing to send or read, which is a batch."""
        self._batch = 0
        self._progress = ProgressState()
        with w.card("drop"):
            ui.icon("upload_file").props("aria-hidden=true").classes("drop-icon")
            w.heading(*what)
            w.text(f"{KINDS_IN_WORDS}, many at once. They stay on this machine.", "soft")
            upload = file_picker(
                "Choose files", self._receive, style="drop-target", kind="primary", multiple=True
            )
        self._card = ui.element("section").classes("card")
        self._card.set_visibility(False)
        with self._card:
            self._head = w.text("", "strong").props("role=status")
            self._bar = w.bar(None, "")
            self._list = ui.element("ul").classes("brought")
        self._sending = UploadProgress(upload, self._begin_batch, self._show)
        self._timer = ui.timer(SHOWN_EVERY_S, self._show, active=False)

    def forget_removed(self, left: Collection[str]) -> None:
        """Take away the lines of documents that were removed since they were brought.

        Args:
            left: the names of those that are there.
        """
        for name, line in list(self._lines.items()):
            if line.kind == "good" and name not in left:
                self._delete(line, name)

    def forget_failure(self, name: str) -> None:
        """Take away the line of a file that could not be read, which was dismissed elsewhere."""
        line = self._lines.get(name)
        if line is not None and line.kind == "bad":
            self._forget(line, name)

    def show_failed(self, failed: Iterable[FailedDocument]) -> None:
        """List the files that could not be read and have no line yet: the page may have been loaded
        again since.

        Args:
            failed: all that are kept.
        """
        reasons = {one.file: one.reason for one in failed}
        for name, line in list(self._lines.items()):
            if line.batch is None and name not in reasons:
                self._delete(line, name)
        for name, reason in reasons.items():
            if name not in self._lines:
                self._lines[name] = line = self._line(name, "", None)
                self._mark(line, name, reason, "bad")
        self._show()

    def _forget(self, line: _Line, name: str) -> None:
        """Take away a line that was dismissed."""
        self._delete(line, name)
        # Of an earlier one nothing is counted any more.
        if line.batch == self._batch:
            self._brought, self._done = self._brought - 1, self._done - 1
        self._show()

    def _delete(self, line: _Line, name: str) -> None:
        if self._lines.get(name) is line:
            del self._lines[name]
        line.item.delete()
        self._card.set_visibility(bool(self._list.default_slot.children))

    @property
    def _is_busy(self) -> bool:
        return bool(self._sending) or self._done < self._brought

    def _count_failed(self) -> tuple[int, int]:
        """Files that are listed as not read, or only in part: of this batch, of earlier ones."""
        batches = [line.batch for line in self._lines.values() if line.kind == "bad"]
        failed = batches.count(self._batch)
        return failed, len(batches) - failed

    def _say_reading(self) -> None:
        if self._done < self._brought:
            failed, _ = self._count_failed()
            taken, read = self._brought - failed, max(0, self._done - failed)
            done = f", {read:,} done" if read else ""
            self._on_reading(f"Reading {say_count(taken, 'document')}{done}")
        else:
            self._on_reading("Receiving documents" if self._sending else "")

    def _begin_batch(self) -> None:
        if self._done == self._brought:
            self._brought = self._done = 0
            self._batch += 1

    async def _receive(self, event: events.UploadEventArguments) -> None:
        if not self._sending:  # its browser has not told yet
            self._begin_batch()
        self._brought += 1
        self._show()
        name = event.file.name
        line = self._line(name, "uploaded", self._batch)
        source = None
        try:
            async with save_files([event.file]) as [path]:
                source = await self._context.do(keep_document, self._base, name, path)
        except AssayError as error:
            self._replace(name, line)
            self._mark(line, name, str(error), "bad")
            return
        finally:
            if source is None:
                self._done += 1
                self._show()
        self._replace(source.document, line)
        self._waiting.append(source)
        if not self._working:
            self._working = True
            background_tasks.create(self._work(), name="index documents", context=self._card.client)

    def _replace(self, name: str, line: _Line) -> None:
        """Put a line in the place of what was said of an earlier file of the name."""
        if (earlier := self._lines.pop(name, None)) and not self._is_gone:
            earlier.item.delete()
        self._lines[name] = line

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
                try:
                    await self._index(sources)
                    if not self._is_gone:
                        await self._changed()
                except AssayError as error:  # what waits is indexed all the same
                    if not self._is_gone:
                        show_error(error)
                finally:
                    self._done += len(sources)
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
            before = await self._context.read(documents.list_hashes, self._base)
            added = await self._context.do(index_documents, self._base, sources, self._progress)
            after = await self._context.read(documents.list_hashes, self._base)
        except AssayError as error:
            if not self._is_gone:
                show_error(error)
            for source in sources:
                self._mark(self._lines[source.document], source.document, "not accepted", "bad")
            return
        failed = {one.file: one.reason for one in added.failed}
        for source in sources:
            name = source.document
            if line := self._lines.get(name):  # not removed meanwhile
                if why := failed.get(name):
                    self._mark(line, name, why, "bad")
                else:
                    said = _say_added(before.get(name), after.get(name))
                    if name != line.brought:
                        said += f"; “{line.brought}” cannot be a document's name"
                    self._mark(line, name, said, "good")

    def _line(self, name: str, state: str, batch: int | None) -> _Line:
        with self._list, ui.element("li") as item:
            line = _Line(item, w.text("", tag="span"), name, batch)
        self._mark(line, name, state, "")
        return line

    def _mark(self, line: _Line, name: str, state: str, kind: str) -> None:
        if self._is_gone or line.item.is_deleted:
            return
        line.text.text = f"{name}: {state}"
        line.text.classes(replace=kind)
        line.kind = kind
        if kind == "bad":

            async def dismiss() -> None:
                await self._context.do(dismiss_failure, self._base, name)
                self._forget(line, name)
                await self._changed()

            with line.item:
                w.button("Dismiss", dismiss, kind="link", name=f"Dismiss {name}")

    def _show(self) -> None:
        if self._is_gone:
            return
        self._say_reading()
        self._card.set_visibility(self._is_busy or bool(self._list.default_slot.children))
        if not self._is_busy:
            failed, earlier = self._count_failed()
            self._head.text = _say_processed(failed, self._brought, earlier)
            self._bar.set_visibility(False)
            return
        self._bar.set_visibility(True)
        if self._sending:
            w.set_label(self._bar, "Uploading documents")
            w.set_bar(self._bar, self._sending.share)
            self._head.text = self._sending.describe()
        else:
            w.set_label(self._bar, "Reading documents")
            self._progress.show_on(self._bar, self._head)


def _say_added(before: str | None, after: str | None) -> str:
    """What became of a document, by the hashes of what was found of it and of what is now."""
    if before is None:
        return "can be searched"
    if before == after:
        return "is already here, unchanged; it can be searched"
    return "replaces the earlier one; it can be searched"


def _say_processed(failed: int, brought: int, earlier: int) -> str:
    """What all files that are listed came to.

    Args:
        failed: of those that were brought: what could not be read, or only in part.
        earlier: the same of earlier uploads.
    """
    files, unread = say_count(brought, "file"), "could not be read, or only in part."
    if not earlier:
        return f"{failed:,} of {files} {unread}" if failed else "All files processed."
    said = f"{say_count(earlier, 'earlier file')} {unread}"
    if failed:
        return f"{failed:,} of {files} {unread} {said}"
    return f"{files} processed. {said}" if brought else said
