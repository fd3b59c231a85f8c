"""One browser for all; an empty and a filled studio for a module, a newcomer's for a test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.studio.browsing import PATIENCE_MS, Studio, Tab, chromium, studio, tab

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if shutil.which("chromium") is None:
        pytest.skip("needs Debian's chromium")
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The studio of an empty folder."""
    folder = tmp_path_factory.mktemp("empty") / "folder"
    folder.mkdir()
    with studio(folder) as running:
        yield running


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(tmp_path_factory.mktemp("filled") / "tickets", "--fill") as running:
        yield running


@pytest.fixture(scope="module")
def owner(filled: Studio, browser: Browser) -> Iterator[BrowserContext]:
    """A browser's context in which the owner is signed in."""
    context = browser.new_context(viewport={"width": 1320, "height": 900})
    page = context.new_page()
    page.goto(filled.link)
    page.locator("h1").first.wait_for()
    page.close()
    yield context
    context.close()


@pytest.fixture
def here(owner: BrowserContext, filled: Studio) -> Iterator[Tab]:
    made = tab(owner, filled.url)
    yield made
    made.check()
    made.page.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "served"
    made.mkdir()
    return made
