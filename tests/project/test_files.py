"""Importing loses nothing that the wire format has a word for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay import project
from assay.config import Columns
from assay.data.read import read
from assay.errors import DataError, UsageError
from assay.project.files import find_columns
from assay.project.start import init
from assay.project.start.init import Choices

CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}]
LOST = [{"role": "assistant", "content": "bad"}]
ROWS: dict[str, dict[str, Any]] = {
    "openai-chat": {"messages": CHAT},
    "openai-preference": {
        "input": {"messages": CHAT[:1]},
        "preferred_output": CHAT[1:],
        "non_preferred_output": LOST,
    },
    "kto": {"messages": CHAT, "label": False},
}


@pytest.mark.parametrize("format", list(ROWS))
def test_what_is_imported_reads_back_the_same(tmp_path: Path, format: str) -> None:
    file, to = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text(json.dumps(ROWS[format]) + "\n")
    done = project.import_file(file, to)
    assert (done["format"], done["written"], done["rejected"]) == (format, 1, 0)
    (before,), (after,) = ([row.example for row in read(path)] for path in (file, to))
    assert before == after


def test_an_existing_file_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps(ROWS["openai-chat"]) + "\n")
    with pytest.raises(UsageError, match="already exists"):
        project.import_file(file, file)


def test_a_row_that_is_not_utf_8_is_left_beside_what_is_imported(tmp_path: Path) -> None:
    file, to = tmp_path / "in.csv", tmp_path / "out.jsonl"
    file.write_bytes("input,output\nGrüße,a\nÄpfel,b\n".encode() + b"K\xf6ln,b\n")
    done = project.import_file(file, to)
    assert (done["written"], done["rejected"]) == (2, 1)
    (row,) = Path(done["rejected_file"]).read_bytes().decode().splitlines()
    assert (json.loads(row)["line"], json.loads(row)["raw"]) == (4, ["K\udcf6ln", "b"])


def test_another_file_is_read_by_the_columns_of_the_project_where_it_has_them(
    tmp_path: Path,
) -> None:
    ours = Columns(input=["subject", "body"], output=["team"], id="nr")
    like, other, known = (tmp_path / name for name in ("like.jsonl", "other.csv", "known.jsonl"))
    like.write_text(json.dumps({"subject": "Hi", "body": "Help", "team": "care"}) + "\n")
    other.write_text("theirs,said,kind\na,b,c\n")
    known.write_text(json.dumps(ROWS["openai-chat"]) + "\n")
    assert find_columns(ours, like) == ours.model_copy(update={"id": None})
    assert [find_columns(ours, other), find_columns(ours, known)] == [None, None]
    found = project.overlap_files(like, like, columns=ours)
    assert (found.exact, found.answers) == (1, 1)
    with pytest.raises(DataError, match="it is not clear which column") as unclear:
        project.check_file(other, folder=tmp_path)
    unclear.value.advise_page("Data")
    assert unclear.value.fix is not None
    assert "--" not in unclear.value.fix


def test_no_column_is_input_and_output(tmp_path: Path) -> None:
    """Whoever reads by columns refuses that; where only inputs are compared there is no output."""
    file = tmp_path / "rows.csv"
    file.write_text("text,label\na,x\nb,y\n")
    same = Columns(input=["text"], output=["label", "text"])
    for read_by in (
        lambda: project.check_file(file, columns=same, folder=tmp_path),
        lambda: init.draft("made", Choices(data=file, input=["text"], output=["text"])),
        lambda: project.overlap_files(file, file, input="text", output="text"),
    ):
        with pytest.raises(DataError, match="text is an input column"):
            read_by()
    assert project.overlap_files(file, file, input="label").exact == 2


def test_columns_that_are_named_of_the_projects_own_file_hold_its_numbers(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("text,pieces,code\na,12,1\nb,3,2\n")
    columns = Columns(input=["text"], output=["pieces", "code"])
    schema = {"properties": {"pieces": {"type": "integer"}, "code": {"type": "string"}}}
    numbers = columns.model_copy(update={"numbers": ["pieces"]})
    config = {
        "name": "orders",
        "task": "json",
        "output_schema": schema,
        "model": "smollm2-135m-instruct",
        "candidates": ["prompt"],
        "primary": "record-exact",
        "graders": [{"name": "record-exact"}],
        "data": {"file": file.name, "columns": numbers.model_dump(exclude_none=True)},
    }
    (tmp_path / "assay.yaml").write_text(json.dumps(config))
    found = project.check_file(file, columns=columns, find_numbers=True, folder=tmp_path)
    assert (found.valid, found.columns) == (2, numbers)
