"""What users ask goes to a provider only after an admin has said that it may."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.project import releases
from assay.project.workspace import Workspace
from assay.store.audit import entries
from tests.studio.browsing import Studio, Tab
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(up: Studio) -> Workspace:
    """With a release that stays here, and an agent that does not."""
    made = Workspace(up.folder)
    made.providers.add("far", {"base_url": "https://far.example.com/v1"}, None)
    for name, model in (("near", "smollm2-135m-instruct"), ("away", "remote:far/big")):
        save_agent(made.store, name, Agent(model=model), message="begun")
    releases.promote(made, "desk", "near@1", force="a test")
    return made


def _promote(visitor: Tab) -> Page:
    page = visitor.open("/releases?name=desk")
    page.get_by_role("combobox", name="Agent").click()
    page.get_by_role("option", name="away").click()
    page.get_by_role("textbox", name="Reason to use it anyway").fill("a test")
    page.get_by_role("button", name="Promote away").click()
    return page


def test_an_editor_is_told_whom_to_ask(browser: Browser, up: Studio, workspace: Workspace) -> None:
    with signed_in(browser, up, "editor") as visitor:
        page = _promote(visitor)
        expect(page.get_by_text("away@1 would send them to the provider far")).to_be_visible()
        expect(page.get_by_text("An admin can give consent")).to_be_visible()
    assert not workspace.providers.has_consent("far")
    assert releases.list_releases(workspace)[0]["agent"] == "near@1"


def test_an_admin_agrees_and_both_are_on_record(
    browser: Browser, up: Studio, workspace: Workspace
) -> None:
    with signed_in(browser, up, "admin") as visitor:
        page = _promote(visitor)
        asked = page.get_by_role("dialog")
        expect(asked).to_contain_text("Allow sending requests to far?")
        visitor.axe("color-contrast")  # of what lies behind the dialog
        asked.get_by_role("button", name="Cancel").click()
        expect(asked).to_have_count(0)
        assert not workspace.providers.has_consent("far")
        page.get_by_role("button", name="Promote away").click()
        asked.get_by_role("button", name="Allow").click()
        # What the page says of a promotion, and the button's own words, stood there before.
        expect(page.locator(".figure", has_text="away")).to_be_visible()
        expect(page.get_by_text("Promoted without a comparison: ")).to_be_visible()
    log = {entry.action: entry for entry in entries(workspace.store, workspace.name)}
    assert log["provider.consent"].who == "user:admin"
    assert log["release.sends_away"].details["agent"] == "away@1"
    assert releases.list_releases(workspace)[0]["agent"] == "away@1"
