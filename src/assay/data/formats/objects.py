"""Tables and plain objects: the user (or a guess by name) says which columns are what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from assay import json_reader
from assay.close_names import find_close_name
from assay.config import Columns, join_names
from assay.data.formats.record import (
    Record,
    RecordProblems,
    Shape,
    json_text,
    missing_field,
    number_of,
    shorten,
    text_of,
)
from assay.errors import DataError, Step
from assay.example import Example

INPUT_NAMES = (
    "input", "text", "question", "prompt", "query", "message", "instruction", "utterance",
    "sentence", "ticket", "dialogue", "document", "article", "body", "content", "source", "mr",
)  # fmt: skip
OUTPUT_NAMES = (
    "output", "label", "answer", "completion", "response", "category", "intent", "class", "target",
    "summary", "tag", "section_text", "translation",
)  # fmt: skip
"""Without `reference`: it names the right answer in public data sets, and the number of a case in
offices. Beside an input it is the output where there is no other column."""
SPREADSHEETS = ("csv", "tsv", "xlsx")
CELL_ERRORS = frozenset((
    "#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!",
    "#FIELD!", "#BLOCKED!", "#CONNECT!", "#UNKNOWN!", "#BUSY!", "#GETTING_DATA",
    "#BEZUG!", "#NV", "#WERT!", "#ZAHL!", "#ÜBERLAUF!",  # German
    "#VALEUR!", "#NOM?", "#NOMBRE!", "#NUL!",  # French
    "#¡REF!", "#N/D", "#¡VALOR!", "#¡DIV/0!", "#¿NOMBRE?", "#¡NUM!", "#¡NULO!",  # Spanish
    "#RIF!", "#VALORE!", "#NOME?", "#NULLO!",  # Italian
))  # fmt: skip
"""What a spreadsheet says of a formula without a result: a workbook in English, a CSV in the
language of the program that wrote it."""
ID_NAMES = ("id", "uid", "uuid", "idx", "row_id", "example_id", "index")


def guess_columns(fields: Sequence[str]) -> Columns | None:
    """Columns by their usual names; two columns beside an id are input and output in that order.

    None when that does not tell.
    """
    lower = {name.lower(): name for name in reversed(fields)}
    id = next((lower[name] for name in ID_NAMES if name in lower), None)
    group = lower.get("group")
    input = next((lower[name] for name in INPUT_NAMES if name in lower), None)
    output = next((lower[name] for name in OUTPUT_NAMES if name in lower), None)
    rest = [name for name in fields if name not in (id, group)]
    if len(rest) == 2:
        input = input or next(name for name in rest if name != output)
        output = output or next(name for name in rest if name != input)
    if input is None or output is None:
        return None
    return Columns(input=[input], output=[output], id=id, group=group)


class ColumnError(DataError):
    """A column cannot be what it is named for; `role` is its setting, such as `input`."""

    def __init__(self, role: str, what: str, *, where: str, fix: str | None = None) -> None:
        super().__init__(what, where=where, fix=fix)
        self.role = role


def refuse_shared(inputs: Sequence[str], outputs: Sequence[str]) -> str | None:
    """Why columns cannot be the output beside those of the input: its answer would be what it
    shows. None: they can."""
    both = next((name for name in outputs if name in inputs), None)
    return both and f"{both} is an input column. The answer needs another one."


def list_roles(columns: Columns) -> list[tuple[str, str]]:
    """Each column that is named, after its role."""
    return [
        *(("input", name) for name in columns.input),
        *(("output", name) for name in columns.output),
        *(("id", name) for name in (columns.id,) if name),
        *(("group", name) for name in (columns.group,) if name),
        *(("document", name) for name in (columns.document,) if name),
    ]


def ask_for_columns(names: Iterable[str]) -> str:
    """What to do where a file lacks columns that are those of the project."""
    return f"Bring a file with the columns {join_names(names)}."


def check_columns(columns: Columns, fields: Sequence[str], file: str, hint: str = "") -> None:
    """Refuse columns that the file does not have, and one that is input and output.

    Raises:
        ColumnError: naming the columns that exist and the closest one.
    """
    for role, name in list_roles(columns):
        if name not in fields:
            close = find_close_name(name, fields)
            raise ColumnError(
                role,
                f"there is no column {name!r} to take the {role} from. "
                f"The columns are: {join_names(fields) or 'none'}.{hint}",
                where=file,
                fix=_suggest(close) if close else f"Use one of them as the {role}.",
            )
    if shared := refuse_shared(columns.input, columns.output):
        raise ColumnError("output", shared, where=file)


def _suggest(name: str) -> str:
    if "," not in name:
        return f"Did you mean {name!r}?"
    return f"Did you mean {join_names([name])}? A name with a comma is put in double quotes."


def shape(name: str, columns: Columns) -> Shape:
    """The shape of records whose columns are known."""
    inputs, outputs = tuple(columns.input), tuple(columns.output)
    needed = (*inputs, *outputs)
    one_output = outputs[0] if len(outputs) == 1 else None
    id_column, group_column, document_column = columns.id, columns.group, columns.document
    others = [key for key in (id_column, group_column, document_column) if key is not None]
    of_formulas = (*needed, *others) if name in SPREADSHEETS else ()

    def example(record: Record, default_id: str, found: RecordProblems) -> Example | None:
        for key in needed:
            if key not in record:
                missing_field(record, key, found)
        for key in of_formulas:
            if record.get(key) in CELL_ERRORS:
                found.add(
                    "formula-error",
                    f"the cell contains the error {record[key]}.",
                    "Correct the formula or the cell.",
                    key,
                )
        if found.failed:
            return None
        texts = [text_of(record[key]) for key in inputs]
        if len(inputs) == 1 or not any(text.strip() for text in texts):
            asked = texts[0]  # names of columns alone would be text in a row that has none
        else:
            asked = "\n".join(f"{key}: {text}" for key, text in zip(inputs, texts, strict=True))
        answers = [text_of(record[key]) for key in outputs]
        if one_output is not None:
            [answer] = answers
        elif not any(text.strip() for text in answers):
            answer = ""  # nobody filled it in: a record of no values would be text as well
        else:
            values = _read_values(record, columns, found)
            if values is None:
                return None
            answer = json_text(values)
        id = text_of(record.get(id_column)) if id_column is not None else ""
        group = text_of(record.get(group_column)) if group_column is not None else ""
        return Example.of(
            asked,
            answer,
            id=id or default_id,
            group=group or None,
            document=text_of(record.get(document_column)) if document_column is not None else None,
            line=found.line,
        )

    return Shape(
        name=name,
        needs=", ".join(needed),
        matches=lambda record: all(key in record for key in needed),
        example=example,
    )


def _read_values(record: Record, columns: Columns, found: RecordProblems) -> Record | None:
    """The fields of an output of several columns; None: a column of numbers holds something else,
    which is noted."""
    values = {key: record[key] for key in columns.output}
    for key in columns.numbers:
        try:
            values[key] = number_of(record[key])
        except ValueError:
            found.add(
                "wrong-type",
                f"{key} is {shorten(text_of(record[key]))!r}, which is not a number.",
                f"Write a number such as 12 or 0.5; if the column holds texts, {Step.TEXT_COLUMN}.",
                key,
            )
    return None if found.failed else values


def record_of(columns: Columns, asked: str, answer: str) -> Record | None:
    """The record that `shape` reads as this input and output, the other way round; None: their
    columns cannot be told from the two texts."""
    inputs = _cells(columns.input, asked)
    outputs: Record | None = {columns.output[0]: answer}
    if len(columns.output) > 1:
        outputs = _fields(columns.output, answer)
    return None if inputs is None or outputs is None else {**inputs, **outputs}


def _cells(names: Sequence[str], text: str) -> Record | None:
    """The cells in an input of several columns. Where a cell holds the name of another column there
    is more than one way to cut, and each is read as the same input."""
    if len(names) == 1:
        return {names[0]: text}
    rest, cells = f"\n{text}", []
    for name in names:
        before, found, rest = rest.partition(f"\n{name}: ")
        if not found:
            return None
        cells.append(before)
    first, *cells = [*cells, rest]
    return None if first else dict(zip(names, cells, strict=True))


def _fields(names: Sequence[str], text: str) -> Record | None:
    try:
        value = json_reader.read(text)
    except ValueError:
        return None
    if not isinstance(value, dict) or value.keys() != set(names):
        return None
    return {name: value[name] for name in names}
