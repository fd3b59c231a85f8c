"""The inputs of one row of the file, and the record that they say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from assay import json_reader
from assay.config import split_names
from assay.data.problems import escape_surrogates
from assay.errors import UsageError
from assay.studio import widgets as w
from assay.studio.session import PageContext
from assay.studio.shared.findings import show_spaces


def read_labels(context: PageContext) -> dict[str, Sequence[str]]:
    """The labels that can be chosen, by the column that holds one."""
    config = context.workspace.config
    if config is None or not config.labels or config.data.columns is None:
        return {}
    outputs = config.data.columns.output
    return {outputs[0]: config.labels} if len(outputs) == 1 else {}


def make_inputs(
    record: Any, may: bool, labels: Mapping[str, Sequence[str]]
) -> dict[str, ui.textarea | ui.select]:
    """One input a field; what is no text is shown as JSON. A line that is no record: as it is.

    Args:
        labels: to choose from, by field.
    """
    if record is None:
        return {}
    fields = record if isinstance(record, dict) else {"The whole line": record}
    made: dict[str, ui.textarea | ui.select] = {}
    for name, value in fields.items():
        plain = isinstance(value, str)
        if may and plain and name in labels:
            offered = {label: show_spaces(label) or "(empty)" for label in (value, *labels[name])}
            choice = ui.select(offered, value=value)
            made[name] = w.field(name, choice)
            continue
        shown = value if plain else json.dumps(value, indent=2, ensure_ascii=False)
        area = (
            ui.textarea(value=escape_surrogates(shown))
            .props("autogrow")
            .classes("" if plain else "mono")
        )
        area.set_enabled(may)
        made[str(name)] = w.field(str(name), area, "" if plain else "JSON")
    return made


def find_place(names: Sequence[str], field: str | None) -> str:
    """The field at which a problem of a row is told: the first one that the problem names, else the
    last one.

    Args:
        field: of the problem: a name, or columns as `join_names` lists them.
    """
    wanted = () if field is None else (field, *split_names(field))
    return next((name for name in wanted if name in names), names[-1])


class InvalidFieldError(UsageError):
    """What was filled into a field cannot be saved.

    Attributes:
        field: its name.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message, fix="Correct it here and save again; nothing was changed.")
        self.field = field


def parse_record(record: Any, values: dict[str, str]) -> dict[str, Any]:
    """What was filled in, as a record; fields that were JSON are read as JSON.

    Raises:
        InvalidFieldError: one is none.
    """
    if isinstance(record, dict):
        return {
            name: _text(record[name], value)
            if isinstance(record[name], str)
            else _parse(name, value)
            for name, value in values.items()
        }
    [(name, whole)] = values.items()
    read = _parse(name, whole)
    if not isinstance(read, dict):
        raise InvalidFieldError(name, "the line must be one JSON object.")
    return read


def _text(before: str, value: str) -> str:
    """What stands in a field: a text with broken bytes, which are shown escaped, stays as it was
    where nobody has changed it."""
    return before if value == escape_surrogates(before) else value


def _parse(name: str, value: str) -> Any:
    try:
        return json_reader.read(value)
    except ValueError as error:
        said = f"this is not valid JSON: {json_reader.describe(error)}{_place(error)}."
        raise InvalidFieldError(name, said) from None


def _place(error: ValueError) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return ""
    return f" (line {error.lineno}, column {error.colno})"
