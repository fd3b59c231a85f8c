"""How problems of a file are told on a page, without a browser."""

from __future__ import annotations

from pathlib import Path

from assay.data.checks import check
from assay.data.problems import Problem
from assay.studio.shared.findings import list_places


def test_each_repeated_row_names_its_own_original(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    texts = ["where is my parcel", "the card was lost", "open a new account"]
    rows = [f"{text},label {number}" for number, text in enumerate(texts)]
    path.write_text("\n".join(["text,label", *rows, rows[1], rows[0], rows[2]]) + "\n")
    report = check(path)
    repeated = [problem for problem in report.problems if problem.code == "duplicate"]
    assert list_places("duplicate", 3, repeated) == "lines 5 (like 3), 6 (like 2), 7 (like 4)"


def test_many_rows_are_cut_and_a_finding_on_the_file_has_none() -> None:
    found = [Problem("a.csv", n, None, "empty-input", "error", "empty", "") for n in range(2, 10)]
    assert list_places("empty-input", 8, found) == "lines 2, 3, 4, 5, 6, 7 …"
    assert list_places("few-rows", 1, []) == "the whole file"
