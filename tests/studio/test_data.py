"""Many rows, by page; a row mended in the file; the holdout in no page, whatever is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from assay.compare.holdout import OpeningRequest, _log
from assay.progress import SILENT
from assay.project import row_edits, rows
from assay.project.files import check_file
from assay.project.workspace import Workspace
from assay.studio.pages.data.other_files import explain_task
from assay.studio.pages.data.page import tell_unseen
from assay.studio.pages.data.row_change import change_row
from tests.many_rows import held, misspell, project
from tests.studio.browsing import Studio, studio
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow
ROWS = 3000


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("data") / "tickets"
    folder.mkdir()
    project(folder, ROWS)
    with studio(folder) as running:
        yield running


def test_a_viewer_mends_nothing(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "viewer") as visitor:
        page = visitor.open("/data")
        expect(page.get_by_role("gridcell").first).to_be_visible(timeout=300_000)
        expect(page.get_by_text("only an editor can change it")).to_be_visible()
        expect(page.get_by_text("or correct it")).to_have_count(0)
        page.get_by_label("Containing").fill("answer was NEVER")
        page.get_by_role("gridcell", name="A row whose answer was never written").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_label("label", exact=True)).to_be_disabled()
        expect(dialog.get_by_role("button", name="Remove")).to_have_count(0)


def test_many_rows_are_seen_filtered_and_mended(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.open("/data")
        expect(page.get_by_role("gridcell", name="Ticket").first).to_be_visible(timeout=300_000)
        expect(
            page.get_by_text("Rows of the holdout, and rows much like them, are not")
        ).to_be_visible()
        locked = held(Workspace(up.folder))
        asked = f"{up.url}/studio/data/rows?start=0&end=500"
        first = page.request.get(asked).json()
        assert len(first["rows"]) == 500
        shown = page.request.get(f"{up.url}/studio/data/rows?start=2000&end=2500").json()
        assert first["count"] + len(locked) <= ROWS + 4
        assert not locked & {row["input"] for row in (*first["rows"], *shown["rows"])}
        page.get_by_label("With problem").click()
        page.get_by_role("option", name="There is no answer to learn").click()
        wrong = page.get_by_role("gridcell", name="A row whose answer was never written")
        expect(wrong).to_be_visible()
        wrong.click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("The output is empty.")
        dialog.get_by_label("text", exact=True).fill("A row still without an answer")
        page.wait_for_function("window.isChanged")  # the browser asks before it is lost
        page.keyboard.press("Escape")  # nothing that was typed is lost by it, and that is said
        expect(page.get_by_text("Your changes are not saved.")).to_be_visible()
        expect(dialog.get_by_role("button", name="Discard changes")).to_be_visible()
        expect(dialog.get_by_label("text", exact=True)).to_have_value(
            "A row still without an answer"
        )
        dialog.get_by_role("button", name="Save").click()
        refused = page.get_by_text("The row was saved, but it is not used: the output is empty.")
        expect(refused).to_be_visible(timeout=300_000)
        page.get_by_role("button", name="Close").click()
        page.wait_for_function("!window.isChanged")
        still = page.get_by_role("gridcell", name="A row still without an answer")
        expect(still).to_be_visible(timeout=300_000)
        expect(page.get_by_role("gridcell", name="Ticket")).to_have_count(0)  # the filter stays
        still.click()
        # A text that is not drawn into the holdout, where it would be shown no more.
        dialog.get_by_label("text", exact=True).fill("A row with its answer")
        dialog.get_by_role("combobox", name="label").click()  # the labels are those of the settings
        expect(page.get_by_role("option")).to_have_text(
            ["(empty)", "label 0", "label 1", "label 2"]
        )
        page.get_by_role("option", name="label 1").click()
        dialog.get_by_role("button", name="Save").click()
        expect(dialog.get_by_label("text", exact=True)).to_be_disabled()  # else it would be lost
        expect(page.get_by_text("The row was saved.", exact=True)).to_be_visible(timeout=300_000)
    text = (up.folder / "tickets.csv").read_text()
    assert "A row with its answer,label 1" in text
    assert rows.open_rows(Workspace(up.folder)).counts["rejected"] == 0


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (["cat", "dog"] * 6, "checked as labels"),
        ([f"sentence number {n}" for n in range(12)], "checked as texts"),
        ([f'"{{""number"": {n}}}"' for n in range(10_001)] + ['"{""number"":"'], "as records"),
        ([" "] * 12, "^$"),
    ],
)
def test_as_what_another_file_is_checked(tmp_path: Path, outputs: list[str], said: str) -> None:
    file = tmp_path / "other.csv"
    rows = "".join(f"message {n},{output}\n" for n, output in enumerate(outputs))
    file.write_text(f"text,answer\n{rows}")
    kept: list[int] = []
    report = check_file(
        file, folder=tmp_path, guess_task=True, keep=lambda _, number: kept.append(number)
    )
    assert len(kept) == report.valid  # each once
    assert re.search(said, explain_task(report))
    assert report.counts.get("output-not-json", 0) == sum(text.endswith(':"') for text in outputs)


def test_a_row_that_a_change_locks_is_said_to_be_locked(tmp_path: Path) -> None:
    workspace = project(tmp_path, 90)
    context: Any = SimpleNamespace(workspace=workspace)
    told, line = None, 2
    for number in range(60):
        record = row_edits.record(workspace, line)
        words = {**record, "text": f"Where has my parcel number {number**3} gone?"}
        told = change_row.work(context, line, words, record, SILENT)
        if told:
            break
        assert rows.open_rows(workspace).is_seen(line)
    assert told is not None, "about every third change should lock it"
    assert told.startswith("The row was saved, and is not shown any more")
    assert tell_unseen(1, 0).startswith("1 row has the input of an earlier row with another output")
    assert "before a comparison opens" in tell_unseen(2, 0)
    assert "an editor can lock other examples with “Replace the holdout”" in tell_unseen(2, 1)
    assert words["text"] in held(workspace)


def test_after_an_opening_rows_are_mended_and_what_does_not_fit_is_named(
    browser: Browser, tmp_path: Path
) -> None:
    folder = tmp_path / "tickets"
    folder.mkdir()
    workspace = project(folder, 90)
    assert workspace.project is not None
    locked = workspace.project.split().holdout_sha256
    _log(workspace.store, locked, "first", OpeningRequest(""), 0.05)
    settings = folder / "assay.yaml"
    good = settings.read_text()
    with studio(folder, "--idle") as up, signed_in(browser, up, "editor") as visitor:
        page = visitor.open("/data")
        page.get_by_label("Containing").fill("answer was NEVER")
        page.get_by_role("gridcell", name="A row whose answer was never").click(timeout=300_000)
        page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        page.get_by_role("dialog").get_by_role("button", name="Remove").last.click()
        expect(page.get_by_text("The row was removed.")).to_be_visible(timeout=300_000)
        expect(page.get_by_text("Changing the file and splitting it")).to_have_count(0)
        expect(page.get_by_text("in the holdout, opened once")).to_be_visible(timeout=300_000)
        page.get_by_text("Add examples", exact=True).click()
        more = tmp_path / "more.csv"
        more.write_text("label,text\nlabel 1,Write to ann@firm.ch\nlabel 7,And where am I?\n")
        files = page.locator("details", has_text="Add examples").locator("input[type=file]")
        files.set_input_files(more)
        asked = page.get_by_text("1 row has secrets or personal data, of 1 that more.csv would add")
        expect(asked).to_be_visible(timeout=300_000)
        visitor.axe()
        page.get_by_role("button", name="Mask them and add the rows").click()
        told = page.get_by_text("1 row was added to tickets.csv. Left out: 1 with errors.")
        expect(told).to_be_visible(timeout=300_000)
        expect(page.get_by_text("Line 3: ")).to_contain_text("label 7")
        visitor.axe()
        settings.write_text(good.replace("label 2]", "helpdesk]"))
        page = visitor.open("/data")
        told = page.get_by_role("alert")
        expect(told).to_contain_text("the label 'label 2' is not among the labels", timeout=300_000)
        expect(page.get_by_text("could not be shown")).to_have_count(0)
        page.get_by_text("Replace the holdout", exact=True).click()
        expect(page.get_by_text("Choose a file of new examples")).to_be_visible()
        visitor.axe()
    settings.write_text(good)
    after = Workspace(folder).project
    assert after is not None
    assert after.split().holdout_sha256 == locked
    now = (folder / "tickets.csv").read_text()
    assert "never written" not in now
    assert now.endswith("Write to <e-mail address>,label 1\n")


def test_what_cannot_be_split_is_not_compared_and_can_be_mended(
    browser: Browser, tmp_path: Path
) -> None:
    folder = tmp_path / "tickets"
    folder.mkdir()
    misspell(folder)
    with studio(folder, "--idle") as up, signed_in(browser, up, "editor") as visitor:
        page = visitor.open("/")
        expect(page.get_by_role("alert")).to_contain_text("'Label 0'", timeout=300_000)
        expect(page.locator(".waiting")).to_have_count(0)
        expect(page.get_by_role("button", name="Start the comparison")).to_be_disabled()
        page.get_by_role("link", name="Correct the examples").click()
        expect(page.get_by_role("alert")).to_contain_text("cannot be split", timeout=300_000)
        page.get_by_label("Containing").fill("odd one out")
        page.get_by_role("gridcell", name="The odd one out").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("combobox", name="label").click()
        page.get_by_role("option", name="label 0", exact=True).click()
        dialog.get_by_role("button", name="Save").click()
        expect(page.get_by_text("for training", exact=True)).to_be_visible(timeout=300_000)
        assert rows.open_rows(Workspace(folder)).is_divided
        settings = folder / "assay.yaml"
        settings.write_text(settings.read_text().replace("label 0, label 1, label 2", "a, b"))
        page = visitor.open("/data")
        told = page.get_by_role("alert")
        expect(told).to_contain_text("The examples can no longer be split", timeout=300_000)
        expect(told).to_contain_text("an output that is not one of the labels (")
        expect(page.get_by_text("Undo a change of settings on the page Settings.")).to_be_visible()
        visitor.axe()
        (folder / "tickets.csv").rename(folder / "elsewhere.csv")
        page = visitor.open("/data")
        told = page.get_by_role("alert")
        expect(told).to_contain_text("there is no such file", timeout=300_000)
        expect(told).not_to_contain_text("can no longer be split")
        expect(page.get_by_text("Undo a change of settings")).to_have_count(0)
