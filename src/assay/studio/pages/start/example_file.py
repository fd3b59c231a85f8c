"""The first step of Start: the file of examples."""

from __future__ import annotations

from nicegui import events, ui

from assay.project.start import example_file
from assay.studio import widgets as w
from assay.studio.dialogs import advise, close_notices, notify
from assay.studio.session import PageContext, Refresh, workspace_action
from assay.studio.shared.another_project import projects_within
from assay.studio.shared.files import failures_in, file_picker, save_files, tell_failure

NOT_USED = "This file cannot be used"

keep_file = workspace_action("editor", example_file.keep_file)
keep_example_file = workspace_action("editor", example_file.keep_example_file)


async def file_step(context: PageContext, refresh: Refresh) -> None:
    """Takes a file of examples, or the built-in ones."""
    if not context.may("editor"):
        with w.card():
            w.heading("No examples yet", "An editor can upload examples.")
        return

    async def receive(event: events.UploadEventArguments) -> None:
        upload.reset()  # so that it can be chosen again, mended
        close_notices()
        with failures_in(told, NOT_USED):
            async with save_files([event.file]) as [path]:
                kept = await context.do(keep_file, event.file.name, path)
        if kept.suffix == ".csv" and event.file.name.lower().endswith(".xlsx"):
            advise(
                f"The first sheet of {event.file.name} was converted to CSV, so that its rows can "
                "be corrected here. Formulas became their results."
            )
        elif kept.name != event.file.name:
            notify(f"{event.file.name} is kept as {kept.name}.")
        await refresh()

    async def example() -> None:
        await context.do(keep_example_file)
        await refresh()

    with w.card("drop"):
        ui.icon("upload_file").props("aria-hidden=true").classes("drop-icon")
        w.heading("Drop a file of examples here")
        w.text(
            "CSV, Excel (its first sheet becomes CSV), JSON or JSONL, one example per row or "
            "record. A few hundred are enough for a verdict. Documents come next, if you have any. "
            "All files stay on this machine.",
            "soft",
        )
        upload = file_picker(
            "Choose a file",
            receive,
            style="drop-target",
            kind="primary",
            accept=".csv,.tsv,.xlsx,.json,.jsonl,.parquet,.txt",
            refusal="Examples have to be CSV, Excel, JSON, JSONL or Parquet, or a table in a text "
            "file. Documents come in the next step.",
            on_refused=lambda error: tell_failure(told, NOT_USED, error),
        )
        with w.row():
            w.button("Use built-in examples", example)
        told = ui.element("div").classes("stack")
    projects_within(context)
