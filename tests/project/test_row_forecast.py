"""What a changed row of the file would be, told before and after it is saved."""

from __future__ import annotations

import json
from pathlib import Path

from tests.many_rows import project

from assay.project import row_edits, row_forecast, rows
from assay.project.files import check_file
from assay.project.rows import RowFilter
from assay.project.workspace import Workspace, project_of

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


def test_a_value_that_the_other_rows_spell_otherwise_is_told(tmp_path: Path) -> None:
    kinds = ["new", "second hand"]
    lines = [
        {"message": f"{n} bells for shop {n**3}", "order": json.dumps({"kind": kinds[n % 2]})}
        for n in range(60)
    ]
    (tmp_path / "orders.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    (tmp_path / "assay.yaml").write_text(RECORDS)
    workspace = Workspace(tmp_path)
    assert row_forecast.warn_of_spelling(workspace, '{"kind": "NEW"}') is None  # no split so far
    more = tmp_path / "more.jsonl"
    odd = {"message": "No bells at all", "order": '{"kind": "Second_Hand!"}'}
    more.write_text(f"{json.dumps(odd)}\n")
    [told] = row_edits.add(workspace, more).spelled_otherwise
    wanted = "in kind, 'Second_Hand!' is written 'second hand' in 30 rows."
    assert told.startswith(f"Line 1: {wanted}")
    report = check_file(None, folder=tmp_path)
    found = [one for one in report.problems if one.code == "other-spelling"]
    assert [(one.line, one.message) for one in found] == [(61, wanted)]
    corrected = row_forecast.warn_of_spelling(workspace, '{"kind": "NEW"}')
    assert corrected is not None
    assert corrected.startswith("In kind, 'NEW' is written 'new' in ")
    assert row_forecast.warn_of_spelling(workspace, '{"kind": "broken"}') is None
    (project_of(workspace).split_folder / "manifest.json").write_text("{")
    assert row_forecast.warn_of_spelling(workspace, '{"kind": "NEW"}') is None  # it has been kept


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
