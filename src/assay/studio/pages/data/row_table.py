"""The table of rows, a page at a time, and the dialog in which a row is corrected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import JSONResponse
from nicegui import app as pages_app
from nicegui import events, ui

from assay.data.problems import CODES
from assay.errors import AssayError, HoldoutError, UsageError, on_page
from assay.example import Message
from assay.project import row_edits, row_forecast, rows
from assay.project.rows import Part, RowFilter, Rows
from assay.studio import widgets as w
from assay.studio.access import PREFIX
from assay.studio.browser import call_expression
from assay.studio.dialogs import (
    advise,
    confirm,
    keep_open_once_changed,
    notice_while,
    notify,
    open_dialog,
    read_choice,
    tell_at,
)
from assay.studio.frame import request_context
from assay.studio.pages.data.record_form import (
    InvalidFieldError,
    find_place,
    make_inputs,
    parse_record,
    read_labels,
)
from assay.studio.pages.data.row_change import change_row
from assay.studio.pages.data.row_filter import describe_count, make_filter, refuse_long
from assay.studio.session import LatestRequest, PageContext, Refresh, action
from assay.studio.shared.job_progress import ProgressState
from assay.studio.shared.turns import show_turns
from assay.studio.words import stand_alone

V = TypeVar("V", str, int)
ROWS = "/data/rows"
AT_ONCE = 100
MOST_AT_ONCE = 500
CLUSTERS = 50
_UNLISTED = (
    "Rows of the holdout, and rows much like them, are not listed: a row that has been seen no "
    "longer measures anything. "
)
_OPENING = "Click a row, or press Enter on it, to see all of it{act}."
_COPY = (
    " Lines are counted in {file}, the project's copy of your file, without repeated rows that "
    "were removed on Start."
)
FORMER = (
    "This row is from a holdout that was replaced, so it is not in the file of examples. To "
    "correct its answer, add a row with the same input and the right answer (“Add examples”): that "
    "one then counts in its place."
)
PART_NAMES: dict[Part, str] = {
    "train": "train",
    "validation": "validation",
    "undivided": "not split",
    "rejected": "left out",
}


@action("viewer")
def read_page(context: PageContext, where: RowFilter, start: int, end: int) -> dict[str, Any]:
    """The rows of the table between two places, in words, and how many fit."""
    found, count = rows.latest_rows(context.workspace).page(where, start, end)
    for row in found:
        row["place"] = f"{row['line']:,}" if row["line"] else "–"
        row["shown"] = PART_NAMES[row["part"]]
        row["problems"] = "; ".join(_describe(code) for code in row["problems"])
    return {"rows": found, "count": count}


@action("viewer")
def list_problems(context: PageContext, line: int) -> list[dict[str, Any]]:
    """The problems that were found in a row."""
    return rows.latest_rows(context.workspace).problems_of(line)


@action("viewer")
def count_rows(context: PageContext, line: int) -> int:
    """How many rows the record at a line is."""
    return rows.latest_rows(context.workspace).count_at(line)


@action("viewer")
def read_texts(context: PageContext, row: int) -> tuple[str, str]:
    """Input and expected output of a row whose record cannot be shown."""
    return rows.latest_rows(context.workspace).texts_of(row)


@action("viewer")
def read_turns(context: PageContext, row: int, line: int) -> tuple[Message, ...]:
    """The turns of a row that has calls, whose record shows them as JSON in JSON; else none."""
    turns = rows.latest_rows(context.workspace).turns_of(row, line)
    return turns if any(turn.tool_calls for turn in turns) else ()


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
    """The rows that the table asks for as it is scrolled; only for who is signed in, as all paths
    of the studio."""
    where = make_filter(part, problem, cluster, holding)
    try:
        found = read_page(request_context(request), where, start, min(end, start + MOST_AT_ONCE))
    except AssayError as error:
        return JSONResponse({"error": str(error)}, 409)
    return JSONResponse(found)


@dataclass
class TableView:
    """What a person has chosen to see of the rows; it outlives a table that is made anew.

    Attributes:
        place: of the row that was opened last, among those shown, from 0; None: none was.
    """

    part: str = ""
    problem: str = ""
    cluster: int = 0
    holding: str = ""
    place: int | None = None


class RowTable:
    """All rows that may be seen, a page at a time; a row is opened by a click or Enter."""

    def __init__(self, context: PageContext, of: Rows, refresh: Refresh, view: TableView) -> None:
        self._context, self._refresh, self._view = context, refresh, view
        config = context.workspace.config
        copy = "" if config is None else _COPY.format(file=config.data.file)
        opening = _OPENING.format(act=" or correct it" if context.may("editor") else "")
        with w.section("Rows", f"{_UNLISTED if of.is_divided else ''}{opening}{copy}"):
            with w.row("top-aligned"):
                there = {
                    str(part): name.capitalize()
                    for part, name in PART_NAMES.items()
                    if of.counts[part]
                }
                parts = {"": "All rows"} | there
                self._part = w.field("Show", ui.select(parts, value=_keep(view.part, parts)))
                codes = {code: f"{_describe(code)} ({n:,})" for code, n in of.problems.items()}
                options = {"": "No filter", **codes}
                self._problem = w.field(
                    "With problem", ui.select(options, value=_keep(view.problem, options))
                )
                largest = list(of.clusters.items())[:CLUSTERS]
                alike = {line: f"Line {line:,}: {count:,} rows" for line, count in largest}
                alike = {0: "No filter", **alike}
                self._cluster = w.field(
                    "Similar rows", ui.select(alike, value=_keep(view.cluster, alike))
                )
                holding = ui.input(value=view.holding, validation=refuse_long)
                holding.props("debounce=400 clearable")
                self._holding = w.field("Containing", holding)
            self._told = w.text("", "soft note").props("role=status")
            self._latest, self._is_divided = LatestRequest(), of.is_divided
            place = max(0, min(view.place or 0, len(of) - 1))
            scroll = {":onGridReady": call_expression(_SCROLL, place)}
            self._grid = ui.aggrid(
                {
                    "columnDefs": _COLUMNS,
                    "defaultColDef": {"sortable": False, "resizable": True},
                    "rowModelType": "infinite",
                    "cacheBlockSize": AT_ONCE,
                    "maxBlocksInCache": 20,
                    "infiniteInitialRowCount": min(len(of), max(place + 1, AT_ONCE)),
                    "rowHeight": 40,
                    "suppressFieldDotNotation": True,
                    ":datasource": call_expression(_SOURCE, self._address()),
                    ":onCellKeyDown": _ENTER,
                    **({} if view.place is None else scroll),
                },
            ).classes("rows")
            self._grid.on("cellClicked", self._open_clicked)
            ui.on(_ENTERED, self._open_clicked)
            for control in (self._part, self._problem, self._cluster, self._holding):
                control.on_value_change(self._filter)

    def _address(self) -> str:
        query = urlencode(
            {
                "part": self._part.value or "",
                "problem": self._problem.value or "",
                "cluster": self._cluster.value or "",
                "holding": self._holding.value or "",
            }
        )
        return f"{PREFIX}{ROWS}?{query}"

    async def _filter(self) -> None:
        if refuse_long(self._holding.value):  # which its field says
            return
        view = self._view
        view.part, view.problem = self._part.value or "", self._problem.value or ""
        view.cluster, view.holding = self._cluster.value or 0, self._holding.value or ""
        view.place = None
        source = {":datasource": call_expression(_SOURCE, self._address())}
        self._grid.run_grid_method("updateGridOptions", source)
        is_latest = self._latest.start()
        where = make_filter(view.part, view.problem, str(view.cluster or ""), view.holding)
        count = (await self._context.do(read_page, where, 0, 0))["count"]
        if is_latest():
            self._told.text = describe_count(count, self._is_divided)

    async def _open_clicked(self, event: events.GenericEventArguments) -> None:
        data = event.args.get("data") if isinstance(event.args, dict) else None
        if isinstance(data, dict) and isinstance(data.get("line"), int):
            place = event.args.get("rowIndex")
            self._view.place = place if isinstance(place, int) and 0 <= place < 2**31 else None
            if data["line"]:
                await self._open(int(data["line"]), data["part"], int(data["row"]))
            else:
                await self._show_other(data["part"], int(data["row"]))

    async def _show_other(self, part: Part, row: int) -> None:
        """A row that does not stand in the project's file, where it cannot be changed."""
        texts = await self._context.do(read_texts, row)
        config = self._context.workspace.config
        file = None if config is None or part != "validation" else config.data.validation
        said = FORMER if file is None else f"This row stands in {file}. Correct it there."
        with open_dialog("A row of another file", style="wide-dialog") as dialog:
            with w.row():
                w.badge(PART_NAMES[part], "good")
            _show_texts(texts)
            w.text(said, "soft note")
            with w.row():
                w.button("Close", dialog.close)
        await read_choice(dialog)

    async def _open(self, line: int, part: Part, row: int) -> None:
        problems = await self._context.do(list_problems, line)
        fixed: AssayError | None = None
        turns: tuple[Message, ...] = ()
        texts: tuple[str, ...] = ()
        record: Any = None
        try:
            record = await self._context.read(row_edits.record, line)
            turns = await self._context.do(read_turns, row, line)
        except UsageError as error:
            fixed = error
            texts = await self._context.do(read_texts, row)
        may = self._context.may("editor") and fixed is None
        with open_dialog(f"Line {line:,}", style="wide-dialog") as dialog:
            with w.row():
                kind = {"rejected": "bad", "undivided": "warn"}.get(part, "good")
                w.badge(PART_NAMES[part], kind)
            for one in problems:
                said = stand_alone(f"{one['message']} {on_page(one['fix'], self._context.title)}")
                w.sentence(said, "warn note pre")
            show_turns(turns)
            if fixed is not None:
                _show_texts(texts)
                w.sentence(stand_alone(fixed), "soft note")
            inputs = make_inputs(record, may, read_labels(self._context))

            async def save() -> None:
                try:
                    values = {name: made.value or "" for name, made in inputs.items()}
                    changed = parse_record(record, values)
                except InvalidFieldError as error:
                    tell_at(inputs[error.field], error)
                    return
                # Where it fails, the dialog stays, with all that was typed.
                if changed == record:
                    advise("Nothing was changed: the row is as it was.")
                    dialog.close()
                    return
                if part != "rejected":  # of such a row, one of several errors may be corrected
                    wrong = await self._context.read(row_forecast.find_error, changed)
                    if wrong is not None:
                        tell_at(
                            inputs[find_place(list(inputs), wrong.field)],
                            UsageError(
                                wrong.message, fix=f"{on_page(wrong.fix)} Nothing was saved."
                            ),
                        )
                        return
                # What is typed meanwhile would be lost without a word.
                for made in inputs.values():
                    made.disable()
                try:
                    if await self._write(line, changed, record):
                        dialog.submit("save")
                finally:
                    for made in inputs.values():
                        made.enable()

            with w.row():
                if may:
                    if inputs:
                        w.button("Save", save, kind="primary", icon="save")
                    w.button("Remove", lambda: dialog.submit("out"), kind="danger")
                close = w.button("Close", dialog.close)
            keep_open_once_changed(dialog, inputs.values(), close)
        chosen = await read_choice(dialog)
        is_changed = chosen == "save"
        count = await self._context.do(count_rows, line) if chosen == "out" else 0
        several = f" and its {count:,} rows" if count > 1 else ""
        if chosen == "out" and await confirm(
            f"Remove line {line:,}{several} from the file?",
            "It is removed from the file itself, and the examples are split again.",
            "Remove",
        ):
            is_changed = await self._write(line, None, record)
        if is_changed:
            await self._refresh()

    async def _write(self, line: int, record: dict[str, Any] | None, before: Any) -> bool:
        """Whether the file was changed; where the holdout forbids it, that is told."""
        changing = "Changing the file and splitting it again. With many rows this takes a while."
        try:
            with notice_while(changing):
                advice = await self._context.do(change_row, line, record, before, ProgressState())
        except HoldoutError as error:
            advise(f"The file was left as it was: {error}")
            return False
        if advice:
            advise(advice)
        else:
            notify("The row was saved." if record is not None else "The row was removed.")
        return True


def _show_texts(texts: tuple[str, ...]) -> None:
    for label, text in zip(("Input", "Expected output"), texts, strict=True):
        w.field(label, ui.textarea(value=text).props("autogrow readonly"))


def _keep(value: V, options: Mapping[V, str]) -> V:
    """What was chosen before, while it is offered; else the first option, which filters nothing."""
    return value if value in options else next(iter(options))


def _describe(code: str) -> str:
    """What a problem is, in a few words that begin with a capital."""
    meaning = CODES[code][1]
    return f"{meaning[:1].upper()}{meaning[1:]}"


_COLUMNS = [
    {"field": "place", "headerName": "Line", "width": 90, "cellClass": "number"},
    {"field": "shown", "headerName": "Part", "width": 110},
    {"field": "input", "headerName": "Input", "flex": 4, "minWidth": 260},
    {"field": "output", "headerName": "Expected output", "flex": 2, "minWidth": 160},
    {"field": "problems", "headerName": "Problems", "flex": 2, "minWidth": 160},
]
_ENTERED = "data_row_entered"
_ENTER = f"""(pressed) => {{
  if (pressed.event.key === "Enter") emitEvent(
    "{_ENTERED}", {{ data: pressed.data, rowIndex: pressed.rowIndex }}
  );
}}"""
_SCROLL = """(place) => (ready) => {
  ready.api.ensureIndexVisible(place, "middle");
  document.querySelector(".rows").scrollIntoView({ block: "nearest" });
}"""
_SOURCE = """(address) => ({ getRows: async (wanted) => {
  try {
    const asked = address + "&start=" + wanted.startRow + "&end=" + wanted.endRow;
    const answer = await fetch(asked);
    if (!answer.ok) return wanted.failCallback();
    const found = await answer.json();
    wanted.successCallback(found.rows, found.count);
  } catch (error) { wanted.failCallback(); }
} })"""
