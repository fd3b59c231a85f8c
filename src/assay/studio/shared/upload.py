"""Documents on their way in: many files at once, each with what became of it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nicegui import background_tasks, events, ui
from nicegui.elements.mixins.text_element import TextElement

from assay.errors import AssayError
from assay.knowledge.intake import Added
from assay.knowledge.sources import Source
from assay.progress import Progress
from assay.project.knowledge import documents
from assay.studio.dialogs import say, tell
from assay.studio.session import Visit, action
from assay.studio.widgets import bar, button, card, heading, row, set_bar, text

QUIET_S = 0.8
"""Files that come within so long of each other are taken in together: one build for all."""
SHOWN_EVERY_S = 0.3


@action("editor")
def keep(visit: Visit, base: str, name: str, content: Path) -> Source:
    """Keep a file that was brought."""
    return documents.keep(visit.workspace, base, name, content)


@action("editor")
def take_in(visit: Visit, base: str, sources: list[Source], progress: Progress) -> Added:
    """Read kept files and make them searchable."""
    return documents.add(visit.workspace, base, sources, progress)


class Told:
    """What work in a thread has told last, for a page that looks now and then."""

    def __init__(self) -> None:
        self.label, self.done, self.total = "", 0.0, 0.0

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Told]:
        """See `assay.progress.Progress`."""
        self.label, self.done, self.total = label, 0.0, total or 0.0
        yield self

    def advance(self, amount: float = 1, **info: object) -> None:
        """See `assay.progress.Task`."""
        self.done += amount

    def say(self, line: str) -> None:
        """See `assay.progress.Progress`."""
        self.label = line

    @property
    def share(self) -> float | None:
        """0 to 1; None: nobody knows."""
        return self.done / self.total if self.total else None


class Bringing:
    """The place to drop files on, and a line for each that was brought.

    Args:
        changed: called when documents have come in.
        what: the heading, and what they are for.
    """

    def __init__(
        self,
        visit: Visit,
        base: str,
        changed: Callable[[], Awaitable[None]],
        what: tuple[str, str] = ("Drop documents here", ""),
    ) -> None:
        self._visit, self._base, self._changed = visit, base, changed
        self._waiting: list[Source] = []
        self._lines: dict[str, TextElement] = {}
        self._working = False
        self._told = Told()
        with card("drop"):
            ui.icon("upload_file").props("aria-hidden=true").classes("drop-icon")
            heading(*what)
            text(
                "PDF, Word, PowerPoint, HTML, Markdown, e-mail, text: many at once. They stay on "
                "this machine.",
                "soft",
            )
            upload = ui.upload(on_upload=self._brought, auto_upload=True, multiple=True)
            upload.classes("drop-target")
            upload.on("rejected", lambda: say("This file is too large."))
            with row():
                button(
                    "Choose files",
                    lambda: upload.run_method("pickFiles"),
                    kind="primary",
                    icon="folder_open",
                )
        self._card = ui.element("section").classes("card")
        self._card.set_visibility(False)
        with self._card:
            self._head = text("", "strong").props("role=status")
            self._bar = bar(None, "Documents are being read")
            self._list = ui.element("ul").classes("brought")
        self._timer = ui.timer(SHOWN_EVERY_S, self._show, active=False)

    async def _brought(self, event: events.UploadEventArguments) -> None:
        self._card.set_visibility(True)
        name = event.file.name
        line = self._line(name, "uploaded")
        try:
            with tempfile.TemporaryDirectory() as folder:
                content = Path(folder) / "brought"
                await event.file.save(content)
                source = await self._visit.do(keep, self._base, name, content)
        except AssayError as error:
            self._mark(line, name, str(error), "bad")
            return
        self._lines[source.document] = line
        self._waiting.append(source)
        if not self._working:
            self._working = True
            background_tasks.create(self._work(), name="take documents in")

    async def _work(self) -> None:
        """Take in what waits, until nothing does; also when the person has left meanwhile."""
        with self._card.client:
            self._timer.activate()
            try:
                while self._waiting:
                    count = -1
                    while count != len(self._waiting):
                        count = len(self._waiting)
                        await asyncio.sleep(QUIET_S)
                    sources, self._waiting = self._waiting, []
                    await self._take(sources)
                    if not self._gone:
                        await self._changed()
            finally:
                self._working = False
                if not self._gone:
                    self._timer.deactivate()
                    self._show()

    @property
    def _gone(self) -> bool:
        return self._card.is_deleted

    async def _take(self, sources: list[Source]) -> None:
        for source in sources:
            self._mark(self._lines[source.document], source.document, "being read", "")
        try:
            added = await self._visit.do(take_in, self._base, sources, self._told)
        except AssayError as error:
            if not self._gone:
                tell(error)
            for source in sources:
                self._mark(self._lines[source.document], source.document, "not taken in", "bad")
            return
        failed = {one.file: one.reason for one in added.failed}
        for source in sources:
            name = source.document
            why = failed.get(name)
            said = ("can be searched", "good") if why is None else (why, "bad")
            self._mark(self._lines[name], name, *said)

    def _line(self, name: str, said: str) -> TextElement:
        with self._list:
            line = text("", tag="li")
        self._mark(line, name, said, "")
        return line

    def _mark(self, line: TextElement, name: str, said: str, kind: str) -> None:
        if not self._gone:
            line.text = f"{name}: {said}"
            line.classes(replace=kind)

    def _show(self) -> None:
        if not self._working:
            self._head.text = "All that was brought is dealt with."
            self._bar.set_visibility(False)
            return
        self._bar.set_visibility(True)
        self._head.text = f"{self._told.label.capitalize() or 'Waiting'} …"
        set_bar(self._bar, self._told.share)
