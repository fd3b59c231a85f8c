"""Examples of another file, added to those of the project."""

from __future__ import annotations

from functools import partial

from nicegui import events, ui
from nicegui.elements.upload_files import FileUpload

from assay.project import row_edits
from assay.project.addition import Addition
from assay.quantities import say_count
from assay.studio import widgets as w
from assay.studio.session import PageContext, Refresh, workspace_action
from assay.studio.shared.files import failures_in, file_picker, save_files, tell_failure
from assay.studio.shared.findings import tell_addition
from assay.studio.shared.job_progress import ProgressState

NOT_ADDED = "Nothing was added"

add_examples = workspace_action("editor", row_edits.add)


def addition_form(context: PageContext, refresh: Refresh) -> None:
    """A file is chosen, its rows are added, and what became of them is told. Where some have
    personal data, it is asked before whether to mask it."""
    with w.details("Add examples"), ui.element("div").classes("stack"):
        w.text(
            "Choose a file with the same columns as your examples, or with conversations, such as "
            "saved corrections. Rows that are there already are left out. A holdout that was "
            "opened stays as it is: bring examples to measure on with “Replace the holdout” "
            "instead, since rows that are added here cannot become a holdout later."
        )
        told = ui.element("div").classes("stack").props("role=status")

        async def receive(event: events.UploadEventArguments) -> None:
            await add(event.file)

        def ask(file: FileUpload, found: Addition) -> None:
            have = say_count(found.private, "row has", "rows have")
            with told:
                w.text(
                    f"{have} secrets or personal data, of {found.added:,} that {file.name} would "
                    "add. A model trained on them may repeat them.",
                    "warn note",
                )
                with w.row():
                    masked = partial(add, file, "mask")
                    icon = "visibility_off"
                    w.button("Mask them and add the rows", masked, kind="primary", icon=icon)
                    w.button("Add the rows as they are", partial(add, file, "keep"))

        async def add(file: FileUpload, private: row_edits.Private = "ask") -> None:
            with failures_in(told, NOT_ADDED):
                with told:
                    waiting = w.waiting("Reading and splitting the examples")
                try:
                    async with save_files([file]) as [path]:
                        given = path, file.name, ProgressState()
                        added = await context.do(add_examples, *given, private=private)
                finally:
                    if not waiting.is_deleted:
                        waiting.delete()
            if private == "ask" and added.private:
                ask(file, added)
                return
            with told:
                tell_addition(added)
            if added.added:
                await refresh()

        file_picker(
            "Choose a file of examples",
            receive,
            icon="playlist_add",
            on_refused=lambda error: tell_failure(told, NOT_ADDED, error),
        )
