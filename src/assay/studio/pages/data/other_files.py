"""Files that are no part of the project: checked, converted, searched for common rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nicegui import events, ui

from assay.config import Columns
from assay.data.checks import CheckReport
from assay.data.overlap import OverlapReport
from assay.errors import UsageError
from assay.project import files
from assay.project.knowledge import documents
from assay.quantities import say_count
from assay.studio import widgets as w
from assay.studio.dialogs import errors_at
from assay.studio.session import PageContext, action
from assay.studio.shared.files import file_picker, save_files
from assay.studio.shared.findings import describe_columns, problems_card, row_figures

TASKS = {
    "check": "Check a file for problems",
    "convert": "Convert a file to conversations (OpenAI's JSONL)",
    "overlap": "Find rows that two files share",
}
SHOWN_TWINS = 20


@dataclass(frozen=True, slots=True)
class Conversion:
    """A file as conversations, and how many rows became some."""

    content: bytes
    written: int
    rejected: int


@action("editor")
def check_upload(context: PageContext, file: Path) -> CheckReport:
    """Every problem of an uploaded file."""
    columns = files.find_columns(_columns(context), file)
    return files.check_file(file, folder=file.parent, columns=columns, guess_task=True)


@action("editor")
def convert_upload(context: PageContext, file: Path) -> Conversion:
    """An uploaded file in OpenAI's JSONL."""
    to = file.with_name("conversations.jsonl")
    done = files.import_file(file, to, columns=files.find_columns(_columns(context), file))
    return Conversion(to.read_bytes(), done["written"], done["rejected"])


@action("editor")
def find_overlap(context: PageContext, first: Path, second: Path) -> OverlapReport:
    """Rows of the second file that stand in the first; its answers there and in documents of the
    project."""
    texts = documents.texts(context.workspace)
    return files.overlap_files(first, second, columns=_columns(context), texts=texts)


def _columns(context: PageContext) -> Columns | None:
    """The project's, which a file of its kind has, too."""
    config = context.workspace.config
    return None if config is None else config.data.columns


def explain_task(report: CheckReport) -> str:
    """As what the outputs of a file were checked, and why; empty where it has none."""
    if not report.valid:
        return ""
    if report.task == "label":
        return "The outputs are few and short, so they were checked as labels."
    if report.task == "json":
        return "Nearly all outputs are records, so they were checked as records."
    return "The outputs were checked as texts: they are too many or too long for labels."


class OtherFiles:
    """Takes files and shows what is in them; they are not kept."""

    def __init__(self, context: PageContext) -> None:
        self._context = context
        with w.details("Check or convert other files"), ui.element("div").classes("stack gap"):
            w.text("They are neither added to the project nor kept.", "soft note")
            self._task = w.label_input(ui.select(TASKS, value="check"), "Task")
            self._upload = file_picker(
                "Choose one or two files",
                on_files=self._receive,
                multiple=True,
                most=2,
                refusal="Choose two files at most.",
            )
            self._shown = ui.element("div").classes("stack gap").props("role=status")

    async def _receive(self, event: events.MultiUploadEventArguments) -> None:
        self._upload.reset()
        with w.refill(self._shown):
            loading = w.waiting("Reading")
        try:
            with errors_at(self._task):
                async with save_files(event.files) as paths:
                    await self._show([file.name for file in event.files], paths)
        finally:
            if not loading.is_deleted:
                loading.delete()

    async def _show(self, names: list[str], paths: list[Path]) -> None:
        task = self._task.value
        if (task == "overlap") != (len(paths) == 2):
            wanted = "two files" if task == "overlap" else "one file"
            raise UsageError(f"this task needs {wanted}.", fix=f"Choose {wanted}.")
        if task == "check":
            report = await self._context.do(check_upload, paths[0])
            with self._shown:
                self._show_report(names[0], report)
        elif task == "convert":
            done = await self._context.do(convert_upload, paths[0])
            with self._shown:
                self._show_conversion(names[0], done)
        else:
            twins = await self._context.do(find_overlap, paths[0], paths[1])
            with self._shown:
                self._show_twins(names, twins)

    def _show_report(self, name: str, report: CheckReport) -> None:
        w.text(f"{name}, read as {report.format}", "strong")
        if report.columns is not None:
            w.text(describe_columns((), report.columns), "soft note")
        if said := explain_task(report):
            w.text(said, "soft note")
        with w.row("figures"):
            row_figures(report)
        problems_card(report)

    def _show_conversion(self, name: str, done: Conversion) -> None:
        w.text(
            f"{say_count(done.written, 'example')} converted from {name}; "
            f"{say_count(done.rejected, 'row has', 'rows have')} errors."
        )
        to = f"{Path(name).stem}.jsonl"
        with w.row():
            w.button(f"Download {to}", lambda: ui.download(done.content, to), icon="download")

    def _show_twins(self, names: list[str], found: OverlapReport) -> None:
        first, second = names
        w.text(
            f"Rows of {second} that are also in {first}: {found.exact:,} exactly, "
            f"{found.near:,} nearly.",
            "strong",
        )
        w.text(
            f"Answers of {second} that are also answers in {first}, word for word: "
            f"{found.answers or 0:,}. With labels all of them are; with free texts, these can be "
            "answered by copying."
        )
        if found.documents is not None:
            w.text(
                f"Questions of {second} that stand word for word, with their answer, in one of the "
                f"project's documents: {found.documents:,}."
            )
        if not found.rows:
            return
        with w.table(
            w.Number(f"Row of {second}"),
            w.Number(f"Row of {first}"),
            "Match",
            w.Number("Similarity"),
            label="Shared rows",
        ):
            for twin in found.rows[:SHOWN_TWINS]:
                w.line(
                    w.Number(f"{twin.holdout_row}"),
                    w.Number(f"{twin.train_row}"),
                    twin.kind,
                    w.Number(f"{twin.similarity:.3f}"),
                )
