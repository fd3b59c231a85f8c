"""Rows that may be looked at: by page, problem, likeness; never the holdout; mended in place."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.many_rows import held, misspell, project

from assay.config.yaml_text import edit
from assay.errors import DataError, StoreError
from assay.project import row_edits, rows
from assay.project.rows import RowFilter

pytestmark = pytest.mark.slow


def test_pages_hold_all_rows_but_the_locked_ones(tmp_path: Path) -> None:
    workspace = project(tmp_path, 600)
    found = rows.open_rows(workspace)
    seen, count = found.page(RowFilter(), 0, 10_000)
    assert count == len(seen) == len(found) == sum(found.counts.values())
    assert found.counts["rejected"] == 1
    locked = held(workspace)
    assert locked
    assert not locked & {row["input"] for row in seen}
    assert [row["line"] for row in seen] == sorted(row["line"] for row in seen)
    part, count = found.page(RowFilter(part="validation"), 0, 5)
    assert len(part) == 5
    assert count == found.counts["validation"]
    ticket = next(text for text in locked if text.startswith("Ticket"))
    line = int(ticket.split()[1].rstrip(":")) + 2
    with pytest.raises(DataError, match="may be seen"):
        found.problems_of(line)
    with pytest.raises(DataError, match="may be seen"):
        row_edits.record(workspace, line)


def test_rows_are_found_by_problem_likeness_and_text(tmp_path: Path) -> None:
    workspace = project(tmp_path, 600)
    found = rows.open_rows(workspace)
    assert [r["output"] for r in found.page(RowFilter(problem="empty-output"), 0, 9)[0]] == [""]
    for first, size in found.clusters.items():
        alike, count = found.page(RowFilter(cluster=first), 0, 9)
        assert count == size == 2
        assert alike[0]["line"] == first
    assert found.page(RowFilter(text="never WRITTEN"), 0, 9)[1] == 1


def test_contradictions_of_rows_that_are_not_shown_are_counted(tmp_path: Path) -> None:
    workspace = project(tmp_path, 600)
    file = tmp_path / "tickets.csv"
    twice = [line.rsplit(",", 1) for line in file.read_text().splitlines()[2:402:10]]
    other = {"label 0": "label 1", "label 1": "label 2", "label 2": "label 0"}
    with file.open("a", newline="") as out:
        out.writelines(f"{text},{other[label]}\r\n" for text, label in twice)
    found = rows.open_rows(workspace)
    assert found.unseen_contradictions
    assert found.problems["contradiction"] + found.unseen_contradictions == len(twice) == 40


def test_a_row_of_another_file_is_no_line_of_the_examples(tmp_path: Path) -> None:
    workspace = project(tmp_path, 100)
    for name in ("first", "second", "third"):
        new = [f"{name} {n} of {(n + 7) ** 9},label {n % 3}" for n in range(40)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *new]) + "\n")
    assert workspace.project is not None
    workspace.project.split()
    workspace.project.renew_holdout(tmp_path / "first.csv")
    workspace.project.renew_holdout(tmp_path / "second.csv")
    found = rows.open_rows(workspace)
    seen, _ = found.page(RowFilter(), 0, 999)
    former = [row for row in seen if row["input"].startswith("first")]
    assert len(former) == 40
    assert {row["line"] for row in former} == {0}
    assert found.texts_of(former[7]["row"])[0] == former[7]["input"]
    *_, question, _ = found.turns_of(former[7]["row"], 0)
    assert question.content == former[7]["input"]
    # Of a listing from before the file was changed: the row is of another line by now.
    assert found.turns_of(former[7]["row"], 8) == found.turns_of(len(found), 8) == ()
    lines = [row["line"] for row in seen if row["line"]]
    assert len(lines) == len(set(lines)) == len(seen) - 40
    config = tmp_path / "assay.yaml"
    config.write_text(edit(config.read_text(), {"data.validation": "third.csv"}))
    given, count = rows.open_rows(workspace).page(RowFilter(part="validation"), 0, 999)
    assert count == 40
    assert {row["line"] for row in given} == {0}


def test_a_rejected_row_that_is_not_utf_8_can_be_shown(tmp_path: Path) -> None:
    workspace = project(tmp_path, 600)
    with (tmp_path / "tickets.csv").open("ab") as file:
        file.write("Über das Gepäck nach Österreich,label 1\r\n".encode())
        file.write(b"K\xf6ln is late,label 1\r\n")
    [found], _ = rows.open_rows(workspace).page(RowFilter(text="ln is late"), 0, 9)
    assert (found["part"], found["input"]) == ("rejected", r"K\udcf6ln is late | label 1")
    assert found["input"].encode()  # as it is sent to a browser


def test_rows_that_cannot_be_divided_are_seen_and_mended(tmp_path: Path) -> None:
    workspace = misspell(tmp_path)
    with pytest.raises(DataError, match="'Label 0'"):
        rows.open_rows(workspace)
    found = rows.open_visible_rows(workspace)
    assert not found.is_divided
    assert (found.counts["undivided"], found.counts["rejected"]) == (94, 1)
    [left_out], _ = found.page(RowFilter(part="rejected"), 0, 9)
    assert (left_out["input"], left_out["output"]) == ("A row whose answer was never written", "")
    [odd], _ = found.page(RowFilter(text="odd one"), 0, 9)
    record = row_edits.record(workspace, odd["line"])
    first = row_edits.record(workspace, 2)
    row_edits.change(workspace, 2, {**first, "text": "Another text of the first row"}, first)
    assert not rows.open_visible_rows(workspace).is_divided  # one change of several is kept
    row_edits.change(workspace, odd["line"], {**record, "label": "label 0"}, record)
    assert rows.open_visible_rows(workspace).is_divided
    # Once there is a holdout, no row is shown, good or rejected, that could be one of its.
    settings = tmp_path / "assay.yaml"
    good = settings.read_text()
    only = {"labels": ["label 0"]}
    for broken in (only, {**only, "data.columns.input": ["label", "text"]}):
        settings.write_text(edit(good, broken))
        with pytest.raises(DataError):
            rows.open_visible_rows(workspace)
    settings.write_text(good)
    file = tmp_path / "tickets.csv"
    file.write_bytes(file.read_bytes() + b"One more that is odd,Label 0\r\n")
    with pytest.raises(DataError, match="'Label 0'"):
        rows.open_visible_rows(workspace)
    tmp_path.rename(moved := tmp_path.with_name("moved"))
    with pytest.raises(StoreError, match="moved or removed"):
        rows.open_visible_rows(workspace)
    assert not tmp_path.exists(), "nothing is made where it was"
    moved.rename(tmp_path)
