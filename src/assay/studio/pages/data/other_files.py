"""Files that are no part of the project yet: checked, converted, held against one another."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from nicegui import events, ui

from assay.data.checks import CheckReport
from assay.data.overlap import OverlapReport
from assay.errors import AssayError, UsageError
from assay.project import files
from assay.studio.dialogs import say, telling
from assay.studio.session import Visit, action
from assay.studio.shared.findings import problems_card
from assay.studio.widgets import button, cells, figure, named, row, table, text, waiting

WAYS = {
    "check": "Find what is wrong with a file",
    "convert": "Convert a file into conversations (OpenAI's JSONL)",
    "overlap": "Find rows that stand in both of two files",
}
SHOWN_TWINS = 20


@dataclass(frozen=True, slots=True)
class Converted:
    """A file as conversations."""

    content: bytes
    written: int
    rejected: int


@action("editor")
def check_file(visit: Visit, file: Path) -> CheckReport:
    """Every problem of a file that was brought."""
    return files.check_file(file, folder=file.parent)


@action("editor")
def convert(visit: Visit, file: Path) -> Converted:
    """A file that was brought, in OpenAI's JSONL."""
    to = file.with_name("conversations.jsonl")
    done = files.import_file(file, to)
    return Converted(to.read_bytes(), done["written"], done["rejected"])


@action("editor")
def overlap(visit: Visit, first: Path, second: Path) -> OverlapReport:
    """Rows of the second file that stand in the first."""
    return files.overlap_files(first, second)


class OtherFiles:
    """The part of the page; what is brought is gone when it was looked at."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        with ui.element("details"):
            text("Look at other files", tag="summary")
            with ui.element("div").classes("stack gap"):
                text("They become no part of the project, and are not kept.", "soft note")
                self._way = ui.select(WAYS, value="check")
                named(self._way, "What to do with them")
                self._upload = ui.upload(
                    on_multi_upload=self._brought, auto_upload=True, multiple=True, max_files=2
                ).classes("picked-only")
                self._upload.on("rejected", lambda: say("Two files at most."))
                with row():
                    button(
                        "Choose one or two files",
                        lambda: self._upload.run_method("pickFiles"),
                        icon="folder_open",
                    )
                self._shown = ui.element("div").classes("stack gap").props("role=status")

    async def _brought(self, event: events.MultiUploadEventArguments) -> None:
        self._upload.reset()
        self._shown.clear()
        with self._shown:
            seen = waiting("Reading")
        with telling(), tempfile.TemporaryDirectory() as folder:
            try:
                names, paths = [], []
                for number, file in enumerate(event.files):
                    path = Path(folder) / f"{number}{Path(file.name).suffix}"
                    await file.save(path)
                    names.append(file.name)
                    paths.append(path)
                await self._show(names, paths)
            except AssayError as error:
                for name, path in zip(names, paths, strict=True):
                    error.calling(str(path), name)
                raise
            finally:
                if not seen.is_deleted:
                    seen.delete()

    async def _show(self, names: list[str], paths: list[Path]) -> None:
        way = self._way.value
        if (way == "overlap") != (len(paths) == 2):
            wanted = "two files" if way == "overlap" else "one file"
            raise UsageError(f"this takes {wanted}.", fix="Choose again.")
        if way == "check":
            report = await self._visit.do(check_file, paths[0])
            with self._shown:
                self._checked(names[0], report)
        elif way == "convert":
            done = await self._visit.do(convert, paths[0])
            with self._shown:
                self._converted(names[0], done)
        else:
            twins = await self._visit.do(overlap, paths[0], paths[1])
            with self._shown:
                self._twins(names, twins)

    def _checked(self, name: str, report: CheckReport) -> None:
        text(f"{name}, read as {report.format}", "strong")
        with row("figures"):
            figure(f"{report.valid:,}", "examples that can be used")
            figure(f"{report.rejected:,}", "rows left out")
            figure(f"{report.exact + report.near:,}", "repeated examples")
        problems_card(report)

    def _converted(self, name: str, done: Converted) -> None:
        text(f"{done.written:,} examples of {name}; {done.rejected:,} rows have an error.")
        to = f"{Path(name).stem}.jsonl"
        with row():
            button(f"Download {to}", lambda: ui.download(done.content, to), icon="download")

    def _twins(self, names: list[str], found: OverlapReport) -> None:
        first, second = names
        text(
            f"{found.exact:,} rows of {second} stand exactly in {first}, {found.near:,} nearly.",
            "strong",
        )
        if not found.rows:
            return
        with table(f"#Row of {second}", f"#Row of {first}", "", "#Likeness", label="Twins"):
            for twin in found.rows[:SHOWN_TWINS]:
                with cells(
                    f"#{twin.holdout_row}", f"#{twin.train_row}", twin.kind,
                    f"#{twin.similarity:.3f}",
                ):  # fmt: skip
                    pass
