"""One record changed or taken out; every other byte as it was."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from assay.config import Columns
from assay.data.read import detect, read
from assay.data.rewrite import RewriteResult, record_at, rewrite, rewrite_all, write_as_csv
from assay.errors import DataError, UsageError

TABLE = 'text;label\r\n"two\r\nlines";a\r\n\r\nplain;b\r\nshort\r\nlast;c'


def test_a_table_keeps_its_delimiter_quotes_and_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(TABLE.encode("cp1252"))
    before = record_at(file, 2)
    assert before == {"text": "two\r\nlines", "label": "a"}
    rewrite(file, 5, {"text": "plain; or not", "label": "é"}, record_at(file, 5))
    assert file.read_bytes().decode() == TABLE.replace("plain;b", '"plain; or not";é')
    ragged = record_at(file, 6)
    assert ragged == {"text": "short", "label": ""}
    rewrite(file, 6, {**ragged, "label": "b"}, ragged)
    file.write_bytes(file.read_bytes() + b"\r\none; two;three;four")
    surplus = record_at(file, 8)
    assert surplus == {"text": "one", "label": " two;three;four"}
    rewrite(file, 8, {"text": "one; two", "label": "three"}, surplus)
    rewrite(file, 8, None, record_at(file, 8))
    file.write_bytes(file.read_bytes().removesuffix(b"\r\n"))
    rewrite(file, 2, None, before)
    wanted = 'text;label\r\n"plain; or not";é\r\nshort;b\r\nlast;c'
    assert file.read_bytes().decode() == wanted


def test_a_line_of_json_is_changed_and_one_that_is_none_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    lines = ['{"a": "1", "n": [1]}', '{"a": "2"', '{"a": "ü"}']
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert record_at(file, 2) == '{"a": "2"'
    rewrite(file, 2, {"a": "2"}, '{"a": "2"')
    rewrite(file, 1, {"a": "1", "n": [1, 2]}, {"a": "1", "n": [1]})
    assert file.read_text(encoding="utf-8").splitlines() == [
        '{"a": "1", "n": [1, 2]}',
        '{"a": "2"}',
        '{"a": "ü"}',
    ]


def test_what_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"a": "1"}\n{"a": "2"}\n')
    with pytest.raises(DataError, match="has changed since"):
        rewrite(file, 1, {"a": "3"}, {"a": "0"})
    with pytest.raises(DataError, match="no row starts at this line"):
        record_at(file, 7)
    assert file.read_text() == '{"a": "1"}\n{"a": "2"}\n'


def test_other_files_are_left_to_other_programs(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text('[{"a": "1", "b": "2"}]')
    with pytest.raises(UsageError, match="only rows of JSONL, CSV and TSV"):
        record_at(file, 1)


def test_all_records_are_changed_in_one_go_and_the_rest_stays(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(TABLE.encode("cp1252"))
    changed = {2: None, 5: {"text": "plain; or not", "label": "b"}}
    assert rewrite_all(file, lambda line, record: changed.get(line, record)) == RewriteResult(
        changed=2, lines={2: 5, 3: 6, 4: 7}
    )
    wanted = 'text;label\r\n"plain; or not";b\r\nshort\r\nlast;c'
    assert file.read_bytes().decode() == wanted
    before = file.stat().st_mtime_ns
    assert rewrite_all(file, lambda _, record: record).changed == 0
    assert file.stat().st_mtime_ns == before


def test_a_lone_carriage_return_stays_within_its_cell(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(b'text,label\n"one\rtwo",a\nb,c\n')
    rewrite_all(file, lambda line, record: {**record, "label": "d"})
    assert file.read_bytes() == b'text,label\n"one\rtwo",d\nb,d\n'


def test_a_line_that_is_no_record_stays_when_all_are_changed(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"a": "1"}\n{"a": \n\n{"a":  "3"}\n')
    assert rewrite_all(file, lambda line, record: {"a": "2"} if line == 1 else record).changed == 1
    assert file.read_text() == '{"a": "2"}\n{"a": \n\n{"a":  "3"}\n'


def test_the_first_sheet_of_a_workbook_becomes_csv_that_is_read_as_it_was(tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (
        ["text", None, "label", "note", "note"],
        ["of", "too", "many", "cells", "by", "one"],
        ["a, b", 5.0, "x", date(2026, 3, 1), True],
        [None, None, None],
        ["c\rd", 7, "#REF!"],
        ["an error that nobody reads", "#DIV/0!", "007"],
        ["a formula without a result", 7, "=1+1"],
        [" ", "", "only blanks"],
        [3.25, None, False],
    ):
        sheet.append(row)
    assert sheet["C5"].data_type == "e"
    book.create_sheet("other").append(["not read"])
    book.save(file := tmp_path / "book.xlsx")
    places = write_as_csv(file, made := tmp_path / "book.csv")

    def said(path: Path) -> list[tuple[int, tuple[str, str] | None, list[str]]]:
        columns = Columns(input=["text"], output=["label"])
        return [
            (
                places[row.line] if path is made else row.line,
                None if row.example is None else (row.example.input, row.example.output),
                [one.code for one in row.problems if one.code != "several-sheets"],
            )
            for row in read(path, columns=columns)
        ]

    assert said(made) == said(file)
    refused = {line: codes[-1] for line, pair, codes in said(made) if pair is None}
    assert refused == {2: "ragged-row", 5: "formula-error"}
    assert detect(made).fields == detect(file).fields == ("text", "label")
    assert made.read_bytes().startswith(b"text,,label,note,note\r\n")
    rewrite(made, 4, {**record_at(made, 4), "label": "y"}, record_at(made, 4))
    assert said(made)[2] == (5, ("c\rd", "y"), [])
