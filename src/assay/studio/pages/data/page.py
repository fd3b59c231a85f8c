"""Data: the examples, however many; what is wrong with them, what is alike, what is locked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import JSONResponse
from nicegui import app as pages_app
from nicegui import events, ui
from nicegui.element import Element

from assay import json_reader
from assay.data.problems import CODES
from assay.errors import AssayError, UsageError
from assay.progress import Progress
from assay.project import rows
from assay.project.rows import PARTS, Locked, RowFilter, Rows
from assay.studio.access import PREFIX
from assay.studio.dialogs import put_away, say, sure, telling
from assay.studio.frame import Page, visit_of
from assay.studio.pages.data.other_files import OtherFiles
from assay.studio.pages.data.questions import Questions, standing
from assay.studio.pages.data.renewal import how_divided, renewing
from assay.studio.scripts import expression
from assay.studio.session import Visit, action
from assay.studio.shared.upload import Told
from assay.studio.widgets import (
    badge,
    bar,
    button,
    card,
    empty,
    failure,
    field,
    figure,
    heading,
    named,
    row,
    set_bar,
    text,
    title,
)

ROWS = "/data/rows"
AT_ONCE = 100
MOST_AT_ONCE = 500
CLUSTERS = 50
MEANINGS = {
    "train": "What models are shown and trained on.",
    "validation": "What every setting is chosen by.",
    "holdout": "Locked: only a comparison opens it, and every opening is written down. Not shown, "
    "to you or anybody: a row that was seen measures nothing.",
    "quarantine": "Nearly the same as a row of the holdout, so they may neither train nor choose. "
    "Not shown either.",
    "rejected": "Rows with an error, which nothing uses until it is mended.",
}
SHOW: dict[str, str] = {"": "All rows", **{str(part): part.capitalize() for part in PARTS}}
Refresh = Callable[[], Awaitable[None]]
_turn = asyncio.Lock()
"""Threads are few, and the division is the same for all: who waits for it waits without one."""


@action("viewer")
def division(visit: Visit, progress: Progress) -> tuple[Locked, Rows]:
    """How the rows are divided, and those that may be seen."""
    found = rows.open_rows(visit.workspace, progress)
    return rows.locked(visit.workspace), found


@action("viewer")
def page_of(visit: Visit, where: RowFilter, start: int, end: int) -> dict[str, Any]:
    """Rows for the table."""
    found, count = rows.opened(visit.workspace).page(where, start, end)
    return {"rows": found, "count": count}


@action("viewer")
def problems_of(visit: Visit, line: int) -> list[dict[str, Any]]:
    """What was found in a row."""
    return rows.opened(visit.workspace).problems_of(line)


@action("viewer")
def record_of(visit: Visit, line: int) -> Any:
    """A row as it stands in the file."""
    return rows.record(visit.workspace, line)


@action("editor")
def change(
    visit: Visit, line: int, record: dict[str, Any] | None, before: Any, progress: Progress
) -> None:
    """Mend a row, or take it out."""
    rows.change(visit.workspace, line, record, before, progress)
    rows.open_rows(visit.workspace, progress)


@pages_app.get(ROWS, include_in_schema=False)
def serve_rows(
    request: Request,
    start: int,
    end: int,
    part: str = "",
    problem: str = "",
    cluster: str = "",
    holding: str = "",
) -> JSONResponse:
    """What the table asks for as it is scrolled; behind the studio's door, as all its paths."""
    where = RowFilter(
        part=next((one for one in PARTS if one == part), None),
        problem=problem or None,
        # Python reads no number of thousands of digits; such a line is that of no row.
        cluster=int(cluster[:18]) if cluster.isdecimal() else None,
        text=holding,
    )
    try:
        found = page_of(visit_of(request), where, start, min(end, start + MOST_AT_ONCE))
    except AssayError as error:
        return JSONResponse({"error": str(error)}, 409)
    return JSONResponse(found)


async def build(visit: Visit) -> None:
    """The division first, which may take a while; then the table."""
    title(
        "Data",
        "Your examples as they are used: what is wrong with them, which are alike, and which are "
        "locked away to measure by.",
    )
    if visit.workspace.project is None:
        empty(
            "table_rows",
            "No examples yet",
            "Bring a file of examples on the page Start; then they are here.",
            act=("Go to Start", "/"),
        )
        return
    asked = ui.element("div").classes("stack gap")
    shown = ui.element("div").classes("stack gap")
    if visit.may("editor"):
        with card():
            OtherFiles(visit)

    async def refresh() -> None:
        shown.clear()
        told = Told()
        if not await _questions(visit, asked, refresh):
            return
        with shown:
            with card():
                text("Reading, checking and dividing the examples", "strong").props("role=status")
                moving = bar(None, "Examples are read")
                said = text("", "soft note")

            def look() -> None:
                set_bar(moving, told.share)
                said.text = told.label

            watching = ui.timer(0.4, look)
            try:
                async with _turn:
                    found = await visit.do(division, told)
            except AssayError as error:
                if not shown.is_deleted:
                    shown.clear()
                    failure(error)
                return
            finally:
                watching.cancel()
            if shown.is_deleted:
                return
            shown.clear()
            _division(visit, found[0], found[1], refresh)
            Table(visit, found[1], refresh)

    ui.timer(0.05, refresh, once=True)  # the page is there before it


async def _questions(visit: Visit, asked: Element, measured: Refresh) -> bool:
    """Drafted questions, where there are any; whether there is something to divide."""
    now = await visit.do(standing)
    if now is None:
        return True
    if not asked.default_slot.children:
        with asked:
            Questions(visit, now, measured)
    return now.measured


def _division(visit: Visit, found: Locked, of: Rows, refresh: Refresh) -> None:
    manifest = found.manifest
    times = {0: "never opened", 1: "opened once"}.get(
        found.openings, f"opened {found.openings} times"
    )
    kept_out = manifest.quarantine.train_removed + manifest.quarantine.validation_removed
    with card():
        with row("figures"):
            figure(f"{manifest.train:,}", "to train", MEANINGS["train"])
            figure(f"{manifest.validation:,}", "to choose by", MEANINGS["validation"])
            figure(f"{manifest.holdout:,}", f"locked, {times}", MEANINGS["holdout"])
            if kept_out:
                figure(f"{kept_out:,}", "kept out", MEANINGS["quarantine"])
            if of.counts["rejected"]:
                figure(f"{of.counts['rejected']:,}", "rejected", MEANINGS["rejected"])
        for warning in (*manifest.warnings, *manifest.quarantine.warnings):
            text(warning, "warn note")
        how_divided(found)
        renewing(visit, found, refresh)


class Table:
    """All rows that may be seen, a page at a time; a row is opened by a click or Enter."""

    def __init__(self, visit: Visit, of: Rows, refresh: Refresh) -> None:
        self._visit, self._refresh = visit, refresh
        with card():
            heading("Rows", "Click a row, or press Enter on it, to see all of it and to mend it.")
            with row("top-aligned"):
                with field("Show"):
                    self._part = ui.select(SHOW, value="")
                    named(self._part, "Show")
                with field("With the problem"):
                    codes = {code: f"{code} ({count:,})" for code, count in of.problems.items()}
                    self._problem = ui.select({"": "Any or none", **codes}, value="")
                    named(self._problem, "With the problem")
                with field("Alike"):
                    largest = list(of.clusters.items())[:CLUSTERS]
                    alike = {line: f"line {line:,}: {count:,} rows" for line, count in largest}
                    self._cluster = ui.select({0: "All", **alike}, value=0)
                    named(self._cluster, "Alike")
                with field("That hold"):
                    self._holding = ui.input().props("debounce=400 clearable")
                    named(self._holding, "That hold")
            self._meaning = text("", "soft note")
            self._grid = ui.aggrid(
                {
                    "columnDefs": _COLUMNS,
                    "defaultColDef": {"sortable": False, "resizable": True},
                    "rowModelType": "infinite",
                    "cacheBlockSize": AT_ONCE,
                    "maxBlocksInCache": 20,
                    "infiniteInitialRowCount": min(len(of), AT_ONCE),
                    "rowHeight": 40,
                    "suppressFieldDotNotation": True,
                    ":datasource": expression(_SOURCE, self._address()),
                    ":onCellKeyDown": _ENTER,
                    "overlayNoRowsTemplate": "No row fits.",
                },
            ).classes("rows")
            self._grid.on("cellClicked", self._clicked)
            ui.on(_ENTERED, self._clicked)
            for control in (self._part, self._problem, self._cluster, self._holding):
                control.on_value_change(self._wished)

    def _address(self) -> str:
        asked = urlencode(
            {
                "part": self._part.value or "",
                "problem": self._problem.value or "",
                "cluster": self._cluster.value or "",
                "holding": self._holding.value or "",
            }
        )
        return f"{PREFIX}{ROWS}?{asked}"

    def _wished(self) -> None:
        code = self._problem.value
        self._meaning.text = f"{code}: {CODES[code][1]}." if code else ""
        source = {":datasource": expression(_SOURCE, self._address())}
        self._grid.run_grid_method("updateGridOptions", source)

    async def _clicked(self, event: events.GenericEventArguments) -> None:
        data = event.args.get("data") if isinstance(event.args, dict) else None
        if isinstance(data, dict) and isinstance(data.get("line"), int):
            await self._open(data)

    async def _open(self, data: dict[str, Any]) -> None:
        line = int(data["line"])
        with telling():
            problems = await self._visit.do(problems_of, line)
            fixed: AssayError | None = None
            record: Any = None
            try:
                record = await self._visit.do(record_of, line)
            except UsageError as error:
                fixed = error
            await self._dialog(line, str(data["part"]), problems, record, fixed)

    async def _dialog(
        self,
        line: int,
        part: str,
        problems: list[dict[str, Any]],
        record: Any,
        fixed: AssayError | None,
    ) -> None:
        may = self._visit.may("editor") and fixed is None
        with ui.dialog(value=True) as dialog, ui.card().classes("studio wide-dialog"):
            with row("spread"):
                heading(f"Line {line:,}")
                badge(part, "bad" if part == "rejected" else "good")
            for one in problems:
                text(f"{one['message']} {one['fix']}", "warn note pre")
            if fixed is not None:
                text(f"{fixed.what} {fixed.fix or ''}", "soft note")
            inputs = _inputs(record, may)
            with row():
                if may:
                    if inputs:
                        button("Save", lambda: dialog.submit("save"), kind="primary", icon="save")
                    button("Take it out", lambda: dialog.submit("out"), kind="danger")
                button("Close", dialog.close)
        chosen = await dialog
        values = {name: made.value or "" for name, made in inputs.items()}
        put_away(dialog)
        if chosen == "save":
            await self._change(line, _read(record, values), record)
        elif chosen == "out" and await sure(
            f"Take line {line:,} out of the file?",
            "It is gone from the file itself, and the examples are divided again.",
            "Take it out",
        ):
            await self._change(line, None, record)

    async def _change(self, line: int, record: dict[str, Any] | None, before: Any) -> None:
        if record == before:
            return
        with telling():
            ui.notify("The file is changed and divided again; with many rows that takes a while.")
            await self._visit.do(change, line, record, before, Told())
            say("The row is mended." if record is not None else "The row is out.")
            await self._refresh()


def _inputs(record: Any, may: bool) -> dict[str, ui.textarea]:
    """One input a field; what is no text is shown as JSON. A line that is no record: as it is."""
    if record is None:
        return {}
    fields = record if isinstance(record, dict) else {"The line as it stands": record}
    made = {}
    for name, value in fields.items():
        plain = isinstance(value, str)
        with field(str(name), "" if plain else "JSON"):
            shown = value if plain else json.dumps(value, indent=2, ensure_ascii=False)
            area = ui.textarea(value=shown).props("autogrow").classes("" if plain else "mono")
            named(area, str(name))
            area.set_enabled(may)
            made[str(name)] = area
    return made


def _read(record: Any, values: dict[str, str]) -> dict[str, Any]:
    """What was filled in, as a record; fields that were JSON are read as JSON.

    Raises:
        UsageError: they are none.
    """
    kinds = record if isinstance(record, dict) else {}
    try:
        if not isinstance(record, dict):
            [whole] = values.values()
            read = json_reader.read(whole)
            if not isinstance(read, dict):
                raise UsageError("the line must be one JSON object.")
            return read
        return {
            name: value if isinstance(kinds[name], str) else json_reader.read(value)
            for name, value in values.items()
        }
    except ValueError as error:
        raise UsageError(f"this is not JSON ({error}).", fix="Nothing was changed.") from None


_COLUMNS = [
    {"field": "line", "headerName": "Line", "width": 90, "cellClass": "number"},
    {"field": "part", "headerName": "Part", "width": 110},
    {"field": "input", "headerName": "What comes in", "flex": 3, "minWidth": 240},
    {"field": "output", "headerName": "What should come out", "flex": 2, "minWidth": 200},
    {"field": "problems", "headerName": "Problems", "width": 170},
]
_ENTERED = "data_row_entered"
_ENTER = f"""(pressed) => {{
  if (pressed.event.key === "Enter") emitEvent("{_ENTERED}", {{ data: pressed.data }});
}}"""
_SOURCE = """(address) => ({ getRows: async (wanted) => {
  try {
    const asked = address + "&start=" + wanted.startRow + "&end=" + wanted.endRow;
    const answer = await fetch(asked);
    if (!answer.ok) return wanted.failCallback();
    const found = await answer.json();
    wanted.successCallback(found.rows, found.count);
  } catch (error) { wanted.failCallback(); }
} })"""

PAGE = Page("/data", "Data", "table_rows", "Build", "viewer", build, wide=True)
