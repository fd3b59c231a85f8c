"""Checks of a knowledge base against its files, and all its passages made anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict

from nicegui import background_tasks, ui

from assay.knowledge.check import Check
from assay.knowledge.records import Build
from assay.knowledge.settings import LANGUAGES, KnowledgeSettings
from assay.progress import Progress
from assay.project.knowledge import documents
from assay.quantities import say_count
from assay.studio import widgets as w
from assay.studio.dialogs import enter_or_click, errors_at, notify, open_dialog, read_choice
from assay.studio.session import PageContext, action, workspace_action
from assay.studio.shared.controls import require_text
from assay.studio.shared.job_progress import ProgressState
from assay.studio.shared.numbers import NO_NUMBER, are_valid, number_input
from assay.studio.shared.upload import SHOWN_EVERY_S

check_base = workspace_action("editor", documents.check)
check_embedder = workspace_action("editor", documents.check_embedder)


@action("viewer")
def read_settings(context: PageContext, base: str) -> KnowledgeSettings:
    """What all passages have in common."""
    return documents.base(context.workspace, base).settings


@action("editor")
def rebuild_base(
    context: PageContext, base: str, settings: KnowledgeSettings, progress: Progress
) -> Build:
    """Make all passages anew, by a model that is offered."""
    documents.check_embedder(context.workspace, base, settings.embedder)
    return documents.rebuild(context.workspace, base, **asdict(settings), progress=progress)


class UpkeepCard:
    """A card that checks a knowledge base or makes its passages anew, one at a time, and shows how
    far it is. It goes on when the person leaves the page.

    Args:
        changed: called when all passages were made anew.
    """

    def __init__(
        self, context: PageContext, base: str, changed: Callable[[], Awaitable[None]]
    ) -> None:
        self._context, self._base, self._changed = context, base, changed
        self._progress = ProgressState()
        with w.section(
            "Maintenance",
            "A check compares documents with their files and reads the whole index. A rebuild "
            "creates all passages again, to repair the index or to apply other settings.",
        ):
            with w.row():
                self._acts = [
                    w.button("Check", self._check, icon="fact_check"),
                    w.button("Rebuild all passages", self._ask, icon="autorenew"),
                ]
            self._status = w.text("", "soft").props("role=status")
            self._bar = w.bar(None, "Maintenance")
            self._bar.set_visibility(False)
            self._found = ui.element("div").classes("stack").props("aria-live=polite")
        self._timer = ui.timer(SHOWN_EVERY_S, self._show, active=False)

    @property
    def _is_gone(self) -> bool:
        return self._bar.is_deleted

    def _check(self) -> None:
        async def work() -> None:
            found = await self._context.do(check_base, self._base, self._progress)
            if not self._is_gone:
                with self._found:
                    _show_check(found)

        self._begin(work)

    async def _ask(self) -> None:
        now = await self._context.do(read_settings, self._base)
        wanted = await _ask_settings(self._context, self._base, now)
        if wanted is None:
            return

        async def work() -> None:
            made = await self._context.do(rebuild_base, self._base, wanted, self._progress)
            if not self._is_gone:
                notify(f"{say_count(made.passages, 'passage was', 'passages were')} rebuilt.")
                await self._changed()

        self._begin(work)

    def _begin(self, work: Callable[[], Awaitable[None]]) -> None:
        self._found.clear()
        self._progress.label = "starting"
        self._set_busy(True)

        async def run() -> None:
            try:
                await work()
            finally:
                if not self._is_gone:
                    self._set_busy(False)

        background_tasks.create(run(), name="knowledge base", context=self._bar.client)

    def _set_busy(self, busy: bool) -> None:
        for act in self._acts:
            act.set_enabled(not busy)
        self._bar.set_visibility(busy)
        self._status.text = ""
        self._timer.active = busy

    def _show(self) -> None:
        self._progress.show_on(self._bar, self._status)


async def _ask_settings(
    context: PageContext, base: str, now: KnowledgeSettings
) -> KnowledgeSettings | None:
    """What passages are to have in common from now on; None: it was thought better of."""
    with open_dialog(
        f"Rebuild all passages of {base}?",
        "Searches use the old passages until the new ones are ready. Agents that were measured "
        "with the old ones may do better or worse afterwards: compare again.",
    ) as dialog:
        embedder = w.field(
            "Embedder",
            ui.input(value=now.embedder),
            "The model that measures similarity: a starter, or one that was pulled (Models).",
        )
        with w.row("top-aligned"):
            tokens = w.field(
                "Longest passage",
                number_input(
                    now.chunk_tokens, least=16, most=100_000, whole=True, missing=NO_NUMBER
                ),
                "In tokens.",
                name="Longest passage, in tokens",
            )
            language = w.field(
                "Language",
                ui.select(list(LANGUAGES), value=now.language),
                "Its word endings are ignored in a search by words.",
            )

        async def submit() -> None:
            if not are_valid(tokens):
                return
            with errors_at(embedder):
                name = require_text(embedder.value, "the embedder is missing.")
                await context.do(check_embedder, base, name)
            dialog.submit(KnowledgeSettings(name, int(tokens.value), str(language.value)))

        enter_or_click(embedder, "Rebuild", submit, lambda: dialog.submit(None))
    chosen: KnowledgeSettings | None = await read_choice(dialog)
    return chosen


def _show_check(found: Check) -> None:
    if not found.damage:
        w.text("The index is intact.", "good strong")
    for sentence in found.damage:
        w.text(f"Damaged: {sentence}", "bad")
    said = f"{say_count(found.documents, 'document')}, {say_count(found.passages, 'passage')}."
    w.text(said, "soft note")
    for path in found.changed:
        w.text(f"{path} has changed on disk since it was read. Add it again.", "warn")
    for path in found.vanished:
        w.text(f"{path} is no longer on disk; its passages are still found.", "warn")
    for failed in found.failed:
        w.text(f"{failed.file}: {failed.reason}", "pre note")
    if found.leftovers:
        files = say_count(found.leftovers, "unused file")
        w.text(f"{files}, which the next change removes.", "soft note")
