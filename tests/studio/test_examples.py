"""What is done with examples besides mending rows: likeness, a new holdout, questions, files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FilePayload, expect

from assay.project import questions, rows
from assay.project.holdout_summary import describe_holdout
from assay.project.knowledge import documents
from assay.project.workspace import Workspace
from assay.store.audit import entries
from assay.store.tables import DraftedQuestionRow
from tests.many_rows import project
from tests.studio.browsing import Studio, studio
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow
LONG = "the gangway at the lower deck was closed while a lorry turned around in front of it"
ASKED = """version: 1
name: manuals
task: text
model: smollm2-135m-instruct
data:
  file: data/questions.jsonl
  columns: {input: [question], output: [answer]}
candidates: [prompt]
graders: [{name: token-f1}]
primary: token-f1
"""


def _file(name: str, lines: list[list[str]]) -> FilePayload:
    text = "".join(f"{','.join(line)}\n" for line in [["text", "label"], *lines])
    return {"name": name, "mimeType": "text/csv", "buffer": text.encode()}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("examples") / "tickets"
    folder.mkdir()
    project(folder, 90)
    with (folder / "tickets.csv").open("a", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        for number in range(12):  # some of them are not locked
            said = f"On the {number}th of {'abcdefghijkl'[number] * 9} {LONG}"
            out.writerows([[said, "label 0"], [f"{said}.", "label 0"]])
    with studio(folder, "--idle") as running:
        yield running


def test_rows_that_are_alike_are_shown_together(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "viewer") as visitor:
        page = visitor.open("/data")
        expect(page.get_by_role("gridcell").first).to_be_visible()
        page.get_by_label("Similar rows").click()
        line, count = next(iter(rows.latest_rows(Workspace(up.folder)).clusters.items()))
        wish = rows.RowFilter(cluster=line)
        found, _ = rows.latest_rows(Workspace(up.folder)).page(wish, 0, count)
        assert len(found) == count > 1
        page.get_by_role("option", name=f"Line {line:,}: {count:,} rows").click()
        shown = page.locator(".rows .ag-center-cols-container [role=row]")
        expect(shown).to_have_count(count)
        for number in range(count):
            expect(shown.nth(number)).to_contain_text(found[number]["input"][:60])
        expect(page.get_by_role("button", name="Choose a file of new")).to_have_count(0)
        assert str(up.folder) not in page.content()


def test_new_examples_are_locked_after_a_question(browser: Browser, up: Studio) -> None:
    workspace = Workspace(up.folder)
    before = describe_holdout(workspace).manifest
    fresh = [[f"A new ticket about {chr(97 + n) * 12} and {n * 7919}", f"label {n % 3}"]
             for n in range(40)]  # fmt: skip
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.open("/data")
        expect(page.get_by_role("gridcell").first).to_be_visible()
        page.get_by_text("Replace the holdout", exact=True).click()
        expect(page.get_by_text("Nothing can be measured on it again")).to_be_visible()
        visitor.axe()
        field = page.locator(".q-card input[type=file], .card input[type=file]")
        few = _file("few.csv", fresh[:3])
        field.nth(0).set_input_files([few])
        page.get_by_role("button", name="Replace", exact=True).click()
        expect(page.get_by_text("few.csv: 3 usable new examples")).to_be_visible()
        assert describe_holdout(workspace).manifest.holdout_sha256 == before.holdout_sha256
        expect(page.get_by_role("dialog")).to_have_count(0)  # else there are two to replace by
        field.nth(0).set_input_files([_file("new.csv", fresh)])
        page.get_by_role("button", name="Replace", exact=True).click()
        expect(page.get_by_text("It was never opened.")).to_be_visible()
        expect(page.get_by_text("in the holdout, never opened")).to_be_visible()
    after = describe_holdout(workspace).manifest
    assert after.generation == before.generation + 1
    assert after.holdout_sha256 != before.holdout_sha256
    assert entries(workspace.store, workspace.name, 1)[0].action == "data.renew-holdout"


def test_other_files_are_checked_converted_and_compared(browser: Browser, up: Studio) -> None:
    first = _file("first.csv", [[f"{LONG} {n}", "label 1"] for n in ("one", "two", "three")])
    second = _file(
        "second.csv",
        [[f"{LONG} two", "label 1"], ["quite another thing", ""], ["Where to?", "Up to deck 7"]],
    )
    workspace = Workspace(up.folder)
    (up.folder / "decks.md").write_text("Stairs. Where to? Up to deck 7, please.")
    documents.base(workspace, "documents").add([up.folder / "decks.md"])
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.open("/data")
        expect(page.get_by_role("gridcell").first).to_be_visible()
        page.get_by_text("Check or convert other files").click()
        field = page.locator("input[type=file][multiple]")
        field.set_input_files([second])
        expect(page.get_by_text("second.csv, read as csv")).to_be_visible()
        expect(page.get_by_text("What to look at")).to_be_visible()
        way = page.get_by_role("combobox", name="Task")
        way.click()
        page.get_by_role("option", name="Find rows that two files share").click()
        field.set_input_files([first, second])
        for said in (
            "Rows of second.csv that are also in first.csv: 1 exactly",
            "also answers in first.csv, word for word: 1.",
            "in one of the project's documents: 1.",
        ):
            expect(page.get_by_text(said)).to_be_visible()
        visitor.axe()
        way.click()
        page.get_by_role("option", name="Convert a file").click()
        field.set_input_files([first])
        with page.expect_download() as made:
            page.get_by_role("button", name="Download first.jsonl").click()
        lines = Path(made.value.path()).read_text().splitlines()
        assert [json.loads(line)["messages"][-1]["content"] for line in lines] == ["label 1"] * 3


@pytest.fixture(scope="module")
def drafted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A project that began with documents: 48 questions are approved, four wait."""
    folder = tmp_path_factory.mktemp("questions") / "manuals"
    folder.mkdir()
    (folder / "assay.yaml").write_text(ASKED)
    workspace = Workspace(folder)
    assert workspace.project is not None
    with workspace.store.session() as session:
        for number in range(52):
            session.add(
                DraftedQuestionRow(
                    project=workspace.project.owner, id=f"q{number + 1:03d}",
                    question=f"When does boat {chr(97 + number % 26) * 5} {number} leave?",
                    answer=f"At {number % 24} o'clock from pier {number * 37}.",
                    document="timetable.md", passage="It leaves.",
                    state="approved" if number < 48 else "waiting",
                )
            )  # fmt: skip
    with studio(folder, "--idle") as running:
        yield running


def test_drafted_questions_are_approved_mended_and_thrown_away(
    browser: Browser, drafted: Studio
) -> None:
    with signed_in(browser, drafted, "viewer") as visitor:
        page = visitor.open("/data")
        expect(page.get_by_label("Question q049")).to_be_disabled()
        expect(page.get_by_role("button", name="Approve q049")).to_have_count(0)
    with signed_in(browser, drafted, "editor") as visitor:
        page = visitor.open("/data")
        expect(page.get_by_text("48 of 50 questions are approved")).to_be_visible()
        visitor.axe()
        page.get_by_role("button", name="Discard q049").click()
        expect(page.get_by_label("Question q049")).to_have_count(0)
        page.get_by_label("Correct answer to q051").fill("At noon.")  # stays while others go
        page.get_by_role("button", name="Approve q050").click()
        expect(page.get_by_text("49 of 50 questions are approved")).to_be_visible()
        expect(page.get_by_label("Question q050")).to_have_count(0)
        expect(page.get_by_label("Correct answer to q051")).to_have_value("At noon.")
        page.get_by_role("button", name="Approve q051").click()
        expect(page.get_by_text("50 of 50 questions are approved")).to_be_visible()
        expect(page.get_by_role("gridcell").first).to_be_visible()  # they can be divided now
        page.get_by_role("button", name="Discarded").click()
        expect(page.get_by_label("Question q049")).to_be_visible()
        page.set_viewport_size({"width": 390, "height": 844})
        visitor.fits()
    workspace = Workspace(drafted.folder)
    project = workspace.project
    assert project is not None
    found = {one.id: one for one in questions.questions(project.store, project.owner)}
    assert (found["q051"].answer, found["q051"].state) == ("At noon.", "approved")
    assert (found["q049"].state, found["q049"].who) == ("rejected", "user:editor")
