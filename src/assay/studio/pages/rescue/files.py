"""Training files that somebody has already: a project of them, with an account or without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from nicegui import events, ui
from nicegui.element import Element

from assay.project.jobs import rescue
from assay.project.jobs.rescue import SHOWN, RescueState
from assay.project.rescue import uploads
from assay.project.rescue.files import LONGEST_MODEL
from assay.project.rescue.plan import LEAST_HELD
from assay.project.rescue.uploads import ENDING, PARTS, PROJECTS, Part, Upload, UsedUploads
from assay.quantities import say_count
from assay.studio import widgets as w
from assay.studio.dialogs import close_notices, errors_at
from assay.studio.pages.rescue.successor import SuccessorField
from assay.studio.session import PageContext, action, workspace_action
from assay.studio.shared.files import failures_in, file_picker, save_files, tell_failure
from assay.studio.words import format_size

LABELS: dict[Part, tuple[str, str]] = {
    "training": ("Training file", "JSON Lines, as OpenAI took it: conversations or preferences."),
    "validation": (
        "Validation file (may be left out)",
        f"With {LEAST_HELD} rows or more it is the holdout: the model was not trained on it.",
    ),
}
NOT_USED = "This file cannot be used"

keep_model = workspace_action("admin", uploads.keep_model)
keep_upload = workspace_action("admin", uploads.keep_upload)
remove_upload = workspace_action("admin", uploads.remove_upload)
list_uploads = workspace_action("admin", uploads.list_uploads)
remove_uploads = workspace_action("admin", uploads.remove_uploads)
start_planning = workspace_action("admin", rescue.plan_uploads)


@action("admin")
def read_brought(context: PageContext) -> tuple[str, dict[Part, Upload | None]]:
    """The model's name that was typed, and the files that were brought for its project."""
    entries = uploads.read_entries(context.workspace)
    found = {part: uploads.find_upload(context.workspace, entries, part) for part in PARTS}
    return entries.model, found


@action("admin")
def check_brought(context: PageContext) -> None:
    """See that a project can be made of them; raises as `uploads.tuning_files`."""
    entries = uploads.read_entries(context.workspace)
    uploads.tuning_files(context.workspace, entries)


class FilesCard:
    """What is brought for a project, and what projects were made of."""

    def __init__(
        self,
        context: PageContext,
        accounts: Sequence[dict[str, Any]],
        state: RescueState,
        reload: Callable[[], None],
    ) -> None:
        self._context, self._accounts, self._reload = context, accounts, reload
        self._may_change = state.active_kind != uploads.PLAN
        self._is_idle = state.active_kind is None
        self._boxes: dict[Part, Element] = {}
        self._told: dict[Part, Element] = {}
        self._files: dict[Part, Upload | None] = {}
        self._kept, self._keeping = "", asyncio.Lock()
        self._used: Element | None = None

    async def show(self) -> None:
        """The form; what projects were made of is shown by `show_used`."""
        with w.section(
            "I already have the files",
            "Training files that you have from OpenAI become a project without a key, or where the "
            "account no longer has them. They stay on this machine.",
        ):
            loaded = await w.load("Looking at the files", self._context.do(read_brought))
            if loaded is None:
                return
            self._kept, self._files = loaded
            self._model = w.field(
                "Model",
                ui.input(value=self._kept, placeholder="ft:gpt-4o-mini-2024-07-18:acme::abc"),
                "Its name, as OpenAI shows it.",
                name="Name of the model",
            )
            self._model.props["maxlength"] = LONGEST_MODEL
            self._model.set_enabled(self._may_change)
            self._model.on_value_change(self._keep_model)
            with ui.element("div").classes("split"):
                for part in PARTS:
                    self._part(part)
            successor = None
            if self._accounts:  # without a key, nobody can take part
                name = "Successor of the model of these files"
                successor = SuccessorField(self._context, self._accounts, name)

            async def start(named: str | None) -> None:
                await self._context.do(start_planning, named)

            async def make() -> None:
                await self._keep_model()
                if self._files["training"] is None:
                    with w.refill(self._told["training"]):
                        w.text("Choose the training file first.", "bad").props("role=alert")
                    return
                with errors_at(self._model):
                    await self._context.do(check_brought)
                question, yes = "Make the project?", "Make the project"
                if successor is None:
                    await start(None)
                elif not await successor.ask_and_start(start, question, yes):
                    return
                self._reload()

            with w.row():
                made = w.button("Make the project", make, kind="primary")
                made.set_enabled(self._is_idle)
            self._used = ui.element("div").classes("stack")

    def _part(self, part: Part) -> None:
        label, hint = LABELS[part]
        with ui.element("div").classes("field"):
            w.text(label, "field-label", "div")
            self._boxes[part] = ui.element("div").classes("stack")
            w.text(hint, "hint", "div")
            self._told[part] = ui.element("div").classes("stack")
        self._show_part(part)

    def _show_part(self, part: Part) -> None:
        file, what = self._files[part], f"the {part} file"
        with w.refill(self._boxes[part]):
            if file is None and not self._may_change:
                w.text("None", "soft", "span")
                return
            if file is None:
                upload = file_picker(
                    f"Choose {what}",
                    lambda event: self._receive(part, upload, event),
                    icon="upload_file",
                    accept=ENDING,
                    refusal=f"A training file is JSON Lines: its name ends with {ENDING}.",
                    on_refused=lambda error: tell_failure(self._told[part], NOT_USED, error),
                )
                return
            with w.row():
                w.text(_describe(file), "breaks", "span")
                gone = w.button(
                    "Remove", partial(self._remove, part), kind="link", name=f"Remove {what}"
                )
                gone.set_enabled(self._may_change)

    async def _receive(
        self, part: Part, upload: ui.upload, event: events.UploadEventArguments
    ) -> None:
        upload.reset()  # so that it can be chosen again, mended
        close_notices()
        with failures_in(self._told[part], NOT_USED):
            async with save_files([event.file]) as [path]:
                await self._context.do(keep_upload, part, event.file.name, path)
        await self._update(part)

    async def _remove(self, part: Part) -> None:
        await self._context.do(remove_upload, part)
        await self._update(part)

    async def _update(self, part: Part) -> None:
        _, self._files = await self._context.do(read_brought)
        self._show_part(part)

    async def _keep_model(self) -> None:
        """Keep what was typed: the page may be left. Of changes that come faster than they are
        written, the last is."""
        async with self._keeping:
            model = (self._model.value or "").strip()
            if model != self._kept:
                with errors_at(self._model):
                    await self._context.do(keep_model, model)
                self._kept = model

    async def show_used(self, cards: Mapping[str, Element]) -> None:
        """Files that projects were made of and that are still here.

        Args:
            cards: of models that have a project, on this page.
        """
        if (box := self._used) is None:
            return
        with box:
            used = await w.load("Looking at the files", self._context.do(list_uploads))
        if not used:
            return
        with box:
            w.text("Files of projects", tag="h3")
            w.text("A project has a copy of its own: what is not needed here any more can be "
                   "removed.", "soft note")  # fmt: skip
            with w.table("Model", "Files", "", label="Files of projects"):
                for one in used[:SHOWN]:
                    self._show_line(one, cards.get(one.model))
            if len(used) > SHOWN:
                w.text(f"{say_count(len(used) - SHOWN, 'model')} more: see {PROJECTS}/jobs.jsonl.",
                       "soft")  # fmt: skip

    def _show_line(self, one: UsedUploads, card: Element | None) -> None:
        async def remove() -> None:
            await self._context.do(remove_uploads, one.model)
            self._reload()

        files = [file for file in (one.training, one.validation) if file is not None]
        with w.cells():
            with w.cell():
                name = w.text(one.model, tag="span" if card is None else "a")
                if card is not None:
                    name.props["href"] = f"#{card.html_id}"
            w.text(", ".join(map(_describe, files)), tag="td")
            with w.cell():
                gone = w.button(
                    "Remove files", remove, kind="link", name=f"Remove files of {one.model}"
                )
                gone.set_enabled(self._may_change)


def _describe(file: Upload) -> str:
    return f"{file.name} ({format_size(file.bytes)})"
