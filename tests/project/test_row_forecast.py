"""What a changed row of the file would be, told before and after it is saved."""

from __future__ import annotations

import json
from pathlib import Path

from tests.many_rows import project

from assay.project import row_edits, row_forecast, rows
from assay.project.rows import RowFilter
from assay.project.workspace import Workspace

RECORDS = """version: 1
name: orders
task: json
model: smollm2-135m-instruct
data: {file: orders.jsonl, columns: {input: [message], output: [order]}}
graders: [{name: record-exact}]
candidates: [prompt]
primary: record-exact
"""


def test_what_would_keep_a_row_from_being_used_is_named_with_its_column(tmp_path: Path) -> None:
    workspace = project(tmp_path, 90)
    record = row_edits.record(workspace, 2)
    assert row_forecast.find_error(workspace, record) is None
    wrong = row_forecast.find_error(workspace, {**record, "label": "label 9"})
    assert wrong is not None
    assert (wrong.field, wrong.code) == ("label", "unknown-label")


def test_a_field_with_another_kind_of_value_than_in_other_rows_is_told(tmp_path: Path) -> None:
    lines = [
        {"message": f"{n} bells for shop {n**3}", "order": json.dumps({"quantity": n})}
        for n in range(1, 61)
    ]
    (tmp_path / "orders.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    (tmp_path / "assay.yaml").write_text(RECORDS)
    workspace = Workspace(tmp_path)
    told = None
    for row in rows.open_rows(workspace).page(RowFilter(part="train"), 0, 9)[0]:
        before = rows.open_rows(workspace)
        if told or not before.is_seen(line := row["line"]):
            continue  # an earlier change may have drawn it into the holdout
        record = row_edits.record(workspace, line)
        broken = row_forecast.find_error(workspace, {**record, "order": '{"quantity": 7'})
        assert broken is not None
        assert broken.field == "order"
        assert row_forecast.warn_of_other_kinds(workspace, before, line) is None
        row_edits.change(workspace, line, {**record, "order": '{"quantity": "twelve"}'}, record)
        told = row_forecast.warn_of_other_kinds(workspace, rows.open_rows(workspace), line)
    assert told is not None
    assert told.startswith("quantity is text, in")
