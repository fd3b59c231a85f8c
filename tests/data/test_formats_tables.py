"""CSV, TSV, Parquet and XLSX: every broken table is told, the rest is read."""

from __future__ import annotations

import csv
import json
import zipfile
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.config import Columns
from assay.data.read import Row, detect, read
from assay.errors import DataError, UsageError


def write(folder: Path, text: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def codes(rows: list[Row]) -> list[str]:
    return [p.code for row in rows for p in row.problems]


def pairs(rows: list[Row]) -> list[tuple[str, str]]:
    return [(r.example.input, r.example.output) for r in rows if r.example]


@pytest.mark.parametrize(
    ("delimiter", "format"), [(",", "csv"), (";", "csv"), ("\t", "tsv"), ("|", "csv")]
)
def test_delimiter_is_found(tmp_path: Path, delimiter: str, format: str) -> None:
    text = "text,label\nhello there,a\ngood bye,b\n".replace(",", delimiter)
    path = write(tmp_path, text)
    found = detect(path)
    assert (found.format, found.delimiter, found.fields) == (format, delimiter, ("text", "label"))
    assert pairs(list(read(path))) == [("hello there", "a"), ("good bye", "b")]


def test_semicolons_win_over_commas_inside_cells(tmp_path: Path) -> None:
    path = write(tmp_path, "text;label\none, two, three;a\nfour, five;b\n")
    assert pairs(list(read(path)))[0] == ("one, two, three", "a")


def test_quoted_newlines_and_the_first_line_of_the_record(tmp_path: Path) -> None:
    path = write(tmp_path, 'text,label\n"one\ntwo\nthree",a\n\nnext,b\n"say ""hi""",c\n')
    rows = list(read(path))
    assert pairs(rows) == [("one\ntwo\nthree", "a"), ("next", "b"), ('say "hi"', "c")]
    assert [r.line for r in rows] == [2, 6, 7]
    assert [r.example.line for r in rows if r.example] == [2, 6, 7]
    assert [r.example.id for r in rows if r.example] == ["row-1", "row-2", "row-3"]


def test_ragged_rows_are_rejected_one_by_one(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label\na,b\nonly one\na,b,c\nd,e\n")
    rows = list(read(path))
    assert pairs(rows) == [("a", "b"), ("d", "e")]
    assert codes(rows) == ["ragged-row", "ragged-row"]
    assert [r.line for r in rows if not r.example] == [3, 4]
    assert rows[2].raw == ["a", "b", "c"]


def test_an_unclosed_quote_is_an_error_at_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, 'text,label\na,b\n"never closed,c\nd,e\n')
    rows = list(read(path))
    assert pairs(rows) == [("a", "b")]
    assert codes(rows) == ["broken-quotes"] * 2
    assert [row.line for row in rows[1:]] == [3, 4]


def test_text_after_a_closing_quote_costs_only_its_row(tmp_path: Path) -> None:
    path = write(tmp_path, 'text,label\n"a"x,b\nc,d\n')
    rows = list(read(path))
    assert codes(rows) == ["broken-quotes"]
    assert pairs(rows) == [("c", "d")]


def test_every_line_that_a_stray_quote_swallows_is_named(tmp_path: Path) -> None:
    inner = "".join(f"line {n},x\n" for n in range(20))
    path = write(tmp_path, f'text,label\na,b\n"opened,x\n{inner}5" wide,y\nc,d\n')
    rows = list(read(path))
    assert pairs(rows) == [("a", "b"), ("c", "d")]
    assert codes(rows) == ["broken-quotes"] * 22
    assert [row.line for row in rows[1:-1]] == list(range(3, 25))
    assert "closed in line 24" in rows[1].problems[0].message
    assert "opened in line 3" in rows[2].problems[0].message


def test_a_field_above_ten_megabytes_costs_only_its_row(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label\na,b\n" + "x" * 10_000_001 + ",c\nd,e\n")
    rows = list(read(path))
    assert codes(rows) == ["field-too-large"]
    assert pairs(rows) == [("a", "b"), ("d", "e")]
    path = write(tmp_path, "text,label\n" + "x" * 200_000 + ",c\n")  # csv's own limit is 128 KB
    assert len(pairs(list(read(path)))) == 1


def test_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "nr,subject,body,team,urgent,customer\n7,Hi,Help me,care,yes,acme\n")
    columns = Columns(
        input=["subject", "body"], output=["urgent", "team"], id="nr", group="customer"
    )
    (row,) = read(path, columns=columns)
    assert row.example is not None
    assert row.example.input == "subject: Hi\nbody: Help me"
    assert row.example.output == '{"urgent": "yes", "team": "care"}'
    assert (row.example.id, row.example.group) == ("7", "acme")
    assert row.raw["customer"] == "acme"


def test_a_missing_column_names_those_there_and_the_closest(tmp_path: Path) -> None:
    path = write(tmp_path, "Text,labels\na,b\n")
    wrong = Columns(input=["Text"], output=["label"])
    for call in (lambda: detect(path, wrong), lambda: read(path, columns=wrong)):
        with pytest.raises(DataError, match=r"Text, labels.*Did you mean 'labels'"):
            call()
    path = write(tmp_path, '"order, text",record\na,b\n')
    with pytest.raises(DataError, match=r'are: "order, text", record.*mean "order, text"\? A name'):
        detect(path, Columns(input=["order"], output=["record"]))
    path = write(tmp_path, "Text,labels\na,b\n")
    for name in ("id", "group"):
        with pytest.raises(DataError, match="no column 'nr'"):
            read(path, columns=Columns(input=["Text"], output=["labels"], **{name: "nr"}))


def test_columns_are_guessed_or_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "ID,Question,Answer\n1,a,b\n")
    assert detect(path).columns == Columns(input=["Question"], output=["Answer"], id="ID")
    path = write(tmp_path, "id,foo,bar\n1,a,b\n")
    assert detect(path).columns == Columns(input=["foo"], output=["bar"], id="id")
    path = write(tmp_path, "a,b,c\n1,2,3\n")
    assert detect(path).columns is None
    with pytest.raises(DataError, match=r"a, b, c\..*--input"):
        read(path)


def test_header_missing(tmp_path: Path) -> None:
    path = write(tmp_path, "4711,where is my parcel\n4712,it is broken\n")
    assert detect(path).columns is None
    with pytest.raises(DataError, match="looks like a row"):
        read(path)
    with pytest.raises(DataError, match="is the header missing"):
        read(path, columns=Columns(input=["text"], output=["label"]))


def test_blank_and_doubled_names(tmp_path: Path) -> None:
    path = write(tmp_path, ",text,label,x,x\n0,a,b,1,2\n")
    rows = list(read(path))
    assert pairs(rows) == [("a", "b")]
    assert codes(rows) == ["blank-column", "duplicate-column"]
    assert detect(path).fields == ("text", "label")
    with pytest.raises(DataError, match="no column 'x'"):
        read(path, columns=Columns(input=["text"], output=["x"]))


def test_wrong_and_unknown_format(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label\na,b\n")
    with pytest.raises(UsageError, match=r"Did you mean 'alpaca'"):
        read(path, "alpca")
    with pytest.raises(DataError, match="is csv, not parquet"):
        read(path, "parquet")
    with pytest.raises(DataError, match="columns cannot be set"):
        read(path, "alpaca", Columns(input=["text"], output=["label"]))


def test_alpaca_may_come_as_csv(tmp_path: Path) -> None:
    path = write(tmp_path, "instruction,input,output\nAdd,1 2,3\n")
    assert pairs(list(read(path, "alpaca"))) == [("Add\n1 2", "3")]


def table(tmp_path: Path, columns: dict[str, Any]) -> Path:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        {
            "text": ["a", "b", None],
            "label": [1.5, float("nan"), 2.0],
            "day": [date(2026, 1, 2)] * 3,
            "price": [Decimal("1.50")] * 3,
        },
    )
    assert detect(path).format == "parquet"
    assert pairs(list(read(path))) == [("a", "1.5"), ("b", ""), ("", "2.0")]
    assert [r.line for r in read(path)] == [1, 2, 3]
    columns = Columns(input=["text"], output=["day", "price"])
    first = next(read(path, columns=columns)).example
    assert first is not None
    assert first.output == '{"day": "2026-01-02", "price": "1.50"}'


def test_parquet_may_hold_conversations(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    path = table(tmp_path, {"messages": [turns, turns]})
    assert detect(path).format == "openai-chat"
    assert pairs(list(read(path))) == [("q", "a")] * 2


def test_broken_parquet(tmp_path: Path) -> None:
    path = table(tmp_path, {"text": ["a" * 1000], "label": ["b"]})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="damaged or truncated"):
        detect(path)
    path = table(tmp_path, {"text": [b"\xff\x00"], "label": ["b"]})
    assert codes(list(read(path))) == ["wrong-type"]
    path = table(tmp_path, {"text": ["a\0b", "x" * 10_000_001, "c"], "label": ["b"] * 3})
    assert codes(list(read(path))) == ["nul-byte", "field-too-large"]


def workbook(tmp_path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    path = tmp_path / "a.xlsx"
    book.save(path)
    return path


def test_xlsx_values_and_row_numbers(tmp_path: Path) -> None:
    path = workbook(
        tmp_path,
        Tickets=[
            ["text", "label"],
            ["a", 5.0],
            [None, None],
            ["b", True],
            ["c", datetime(2026, 1, 2)],
        ],
    )
    found = detect(path)
    assert (found.format, found.sheets) == ("xlsx", ("Tickets",))
    rows = list(read(path))
    assert pairs(rows) == [("a", "5"), ("b", "true"), ("c", "2026-01-02")]
    assert [r.line for r in rows] == [2, 4, 5]


def test_xlsx_sheets(tmp_path: Path) -> None:
    path = workbook(
        tmp_path, One=[["text", "label"], ["a", "b"]], Two=[["text", "label"], ["c", "d"]]
    )
    rows = list(read(path))
    assert codes(rows) == ["several-sheets"]
    assert "Two" in rows[0].problems[0].message
    assert pairs(rows) == [("a", "b")]
    second = list(read(f"{path}#Two"))
    assert (pairs(second), codes(second)) == ([("c", "d")], [])
    with pytest.raises(DataError, match=r"One, Two.*Did you mean 'Two'"):
        read(f"{path}#Too")
    text = write(tmp_path, "text,label\na,b\n")
    with pytest.raises(DataError, match="not a workbook"):
        read(f"{text}#One")


def test_xlsx_errors(tmp_path: Path) -> None:
    path = workbook(
        tmp_path, S=[["text", "label"], ["a", "#REF!"], ["b", "c", "too much"], ["d", "e"]]
    )
    rows = list(read(path))
    assert codes(rows) == ["formula-error", "ragged-row"]
    assert pairs(rows) == [("d", "e")]
    german = list(read(write(tmp_path, "text,label\na,#BEZUG!\nb,#NV\nd,e\n")))
    assert (codes(german), pairs(german)) == (["formula-error"] * 2, [("d", "e")])
    with pytest.raises(DataError, match="the sheet is empty"):
        detect(workbook(tmp_path, S=[]))
    with pytest.raises(DataError, match="no rows below the header"):
        detect(workbook(tmp_path, S=[["text", "label"]]))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="damaged"):
        detect(path)


def test_a_workbook_with_broken_xml(tmp_path: Path) -> None:
    whole = workbook(tmp_path, S=[["text", "label"], *([["a", "b"]] * 50)])
    broken = tmp_path / "b.xlsx"
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(broken, "w") as new:
        for name in old.namelist():
            body = old.read(name)
            new.writestr(name, body[:2500] + b"<<" if "sheet1" in name else body)
    with pytest.raises(DataError, match="damaged"):
        list(read(broken))


def test_raw_rows_can_be_written_as_json(tmp_path: Path) -> None:
    path = write(tmp_path, 'text,label\na\n"x\n')
    assert [
        json.loads(json.dumps(r.raw))
        for r in read(path, columns=Columns(input=["text"], output=["label"]))
    ]


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Ten times the rows take no more memory; nothing is kept of a row that was given."""
    import tracemalloc

    peaks = []
    for count in (2_000, 20_000):
        path = tmp_path / f"{count}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(["some text " * 20, "label"] for _ in range(count))
        tracemalloc.start()
        assert sum(1 for row in read(path) if row.example) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000
