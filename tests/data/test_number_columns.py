"""Numbers of a table are numbers of the record, as they are in JSON."""

from __future__ import annotations

import csv
import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from assay.config import Columns
from assay.config.project import parsed_config
from assay.data.formats.record import number_of
from assay.data.number_columns import with_numbers
from assay.data.propose import propose
from assay.data.read import Row, read
from assay.data.record_fields import ENUM_COUNT
from assay.errors import on_page

NAMES = ("mail", "plant", "quantity", "price", "week", "code", "day", "size")
ROWS: list[tuple[Any, ...]] = [
    (f"mail {n}", f"P{n % 2}", (12, 120)[n % 2], (1.0, 2.5)[n % 2], None, "007", "12-3", size)
    for n, size in enumerate([*"SM1" * ENUM_COUNT, "1"])
]
ROWS[3] = ("mail 3", "P1", 7, 1e-7, 31, "008", "12-3", "S")
COLUMNS = Columns(input=["mail"], output=list(NAMES[1:]))


def write(file: Path, rows: list[tuple[Any, ...]] = ROWS) -> Path:
    """The rows as a file of the kind that its name says."""
    if file.suffix == ".xlsx":
        book = openpyxl.Workbook()
        assert book.active is not None
        for row in (NAMES, *rows):
            book.active.append(row)
        book.save(file)
    elif file.suffix == ".csv":
        with file.open("w", newline="", encoding="utf-8") as text:
            csv.writer(text).writerows([NAMES, *rows])
    else:
        file.write_text(
            "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in rows)
        )
    return file


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("a.xlsx", ["quantity", "price", "week"]), ("a.csv", ["quantity", "price", "week"]),
     ("a.jsonl", [])],
)  # fmt: skip
def test_every_kind_of_file_gives_the_same_records(
    tmp_path: Path, name: str, numbers: list[str]
) -> None:
    file = write(tmp_path / name)
    columns = with_numbers(COLUMNS, file)
    assert columns.numbers == numbers
    examples = [row.example for row in read(file, columns=columns) if row.example]
    records = [json.loads(example.output) for example in examples]
    assert records == [dict(zip(NAMES[1:], row[1:], strict=True)) for row in ROWS]
    proposal = propose(examples)
    assert proposal.schema is not None
    fields = proposal.schema["properties"]
    assert fields["quantity"] == {"type": "integer"}
    assert fields["price"] == {"type": "number"}
    assert fields["week"] == {"type": ["integer", "null"]}
    assert fields["plant"] == {"type": "string", "enum": ["P0", "P1"]}
    assert "can be answered in plant, day, size (closed lists)" in proposal.reasons[-1]


def test_what_decides_whether_a_column_holds_numbers(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv")
    assert with_numbers(COLUMNS, file, write(tmp_path / "held.csv", ROWS[:3])).numbers == [
        "quantity", "price", "week",
    ]  # fmt: skip
    odd = ("mail", "P1", "a dozen", "#N/A", "1,5", "007", "", "S")
    assert with_numbers(COLUMNS, file, write(tmp_path / "held.csv", [odd])).numbers == ["price"]
    one = Columns(input=["mail"], output=["quantity"])
    assert with_numbers(one, file) == one
    text = [row.example.output for row in read(file, columns=COLUMNS) if row.example]
    assert json.loads(text[0])["quantity"] == "12"  # a project that names none reads as ever


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("12", 12), (" 12 ", 12), ("-0.5", -0.5), ("1.0", 1), ("1e-07", 1e-7), ("1e+20", 1e20),
        (3, 3), (2.0, 2), (Decimal("12.50"), 12.5), ("", None), (" ", None), (None, None),
        (str(10**30), 10**30), (str(10**400), 10**400),
    ],
)  # fmt: skip
def test_a_number_as_json_writes_it(value: Any, number: float | None) -> None:
    found = number_of(value)
    assert (found, type(found)) == (number, type(number))


@pytest.mark.parametrize(
    "value",
    ["007", "+1", "1,5", "1,000", ".5", "1.", "12-3", "12 pcs", "true", True, "NaN", "Infinity",
     "1e999", "null", "[1]", '"1"', "0x10", "1_0", "١", "9" * 10_000,
     float("nan"), [1], date(2026, 1, 2)],
)  # fmt: skip
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        number_of(value)


@pytest.mark.parametrize(
    ("cells", "is_number"),
    [
        (["4711000000000001"], False), (["1E5", "2E3"], False), (["1e-07", "1e+2"], True),
        (["1.1", "1.9", "1.10"], False), (["1.10", "2.50", "1.10"], True), ([" ", ""], False),
        ([" ", "1"], True), (["1", "1.0"], True), (["1"] * 20_001 + ["a dozen"], False),
    ],
)  # fmt: skip
def test_codes_and_blanks_stay_text(tmp_path: Path, cells: list[str], is_number: bool) -> None:
    rows = [(*ROWS[0][:5], cell, *ROWS[0][6:]) for cell in cells]
    columns = with_numbers(COLUMNS, write(tmp_path / "a.csv", rows))
    assert ("code" in columns.numbers) == is_number


def test_a_value_that_is_no_number_rejects_its_row(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", [*ROWS[:2], ("mail", "P1", "a dozen", *ROWS[0][3:])])
    columns = COLUMNS.model_copy(update={"numbers": ["quantity"]})
    *_, last = list[Row](read(file, columns=columns))
    [found] = last.problems
    assert (last.example, found.code, found.line) == (None, "wrong-type", 4)
    assert (found.file, found.field) == (str(file), "quantity")
    assert found.message == "quantity is 'a dozen', which is not a number."
    assert "take it out of `data.columns.numbers`" in found.fix
    assert "take it out of “Number columns” on the page Settings" in on_page(found.fix)
    assert "empty" not in found.fix, "the schema may not allow null, which is not known here"


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ("output: [week]", "one output column is none"),
        ("output: [plant, unit]", "names week, beside the output columns plant, unit"),
    ],
)
def test_numbers_are_output_columns_of_a_record(columns: str, told: str) -> None:
    text = (
        "version: 1\nname: a\ntask: json\nmodel: m\ngraders: [{name: exact}]\nprimary: exact\n"
        f"data: {{file: a.csv, columns: {{input: [mail], {columns}, numbers: [week]}}}}\n"
    )
    config, problems = parsed_config(text)
    assert config is None
    assert any(told in problem.message for problem in problems)
