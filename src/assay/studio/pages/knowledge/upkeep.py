"""Looking after a knowledge base: is it as its files are? And all its passages made anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import background_tasks, ui

from assay.errors import AssayError
from assay.knowledge.check import Check
from assay.knowledge.records import Build
from assay.knowledge.settings import LANGUAGES, Settings
from assay.progress import Progress
from assay.project.knowledge import documents
from assay.studio.dialogs import put_away, say, tell, telling
from assay.studio.session import Visit, action
from assay.studio.shared.upload import SHOWN_EVERY_S, Told
from assay.studio.widgets import bar, button, card, field, heading, named, row, set_bar, text


@action("editor")
def check(visit: Visit, base: str, progress: Progress) -> Check:
    """Compare with the files, and read the whole index."""
    return documents.check(visit.workspace, base, progress)


@action("editor")
def rebuild(visit: Visit, base: str, wanted: Settings, progress: Progress) -> Build:
    """Make all passages anew."""
    return documents.rebuild(
        visit.workspace,
        base,
        embedder=wanted.embedder,
        chunk_tokens=wanted.chunk_tokens,
        language=wanted.language,
        progress=progress,
    )


@action("viewer")
def settings(visit: Visit, base: str) -> Settings:
    """What all passages have in common."""
    return documents.base(visit.workspace, base).settings


class Upkeep:
    """A card with both, one at a time, and how far it is; who leaves ends nothing.

    Args:
        changed: called when all passages were made anew.
    """

    def __init__(self, visit: Visit, base: str, changed: Callable[[], Awaitable[None]]) -> None:
        self._visit, self._base, self._changed = visit, base, changed
        self._told = Told()
        with card():
            heading(
                "Upkeep",
                "A check compares documents with their files and reads the whole index. Making "
                "all passages anew mends an index, or follows other settings.",
            )
            with row():
                self._acts = [
                    button("Check it", self._check, icon="fact_check"),
                    button("Make all passages anew", self._ask, icon="autorenew"),
                ]
            self._doing = text("", "soft").props("role=status")
            self._bar = bar(None, "Upkeep")
            self._bar.set_visibility(False)
            self._found = ui.element("div").classes("stack").props("aria-live=polite")
        self._timer = ui.timer(SHOWN_EVERY_S, self._show, active=False)

    @property
    def _gone(self) -> bool:
        return self._bar.is_deleted

    def _check(self) -> None:
        async def work() -> None:
            found = await self._visit.do(check, self._base, self._told)
            if not self._gone:
                with self._found:
                    _say(found)

        self._begin(work)

    async def _ask(self) -> None:
        with telling():
            now = await self._visit.do(settings, self._base)
            wanted = await _wanted(self._base, now)
            if wanted is None:
                return

            async def work() -> None:
                made = await self._visit.do(rebuild, self._base, wanted, self._told)
                if not self._gone:
                    say(f"{made.passages:,} passages were made anew.")
                    await self._changed()

            self._begin(work)

    def _begin(self, work: Callable[[], Awaitable[None]]) -> None:
        self._found.clear()
        self._told.label = "beginning"
        self._busy(True)

        async def done() -> None:
            with self._bar.client:
                try:
                    await work()
                except AssayError as error:
                    if not self._gone:
                        tell(error)
                finally:
                    if not self._gone:
                        self._busy(False)

        background_tasks.create(done(), name="upkeep of a knowledge base")

    def _busy(self, busy: bool) -> None:
        for act in self._acts:
            act.set_enabled(not busy)
        self._bar.set_visibility(busy)
        self._doing.text = ""
        if busy:
            self._timer.activate()
        else:
            self._timer.deactivate()

    def _show(self) -> None:
        self._doing.text = f"{self._told.label.capitalize()} …"
        set_bar(self._bar, self._told.share)


async def _wanted(base: str, now: Settings) -> Settings | None:
    """What passages are to have in common from now on; None: it was thought better of."""
    with ui.dialog(value=True) as dialog, ui.card().classes("studio"):
        heading(
            f"Make all passages of {base} anew?",
            "Searches go on with the old ones until the new ones are there. Agents that were "
            "measured with them may do better or worse after it: compare again.",
        )
        with field("Embedder", "What measures likeness: a starter, a folder or a hub id."):
            embedder = ui.input(value=now.embedder)
            named(embedder, "Embedder")
        with row("top-aligned"):
            with field("Longest passage", "In tokens."):
                tokens = ui.number(value=now.chunk_tokens, min=16, max=100_000, precision=0)
                named(tokens, "Longest passage, in tokens")
            with field("Language", "Whose word endings are left out in a search by words."):
                language = ui.select(list(LANGUAGES), value=now.language)
                named(language, "Language")
        with row():
            button("Make them anew", lambda: dialog.submit(True), kind="primary")
            button("Cancel", lambda: dialog.submit(False))
    answer = await dialog
    put_away(dialog)
    if not answer:
        return None
    return Settings(
        (embedder.value or "").strip() or now.embedder,
        int(tokens.value or now.chunk_tokens),
        str(language.value),
    )


def _say(found: Check) -> None:
    if not found.damage:
        text("The index is whole.", "good strong")
    for sentence in found.damage:
        text(f"Damaged: {sentence}", "bad")
    text(f"{found.documents:,} documents, {found.passages:,} passages.", "soft note")
    for path in found.changed:
        text(f"{path} has changed on disk since it was read. Bring it again.", "warn")
    for path in found.vanished:
        text(f"{path} is no longer on disk; what was read from it is still found.", "warn")
    for failed in found.failed:
        text(f"{failed.file}: {failed.reason}", "pre note")
    if found.leftovers:
        text(f"{found.leftovers} unused files; the next change removes them.", "soft note")
