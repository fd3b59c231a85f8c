"""Base models fetched; versions looked at, compared, exported through the gate, taken along."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from assay.jobs import queue
from assay.models.versions import load_version, save_version
from assay.project.workspace import Workspace
from tests.small import small_project
from tests.studio.browsing import Studio, studio
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow
SLOW_MS = 120_000


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A project with two versions, and a cache in which nothing is."""
    folder = tmp_path_factory.mktemp("versions")
    made = small_project(folder, rows=60)
    trained = load_version(made.store, made.train().version)
    settings = {**trained.record.settings, "rank": 4}
    other = trained.record.model_copy(update={"settings": settings})
    save_version(made.store, trained.folder, other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSAY_CACHE", str(folder / "cache"))
        with studio(made.root) as running:
            yield running


def test_a_model_that_cannot_be_had_says_why(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.open("/models")
        expect(page.get_by_role("cell", name="Apache-2.0").first).to_be_visible()
        expect(page.get_by_role("cell", name="not trainable")).to_be_visible()
        page.get_by_role("textbox", name="Model to pull").fill("smollm3")
        page.get_by_role("textbox", name="Model to pull").press("Enter")
        expect(page.get_by_text("neither a starter nor the name of a model")).to_be_visible()
        expect(page.locator(".notice")).to_have_count(0)  # it stands at the field
        page.get_by_role("textbox", name="Model to pull").fill("nobody/nothing")
        page.get_by_role("textbox", name="Model to pull").press("Enter")
        failed = page.get_by_role("heading", name="nobody/nothing could not be pulled")
        expect(failed).to_be_visible(timeout=SLOW_MS)
        expect(page.get_by_text("the hub cannot be reached")).to_be_visible()
        visitor.axe()


def test_versions_are_looked_at_and_compared(browser: Browser, up: Studio) -> None:
    workspace = Workspace(up.folder)
    assert workspace.project is not None
    example = workspace.project.context().train[0]
    with signed_in(browser, up, "viewer") as visitor:
        page = visitor.open("/models?part=versions")
        table = page.get_by_role("region", name="Versions", exact=True)
        expect(table.get_by_role("row")).to_have_count(3)
        table.get_by_role("button", name=re.compile("^View ")).first.click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("cell", name="settings.rank", exact=True)).to_be_visible()
        visitor.axe("color-contrast")  # of what lies behind the dialog
        visitor.look("light", 390)
        visitor.fits()
        dialog.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="Compare", exact=True).click()
        differing = page.get_by_role("region", name="Differences")
        row = differing.get_by_role("row", name=re.compile("settings.rank"))
        expect(row).to_have_text(re.compile(r"settings\.rank(24|42)"))
        page.get_by_role("textbox", name="Example ID").fill(example.id)
        page.get_by_role("button", name="Find versions").click()
        expect(page.get_by_text(re.compile("^Version of .*: train"))).to_have_count(2)
        page.get_by_role("textbox", name="Example ID").fill("nobody")
        page.get_by_role("button", name="Find versions").click()
        expect(page.get_by_text("there is no example 'nobody'")).to_be_visible()
        expect(page.get_by_role("button", name="Export", exact=True)).to_have_count(0)


def test_a_version_leaves_through_the_gate_as_a_zip(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.open("/models?part=versions")
        page.get_by_role("combobox", name="Export format").click()
        page.get_by_role("option", name=re.compile("^adapter")).click()
        page.get_by_role("button", name="Export", exact=True).click()
        expect(page.get_by_text("The newest export gives the same answers")).to_be_visible(
            timeout=SLOW_MS
        )
        with page.expect_download() as taken:
            page.get_by_role("link", name=re.compile("^Download .* as adapter")).click()
        assert taken.value.suggested_filename.endswith("-adapter.zip")
        with zipfile.ZipFile(io.BytesIO(taken.value.path().read_bytes())) as archive:
            assert archive.testzip() is None
            assert any(n.endswith("/adapter_model.safetensors") for n in archive.namelist())
        address = page.get_by_role("link", name=re.compile("^Download")).get_attribute("href")
        visitor.page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        visitor.axe()
    with signed_in(browser, up, "viewer") as visitor:
        page = visitor.open("/models?part=versions")
        expect(page.get_by_text("The newest export gives the same answers")).to_be_visible()
        expect(page.get_by_role("link", name=re.compile("^Download"))).to_have_count(0)
        assert page.request.get(f"{up.url}{address}").status == 403
        assert page.request.get(f"{up.url}/studio/exports/none.zip").status == 403


def test_a_refusal_is_shown_with_the_first_difference(browser: Browser, up: Studio) -> None:
    workspace = Workspace(up.folder)
    version = next((workspace.store.folder / "versions").iterdir()).name
    payload = {"version": version, "to": "gguf"}
    queue.enqueue(workspace.store, workspace.name, "export-refused", payload)
    job = queue.claim(workspace.store, "nobody", ["export-refused"])
    assert job is not None
    queue.fail(workspace.store, job, "the target does not answer: Prompt 3 is spelled otherwise.")
    with workspace.store.session() as session:
        from sqlalchemy import update

        from assay.store.tables import JobRow

        session.execute(update(JobRow).where(JobRow.id == job.id).values(kind="export"))
    with signed_in(browser, up, "viewer") as visitor:
        page = visitor.open("/models?part=versions")
        refused = page.get_by_text("The export as gguf failed. The target does not answer")
        expect(refused).to_be_visible()
        visitor.axe()
