"""Many rows, by page; a row mended in the file; the holdout in no page, whatever is asked."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from assay.project import rows
from assay.project.rows import Wish
from assay.project.workspace import Workspace
from tests.studio.browsing import Served, served

pytestmark = pytest.mark.slow
ROWS = 3000
CONFIG = """version: 1
name: tickets
task: label
labels: [label 0, label 1, label 2]
model: smollm2-135m-instruct
data:
  file: tickets.csv
  columns: {input: [text], output: [label]}
candidates: [prompt]
graders: [{name: label-accuracy}]
primary: label-accuracy
"""


def _words(number: int) -> str:
    syllables = ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe")
    parts, rest = [], number * 7919 + 104729
    while rest:
        rest, place = divmod(rest, len(syllables))
        parts.append(syllables[place] * 2)
    return " ".join(parts)


def project(folder: Path, count: int) -> Workspace:
    """A folder with a label task of many rows: two are wrong, two are alike."""
    with (folder / "tickets.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["text", "label"])
        for number in range(count):
            out.writerow([f"Ticket {number}: {_words(number)}", f"label {number % 3}"])
        out.writerow(["Write to ann.example@mail.example.com about it", "label 1"])
        out.writerow(["A row whose answer was never written", ""])
        alike = "My parcel has been lying in the depot of the carrier since Monday of last week"
        out.writerow([alike, "label 2"])
        out.writerow([f"{alike}.", "label 2"])
    (folder / "assay.yaml").write_text(CONFIG, encoding="utf-8")
    return Workspace(folder)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("data")
    project(folder, ROWS)
    with served(folder) as up:
        yield up


def _held(workspace: Workspace) -> set[str]:
    assert workspace.project is not None
    file = workspace.project.split_folder / "holdout.jsonl"
    return {json.loads(line)["messages"][-2]["content"] for line in file.read_text().splitlines()}


def test_many_rows_are_seen_filtered_and_mended(studio: Served) -> None:
    with studio.visitor("editor") as visitor:
        page = visitor.open("/data")
        expect(page.get_by_role("gridcell", name="Ticket").first).to_be_visible(timeout=90000)
        held = _held(studio.workspace)
        asked = f"{studio.url}/studio/data/rows?start=0&end=500"
        first = page.request.get(asked).json()
        assert len(first["rows"]) == 500
        shown = page.request.get(f"{studio.url}/studio/data/rows?start=2000&end=2500").json()
        assert first["count"] + len(held) <= ROWS + 4
        assert not held & {row["input"] for row in (*first["rows"], *shown["rows"])}
        page.get_by_label("With the problem").click()
        page.get_by_role("option", name="empty-output").click()
        wrong = page.get_by_role("gridcell", name="A row whose answer was never written")
        expect(wrong).to_be_visible()
        wrong.click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("the output is empty.")
        dialog.get_by_label("label", exact=True).fill("label 1")
        dialog.get_by_role("button", name="Save").click()
        expect(page.get_by_text("The row is mended.")).to_be_visible(timeout=60000)
    text = (studio.workspace.root / "tickets.csv").read_text()
    assert "A row whose answer was never written,label 1" in text
    assert rows.open_rows(studio.workspace).counts["rejected"] == 0


def test_a_viewer_mends_nothing(studio: Served) -> None:
    with studio.visitor("viewer") as visitor:
        page = visitor.open("/data")
        page.get_by_label("That hold").fill("ticket 17:", timeout=60000)
        cell = page.get_by_role("gridcell", name="Ticket 17:")
        if cell.count() or rows.open_rows(studio.workspace).page(Wish(text="ticket 17:"), 0, 1)[1]:
            cell.click()
            dialog = page.get_by_role("dialog")
            expect(dialog.get_by_label("label", exact=True)).to_be_disabled()
            expect(dialog.get_by_role("button", name="Take it out")).to_have_count(0)
