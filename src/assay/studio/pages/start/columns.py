"""What is in each column of a file, where a person has to say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from nicegui import ui

from assay.data.formats.objects import refuse_shared
from assay.data.formats.record import shorten, text_of
from assay.evaluate.documents import documents_by_name
from assay.project.start.entries import ColumnEntries
from assay.project.start.from_file import FileFindings
from assay.quantities import say_count
from assay.studio import widgets as w

NO_COLUMN = "Choose a column."
LONGEST_CELL = 80
"""Characters shown of a cell."""
SHOWN_MISSING = 3
"""So many documents that are not there are named."""


def choose_columns(
    found: FileFindings,
    chosen: ColumnEntries,
    keep: Callable[[ColumnEntries], Awaitable[None]],
    choose: Callable[[dict[str, Any]], Awaitable[None]],
    show_restart: Callable[[], None],
) -> None:
    """Ask what is in each column.

    Args:
        chosen: before, or as it is proposed.
        keep: called with what is chosen, whenever it changes.
        choose: called with the columns of each part.
        show_restart: makes a button that begins with another file.
    """
    names = list(found.fields)
    with w.section(
        "What is in each column?", f"{found.origin.name} has {say_count(len(names), 'column')}."
    ):
        _show_sample(names, found.sample)
        with w.row("top-aligned"):
            inputs = w.field(
                "Input columns",
                ui.select(
                    names,
                    multiple=True,
                    value=[name for name in chosen.input if name in names],
                    validation=lambda chosen: None if chosen else NO_COLUMN,
                ),
                "What is given, such as a message. One column or several.",
            )
            outputs = w.field(
                "Output columns",
                ui.select(
                    names,
                    multiple=True,
                    value=[name for name in chosen.output if name in names],
                    validation=lambda chosen: _refuse_output(chosen, inputs.value),
                ),
                "The right answer to it. One column, or several that become one record.",
            )
            group = w.field(
                "Group column",
                ui.select(
                    names, clearable=True, value=chosen.group if chosen.group in names else None
                ),
                "Optional: groups rows that belong together, such as one customer's.",
            )
            documents = w.field(
                "Document column",
                ui.select(
                    names,
                    clearable=True,
                    value=chosen.document if chosen.document in names else None,
                ),
                "Optional: names the document that answers the row; empty where none does.",
            )

        async def click() -> None:
            if inputs.validate() & outputs.validate():
                await choose(
                    {
                        "input": tuple(inputs.value),
                        "output": tuple(outputs.value),
                        "group": group.value,
                        "document": documents.value or "",
                    }
                )

        def entries() -> ColumnEntries:
            return ColumnEntries(
                tuple(inputs.value), tuple(outputs.value), group.value, documents.value
            )

        for select in (inputs, outputs, group, documents):
            select.on_value_change(lambda: keep(entries()))
        inputs.on_value_change(lambda: outputs.value and outputs.validate())
        with w.row():
            w.button("Continue", click, kind="primary")
            show_restart()


def describe_unnamed(found: FileFindings, documents: Sequence[str]) -> str | None:
    """That the column of documents' names has none of theirs, or others as well; None: all that it
    names are there, or there is no such column."""
    if found.draft is None or not (column := found.draft.choices.document):
        return None
    if not documents:
        return (
            f"The document column “{column}” has a use only with documents: upload them below, or "
            "leave it empty under “Choose other columns”."
        )
    named = Counter(one.document for one in found.draft.examples if one.document)
    there = documents_by_name(documents)
    missing = {name: rows for name, rows in named.items() if name not in there}
    if len(missing) < len(named):
        return _describe_missing(missing)
    return (
        f"No row's “{column}” is the name of a document that was uploaded. Upload the documents "
        "that it names, or leave the document column empty under “Choose other columns”."
    )


def _describe_missing(rows: Mapping[str, int]) -> str | None:
    """That rows name documents that are not there.

    Args:
        rows: how many, by the name.
    """
    if not rows:
        return None
    names = [f"“{shorten(name, LONGEST_CELL)}”" for name in rows][:SHOWN_MISSING]
    others = len(rows) - len(names)
    more = f" and {say_count(others, 'other')}" if others else ""
    verb = "names a document that is" if sum(rows.values()) == 1 else "name documents that are"
    return (
        f"{say_count(sum(rows.values()), 'row')} {verb} not among those uploaded: "
        f"{', '.join(names)}{more}. Upload what is missing, or correct the name in your file."
    )


def _show_sample(columns: list[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """The first rows, so that nobody has to open the file to know what is in its columns."""
    if not rows:
        return
    with w.table(*columns, label="First rows of the file"):
        for row in rows:
            with w.cells():
                for name in columns:
                    w.text(shorten(text_of(row.get(name)), LONGEST_CELL), tag="td")


def _refuse_output(chosen: list[str], inputs: list[str]) -> str | None:
    """Why columns cannot be the output beside those of the input; None: they can."""
    return refuse_shared(inputs, chosen) if chosen else NO_COLUMN
