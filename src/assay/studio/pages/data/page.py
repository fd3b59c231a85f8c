"""Data: the examples, however many; what is wrong with them, what is alike, what is locked."""

from __future__ import annotations

import asyncio

from nicegui import ui
from nicegui.element import Element

from assay.errors import AssayError, DataError, DivisionError, HoldoutError, on_page
from assay.progress import Progress
from assay.project import rows
from assay.project.holdout_summary import (
    HoldoutSummary,
    describe_holdout,
    describe_present_holdout,
)
from assay.project.rows import Rows
from assay.quantities import say_count
from assay.studio import widgets as w
from assay.studio.frame import Page
from assay.studio.pages.data.addition import addition_form
from assay.studio.pages.data.other_files import OtherFiles
from assay.studio.pages.data.questions import QuestionsCard, read_standing
from assay.studio.pages.data.renewal import OpeningCount, renewal_form, split_details
from assay.studio.pages.data.row_table import RowTable, TableView
from assay.studio.session import PageContext, Refresh, action
from assay.studio.shared.job_progress import ProgressState, show_edits_meanwhile
from assay.studio.shared.unused_labels import show_unused_labels

MEANINGS = {
    "train": "Rows shown to models or used to train them.",
    "validation": "Rows used to choose all settings.",
    "holdout": "Locked: only a comparison opens it, and every opening is logged. Nobody can see it "
    "here, because a row that has been seen no longer measures anything.",
    "quarantine": "The same or nearly the same as a holdout row, so not used for training or "
    "validation. Not shown either.",
    "rejected": "Rows with errors, not used until they are corrected.",
}
_MEND = (
    "Correct the file itself, before a comparison opens the holdout.",
    "The holdout was opened, so its rows cannot be corrected any more: an editor can lock other "
    "examples with “Replace the holdout”.",
)
"""What to do of rows that contradict each other where they cannot be seen: before the holdout was
opened, and after."""
_division_lock = asyncio.Lock()
"""Threads are few, and the division is the same for all: who waits for it waits without one."""


@action("viewer")
def open_division(
    context: PageContext, progress: Progress
) -> tuple[HoldoutSummary | DataError, Rows]:
    """How the rows are divided, or why they cannot be; and those that may be seen."""
    try:
        found = rows.open_rows(context.workspace, progress)
        return describe_holdout(context.workspace), found
    except DataError as error:
        found = rows.open_undivided(context.workspace, error, progress)
        # What `PageContext.do` does with an error that is raised.
        error.advise_page(context.title)
        error.calling(f"{context.workspace.root}/", "")
        return error, found


async def build(context: PageContext) -> None:
    """The division first, which may take a while; then the table."""
    w.title(
        "Data",
        "Your examples: what is wrong with them, which are similar, and how they are split into "
        "training, validation and holdout.",
    )
    if context.workspace.project is None:
        w.empty(
            "table_rows",
            "No examples yet",
            "Upload a file of examples on the Start page.",
            act=("Go to Start", "/"),
        )
        return
    openings = OpeningCount()

    async def count_openings() -> None:
        if (present := await context.read(describe_present_holdout)) is not None:
            openings.show(present.openings)

    await show_edits_meanwhile(context, count_openings)
    query = ui.element("div").classes("stack gap")
    shown = ui.element("div").classes("stack gap")
    files = ui.element("div").classes("stack gap")

    view = TableView()

    async def refresh() -> None:
        shown.clear()
        progress = ProgressState()
        if not await _show_questions(context, query, refresh):
            return
        with shown:
            with w.card():
                w.text("Reading, checking and splitting the examples", "strong").props(
                    "role=status"
                )
                bar, label = w.bar(None, "Reading examples"), w.text("", "soft note")
            timer = ui.timer(0.4, lambda: progress.show_on(bar, label))
            try:
                async with _division_lock:
                    found = await context.do(open_division, progress)
            except AssayError as error:
                if not shown.is_deleted:
                    shown.clear()
                    await _show_refusal(context, error, openings, refresh)
                return
            finally:
                timer.cancel()
            if shown.is_deleted:
                return
            shown.clear()
            division, of = found
            if isinstance(division, DataError):
                w.failure(division, "The examples cannot be split yet")
                w.text("All rows are listed below, to be corrected there.", "soft note")
            else:
                openings.show(division.openings)
                _show_division(context, division, of, openings, refresh)
                show_unused_labels(context, refresh)
            RowTable(context, of, refresh, view)

    if context.may("editor"):
        with files, w.card():
            addition_form(context, refresh)
            OtherFiles(context)
    ui.timer(0.05, refresh, once=True)  # the page is there before it


async def _show_questions(context: PageContext, query: Element, start: Refresh) -> bool:
    """Drafted questions, where there are any; whether there is something to divide."""
    now = await context.do(read_standing)
    if now is None:
        return True
    if not query.default_slot.children:
        with query:
            QuestionsCard(context, now, start)
    return now.is_measured


async def _show_refusal(
    context: PageContext, error: AssayError, openings: OpeningCount, refresh: Refresh
) -> None:
    """Why the examples are not divided anew, and the ways out; no row is shown."""
    present = await context.read(describe_present_holdout)
    if present is None or not isinstance(error, HoldoutError | DivisionError):
        w.failure(error)
        return
    if is_other := isinstance(error, HoldoutError):
        w.failure(error, "The examples and the settings no longer fit the holdout")
    else:
        w.failure(error, "The examples can no longer be split")
    with w.card():
        if context.may("editor"):
            w.text(
                "To continue, undo the change or replace the holdout."
                if is_other
                else "To continue, undo the change.",
                "strong",
            )
            w.text(
                "Undo a change of settings on the page Settings. Restore a row that was changed or "
                "removed outside of the studio in the file itself. The rows are then listed here "
                "again.",
                "soft",
            )
            w.link("Settings", "/settings")
        openings.show(present.openings)
        if is_other:
            renewal_form(context, openings, refresh)


def _show_division(
    context: PageContext,
    found: HoldoutSummary,
    of: Rows,
    openings: OpeningCount,
    refresh: Refresh,
) -> None:
    manifest = found.manifest
    kept_out = manifest.quarantine.train_removed + manifest.quarantine.validation_removed
    with w.card():
        with w.row("figures"):
            w.figure(f"{manifest.train:,}", "for training", MEANINGS["train"])
            w.figure(f"{manifest.validation:,}", "for validation", MEANINGS["validation"])
            label = w.figure(f"{manifest.holdout:,}", "in the holdout", MEANINGS["holdout"])
            openings.add(label, _describe_holdout)
            if kept_out:
                w.figure(f"{kept_out:,}", "in quarantine", MEANINGS["quarantine"])
            if of.counts["rejected"]:
                w.figure(f"{of.counts['rejected']:,}", "left out", MEANINGS["rejected"])
        for warning in (*manifest.warnings, *manifest.quarantine.warnings):
            w.sentence(on_page(warning, context.title), "warn note")
        if of.unseen_contradictions:
            several = of.unseen_contradictions
            openings.add(w.text("", "warn note"), lambda count: tell_unseen(several, count))
        config = context.workspace.config
        split_details(found, None if config is None else config.data.validation)
        renewal_form(context, openings, refresh)


def tell_unseen(contradictions: int, openings: int) -> str:
    """That rows contradict earlier ones where they cannot be seen, and what can be done now."""
    rows_have = say_count(contradictions, "row has", "rows have")
    return (
        f"{rows_have} the input of an earlier row with another output, among those that are not "
        f"listed here. No answer to such an input is right both times. {_MEND[openings > 0]}"
    )


def _describe_holdout(openings: int) -> str:
    times = {0: "never opened", 1: "opened once"}.get(openings, f"opened {openings} times")
    return f"in the holdout, {times}"


PAGE = Page("/data", "Data", "table_rows", "Build", "viewer", build, wide=True)
