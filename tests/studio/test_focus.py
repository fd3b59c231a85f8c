"""A dialog that asks is typed into at once; after Escape the keyboard is where it was before."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.studio.browsing import Tab

pytestmark = pytest.mark.slow
OPENED_BY = {
    "/agent": ("Create agent",),
    "/models": ("View smollm2-135m-instruct",),
    "/people": ("Rename first", "Set budget of first", "Revoke first"),
    "/releases": ("Roll back",),
    "/training": ("Train a version", "Search for settings", "Draw a learning curve"),
}


IN_FIRST_FIELD = """() => {
  const dialog = document.activeElement.closest("[role=dialog]");
  if (dialog === null) return false;
  const field = dialog.querySelector("input, textarea");
  return field === null || field === document.activeElement;
}"""


def escape(page: Page) -> None:
    """Wait for a dialog that has the focus, and leave it."""
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.wait_for_function("document.activeElement.closest('[role=dialog]') !== null")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def expect_focus_in(opener: Locator) -> None:
    """A button that was clicked has the focus in a part of it."""
    opener.page.wait_for_function(
        "opener => opener.contains(document.activeElement)", arg=opener.element_handle()
    )


@pytest.mark.parametrize("path", OPENED_BY)
def test_escape_leads_back_to_the_button(here: Tab, path: str) -> None:
    page = here.open(path)
    for name in OPENED_BY[path]:
        opener = page.get_by_role("button", name=re.compile(f"{name}$"))
        opener.focus()
        page.keyboard.press("Enter")
        page.wait_for_function(IN_FIRST_FIELD)
        escape(page)
        expect_focus_in(opener)
        opener.click()
        escape(page)
        expect_focus_in(opener)


def test_escape_leads_back_to_the_row(here: Tab) -> None:
    cell = here.open("/data").locator(".ag-row[row-index='0'] .ag-cell").first
    expect(cell).to_have_text(re.compile("[0-9]"))  # its row has come
    cell.click()
    escape(here.page)
    expect_focus_in(cell)
    here.page.keyboard.press("Enter")
    escape(here.page)
    expect_focus_in(cell)
