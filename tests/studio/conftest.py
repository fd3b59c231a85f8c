"""One browser for all; an empty and a filled studio for a module, a newcomer's for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.studio.browsing import PATIENCE_MS, WINDOW, Studio, Tab, chromium, studio, tab

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
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
def owner(filled: Studio, browser: Browser) -> Iterator[Tab]:
    """A browser's tab in which the owner is signed in."""
    context = browser.new_context(viewport=WINDOW)
    made = tab(context, filled.url)
    made.page.goto(filled.link)
    made.page.locator("h1").first.wait_for()
    yield made
    context.close()


@pytest.fixture
def here(owner: Tab) -> Iterator[Tab]:
    """The owner's tab, for a test."""
    yield owner
    owner.leave()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "served"
    made.mkdir()
    return made
