"""Training files that somebody has become a project in the browser, without an account."""

from __future__ import annotations

import os
import re
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from assay.project.workspace import Workspace
from assay.serve.auth import UPLOAD_BYTES
from assay.studio.shared.files import LARGEST_MIB
from tests.rescue.test_plan import sentences
from tests.studio.browsing import PATIENCE_MS, Studio
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow
JOB_MS = 3 * PATIENCE_MS
"""Most that a job is waited for, whose worker has to start first."""
MODEL = "ft:gpt-4o-mini-2024-07-18:acme:pets:x1"


def _bring(page: Page, part: str, name: str, content: bytes) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=f"Choose the {part} file").click()
    chooser.value.set_files({"name": name, "mimeType": "", "buffer": content})


def _kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "rescued" / "files").glob("*/*"))


def test_files_become_a_project_without_an_account(
    browser: Browser, up: Studio, tmp_path: Path
) -> None:
    train, valid = sentences(80, seed=3), sentences(60, seed=4)
    with signed_in(browser, up, "admin") as visitor:
        page = visitor.open("/rescue")
        make = page.get_by_role("button", name="Make the project")
        make.click()
        expect(page.get_by_text("Choose the training file first.")).to_be_visible()
        # What is wrong with a file is said there, its name as a text; of one too large before.
        evil = "<img src=x onerror=alert(1)>.jsonl"
        with page.expect_request(lambda asked: asked.method == "POST") as sent:
            _bring(page, "training", evil, b'{"messages": 3}\n' * 9)
        expect(page.get_by_text(re.compile(re.escape(evil) + ", line 1: "))).to_be_visible()
        # The way in is the page's: nobody else's, of no other site, and of no more bytes.
        site = {"Origin": "http://evil.example"}
        assert page.request.post(sent.value.url, headers=site, data="x").status == 403
        assert _refused_too_large(page, sent.value.url, up.url) == 413
        with signed_in(browser, up, "viewer") as other:
            stranger = other.page.request.post(
                sent.value.url,
                headers={"Origin": up.url},
                multipart={"file": {"name": "x.jsonl", "mimeType": "text/plain", "buffer": train}},
            )
            assert stranger.status == 404
        assert _kept(up.folder) == []
        large = tmp_path / "large.jsonl"
        large.touch()
        os.truncate(large, LARGEST_MIB * 2**20 + 1)  # takes no room
        page.locator("input[type=file]").first.set_input_files(large)
        expect(page.get_by_text("larger than 512 MiB")).to_be_visible()
        expect(page.get_by_text(evil)).to_have_count(0)  # only one of them is told
        _bring(page, "training", "wrong.jsonl", valid)
        page.get_by_role("button", name="Remove the training file").click()
        _bring(page, "training", "train.jsonl", train)
        expect(page.get_by_text(re.compile(r"^train.jsonl \("))).to_be_visible()
        _bring(page, "validation", "valid.jsonl", valid)
        expect(page.get_by_text(re.compile(r"^valid.jsonl \("))).to_be_visible()
        assert _kept(up.folder) == ["train.jsonl", "valid.jsonl"]
        name = page.get_by_label("Name of the model")
        make.click()
        expect(page.get_by_text("This is no name of a model.")).to_be_visible()
        name.fill(MODEL)
        entries = up.folder / "rescued" / "files" / "entries.json"
        while MODEL not in entries.read_text():  # what was typed is there after a reload
            page.wait_for_timeout(50)
        page = visitor.open("/rescue")
        expect(page.get_by_label("Name of the model")).to_have_value(MODEL)
        visitor.axe()
        visitor.look("light", 390)
        visitor.fits()
        page.get_by_role("button", name="Make the project").click()
        used = page.get_by_role("region", name="Files of projects")
        expect(used).to_contain_text("train.jsonl", timeout=JOB_MS)
        visitor.fits()
        project = up.folder / "rescued" / "projects" / "pets-x1"
        assert "holdout" in (project / "assay.yaml").read_text()
        used.get_by_role("link", name=MODEL).click()
        expect(page.get_by_role("heading", name=MODEL)).to_be_in_viewport()
        expect(page.get_by_text("This takes a key")).to_be_visible()
        expect(page.get_by_label("Name of the model")).to_have_value("")
        visitor.axe()
        page.get_by_role("button", name=f"Remove files of {MODEL}").click()
        expect(used).to_have_count(0)
        assert _kept(up.folder) == []
        assert project.exists()
    assert not Workspace(up.folder).providers


def _refused_too_large(page: Page, url: str, origin: str) -> int:
    """What a body is answered that says that it is larger than any may be."""
    parts = urlsplit(url)
    cookie = "; ".join(f"{one['name']}={one['value']}" for one in page.context.cookies())
    line = HTTPConnection(parts.netloc, timeout=60)
    line.putrequest("POST", parts.path)
    for header, value in (
        ("Origin", origin),
        ("Cookie", cookie),
        ("Content-Type", "multipart/form-data; boundary=x"),
        ("Content-Length", str(UPLOAD_BYTES + 1)),
    ):
        line.putheader(header, value)
    line.endheaders()
    return line.getresponse().status
