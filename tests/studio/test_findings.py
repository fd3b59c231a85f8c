"""How problems of a file are told on a page, without a browser."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from nicegui import Client
from nicegui.elements.mixins.text_element import TextElement
from nicegui.page import page
from openpyxl import Workbook

from assay.data.checks import check
from assay.data.problems import Problem
from assay.example import Example
from assay.project.addition import Addition
from assay.studio.pages.start.columns import describe_unnamed
from assay.studio.shared.findings import list_places, problems_card, tell_addition


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


def test_rows_that_name_a_document_which_is_not_there_are_told() -> None:
    named = ("a", "docs/b.md", "c", "c", None)
    rows = [Example.of("Where?", "Here.", document=name) for name in named]
    draft = SimpleNamespace(choices=SimpleNamespace(document="source"), examples=rows)
    found = cast("Any", SimpleNamespace(draft=draft))
    assert describe_unnamed(found, ["docs/a.md", "docs/b.md", "c.pdf"]) is None
    said = describe_unnamed(found, ["docs/a.md", "docs/b.md"])
    assert said is not None
    assert said.startswith("2 rows name documents that are not among those uploaded: “c”. ")
    assert "No row's “source” is the name of" in (describe_unnamed(found, ["d.md"]) or "")
    assert "upload them below" in (describe_unnamed(found, []) or "")


def test_of_further_sheets_no_path_of_the_server_is_told(tmp_path: Path) -> None:
    book = Workbook()
    assert book.active is not None
    for cells in (["text", "label"], ["Where is it?", "lost"], ["Who?", "open"]):
        book.active.append(cells)
    book.create_sheet("Notes of May")
    book.save(tmp_path / "0.xlsx")
    report = check(tmp_path / "0.xlsx")
    assert any(f"{tmp_path / '0.xlsx'}#Notes of May" in one.fix for one in report.problems)
    with Client(page("/")) as client:
        problems_card(report)
    told = " ".join(getattr(one, "text", "") for one in client.elements.values())
    assert "Save another sheet as a file of its own, or put its rows below" in told
    assert str(tmp_path) not in told


def test_what_is_to_be_done_is_said_in_words_of_the_studio(tmp_path: Path) -> None:
    """No backquote is shown: a name is code, and a setting with a field is called like that."""
    (path := tmp_path / "a.csv").write_text('text,label\nWhere is it?,lost\nWho?,"{1}"\n')
    told = []
    for rules in ({"labels": ["open", "closed"]}, {"task": "json"}, {}):
        report = check(path, **cast("Any", rules))
        found = [{"line": one.line, "problems": [one.to_dict()]} for one in report.problems]
        with Client(page("/")) as client:
            problems_card(report)
            tell_addition(Addition("a.csv", 0, 0, 0, 2, tuple(found)))
        texts = [one for one in client.elements.values() if isinstance(one, TextElement)]
        told.append(" ".join(one.text for one in texts))
    assert "add it to “Labels, one per line” on the page Settings." in told[0]
    assert "`" not in "".join(told)
