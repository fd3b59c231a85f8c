"""Where examples that were measured stand in their file now.

    rows = with_present_lines(workspace, rows)

A holdout is locked with the lines that its rows had then. Rows above them may be removed or added
later; whoever looks an answer up in the file looks for the line that it has today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from assay.chat.plain_calls import say_input
from assay.compare.result import AnswerRow
from assay.config import Columns
from assay.config.names import file_of
from assay.data.formats.hub import PREFIX
from assay.data.read import detect, read
from assay.errors import AssayError
from assay.project.workspace import Workspace, project_of
from assay.store.files import stamp_of

Said = tuple[str, str]
"""Input and output of an example."""


def with_present_lines(workspace: Workspace, rows: Sequence[AnswerRow]) -> tuple[AnswerRow, ...]:
    """The rows with the lines that they have in their file now; with line 0 those whose input and
    output no longer stand there, and with their old lines all of them where it cannot be read."""
    try:
        data = project_of(workspace).config.data
        name = data.holdout or data.file
        if name.startswith(PREFIX):
            return tuple(rows)
        file = file_of(name, workspace.root)
        stamp, wanted = stamp_of(file), frozenset(_said(row.input, row.reference) for row in rows)
        columns = None if data.columns is None else data.columns.model_dump_json()
        lines = _lines(file, stamp, data.format, columns, wanted)
    except (AssayError, OSError):
        return tuple(rows)
    return tuple(row.model_copy(update={"line": _line(row, lines)}) for row in rows)


def _said(input: str, output: str) -> Said:
    return input.strip(), output.strip()


def _line(row: AnswerRow, lines: Mapping[Said, Sequence[int]]) -> int:
    """Its line; of several that say the same the one that it had, if that is among them."""
    found = lines.get(_said(row.input, row.reference), [0])
    return row.line if row.line in found else found[0]


@lru_cache(maxsize=4)
def _lines(
    file: Path,
    _changed: tuple[int, int],
    format: str | None,
    columns: str | None,
    wanted: frozenset[Said],
) -> dict[Said, list[int]]:
    form = detect(file, None if columns is None else Columns.model_validate_json(columns))
    found: dict[Said, list[int]] = {}
    for row in read(file, format or form.format, form.columns):
        if row.example is not None:
            one = row.example
            # Rows that were written before calls of earlier turns were are without them.
            for given in dict.fromkeys((say_input(one), one.input)):
                said = _said(given, one.output)
                if said in wanted:
                    found.setdefault(said, []).append(one.line)
    return found
