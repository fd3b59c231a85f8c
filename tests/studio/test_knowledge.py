"""Twenty PDFs brought at once, each with what became of it; searched three ways; erased."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from assay.project.knowledge import documents
from assay.project.workspace import Workspace
from assay.store.audit import entries
from assay.studio.pages.knowledge.examples_warning import SEARCHING
from tests.knowledge.files import pdf
from tests.studio.browsing import Studio
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow
THINGS = (
    *("anchor", "beacon", "cable", "davit", "engine", "funnel", "galley", "hatch", "iron", "jib"),
    *("keel", "ladder", "mast", "net", "oar", "pump", "quay", "rudder", "sail", "tiller"),
)


def test_twenty_documents_come_in_are_found_and_go(
    browser: Browser, up: Studio, tmp_path: Path
) -> None:
    files = []
    for thing in THINGS:
        file = tmp_path / f"{thing}.pdf"
        file.write_bytes(pdf(f"The {thing} must be inspected by the crew before every crossing."))
        files.append(file)
    (broken := tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing more")
    (picture := tmp_path / "picture.bmp").write_bytes(b"BM")
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.open("/knowledge")
        expect(page.get_by_text("No documents yet")).to_be_visible()
        page.get_by_role("button", name="Create", exact=True).click()
        expect(page.get_by_text("Drop documents here")).to_be_visible()
        page.locator("input[type=file]").set_input_files([*files, broken, picture])
        failed = page.get_by_text("2 of 22 files could not be read, or only in part.")
        expect(failed).to_be_visible(timeout=300_000)
        expect(page.get_by_text(": can be searched")).to_have_count(20)
        expect(page.locator(".brought .bad")).to_have_count(2)
        expect(page.get_by_role("cell", name="rudder.pdf", exact=True)).to_be_visible()
        for name in ("broken.pdf", "picture.bmp"):
            dismiss = page.get_by_role("button", name=f"Dismiss the failure of {name}")
            dismiss.click()
            expect(dismiss).to_have_count(0)
        expect(page.get_by_role("heading", name="Could not be read")).to_have_count(0)
        expect(page.locator(".brought .bad")).to_have_count(0)
        page.get_by_label("Search for").fill("Who looks after the rudder?")
        page.get_by_label("Search for").press("Enter")
        first = page.locator(".three > div .passage:first-of-type")
        expect(first).to_have_count(3)
        for place in range(3):
            expect(first.nth(place)).to_contain_text("rudder.pdf, page 1")
        page.get_by_role("button", name="View rudder.pdf").click()
        expect(page.get_by_role("dialog")).to_contain_text("The rudder must be inspected")
        page.get_by_role("button", name="Close").click()
        kept = up.folder / "knowledge" / "documents" / "rudder.pdf"
        assert kept.exists()
        page.get_by_role("button", name="Remove rudder.pdf").click()
        page.get_by_role("button", name="Remove", exact=True).click()
        expect(page.get_by_role("cell", name="rudder.pdf", exact=True)).to_have_count(0)
        expect(page.get_by_text("rudder.pdf: can be searched")).to_have_count(0)
        expect(first).to_have_count(0)  # nor is it found any more
        (odd := tmp_path / "Rig: which?.pdf").write_bytes(files[0].read_bytes())
        page.locator("input[type=file]").set_input_files([tmp_path / "rudder.pdf", odd])
        called = page.get_by_text("Rig- which-.pdf: can be searched; “Rig: which?.pdf” cannot be")
        expect(called).to_be_visible(timeout=120_000)
        expect(page.get_by_text("rudder.pdf: can be searched")).to_be_visible(timeout=120_000)
        page.get_by_role("button", name="Remove rudder.pdf").click()
        page.get_by_role("button", name="Remove", exact=True).click()
        expect(page.get_by_role("cell", name="rudder.pdf", exact=True)).to_have_count(0)
    left = {d.path for d in documents.base(Workspace(up.folder), "documents").documents()}
    assert left == {"Rig- which-.pdf", *(f"{one}.pdf" for one in THINGS if one != "rudder")}
    assert not kept.exists()
    assert not (kept.parent / "broken.pdf").exists()


def test_it_is_checked_and_its_passages_are_made_anew(browser: Browser, up: Studio) -> None:
    workspace = Workspace(up.folder)
    file = up.folder / "knowledge" / "documents" / "mast.pdf"
    file.write_bytes(pdf("The mast is gone."))
    before = documents.base(workspace, "documents").snapshot
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.open("/knowledge")
        page.get_by_role("button", name="Check", exact=True).click()
        expect(page.get_by_text("The index is intact.")).to_be_visible()
        expect(page.get_by_text("mast.pdf has changed on disk")).to_be_visible()
        page.get_by_role("button", name="Rebuild all passages").click()
        page.get_by_label("Longest passage, in tokens").fill("60")
        visitor.axe("color-contrast")  # of what lies behind the dialog
        page.get_by_role("button", name="Rebuild", exact=True).click()
        expect(page.get_by_text("passages were rebuilt.")).to_be_visible(timeout=120_000)
        expect(page.get_by_role("button", name="Check", exact=True)).to_be_enabled()
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.set_viewport_size({"width": 1320, "height": 900})
        page.get_by_role("button", name="Rebuild all passages").click()
        page.get_by_label("Embedder").fill("no-such-model")
        page.get_by_role("button", name="Rebuild", exact=True).click()
        expect(page.get_by_text("no-such-model' is not an available model")).to_be_visible()
        expect(page.get_by_role("button", name="Check", exact=True)).to_be_enabled()
    after = documents.base(workspace, "documents")
    assert after.settings.chunk_tokens == 60
    assert after.snapshot != before
    [entry] = [
        e for e in entries(workspace.store, workspace.name) if e.action == "knowledge.rebuild"
    ]
    assert entry.who == "user:editor"


def test_a_viewer_searches_and_brings_nothing(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "viewer") as visitor:
        page = visitor.open("/knowledge")
        expect(page.get_by_label("Search for")).to_be_visible()
        expect(page.locator("input[type=file]")).to_have_count(0)
        expect(page.get_by_role("button", name="Remove mast.pdf")).to_have_count(0)
        expect(page.get_by_role("button", name="Check", exact=True)).to_have_count(0)


def test_documents_that_hold_the_examples_are_told_while_they_do(
    browser: Browser, filled: Studio, tmp_path: Path
) -> None:
    rows = (filled.folder / "data" / "tickets.jsonl").read_text().splitlines()
    (list_ := tmp_path / "list.txt").write_text("\n".join(json.loads(r)["message"] for r in rows))
    (other := tmp_path / "other.txt").write_text("The office is closed on Sundays.")
    with signed_in(browser, filled, "editor") as visitor:
        page = visitor.open("/knowledge")
        page.get_by_role("button", name="Create", exact=True).click()
        page.locator("input[type=file]").set_input_files([list_, other])
        told = page.get_by_text("different inputs that were looked for, of four words or more")
        expect(told).to_be_visible(timeout=120_000)
        page.reload()
        expect(told).to_be_visible()
        page.get_by_role("button", name="Remove list.txt").click()
        page.get_by_role("button", name="Remove", exact=True).click()
        expect(page.get_by_role("cell", name="list.txt", exact=True)).to_have_count(0)
        expect(page.get_by_text(SEARCHING)).to_have_count(0)  # it has been searched again
        expect(told).to_have_count(0)
