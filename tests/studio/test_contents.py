"""What each page is for is there: over months of work, and in a folder where nothing is yet."""

from __future__ import annotations

import json
import re
from typing import Literal

import pytest
from playwright.sync_api import Browser, expect

from assay.project import releases as kept_releases
from assay.project.workspace import Workspace
from assay.release import labels, releases, traces
from tests.studio.browsing import Studio, Tab
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow
LOOKS: tuple[tuple[Literal["light", "dark"], int], ...] = (("dark", 390), ("light", 1320))
EMPTY = {
    "/": "Drop a file of examples here",
    "/agent": "No agents yet",
    "/knowledge": "No documents yet",
    "/data": "No examples yet",
    "/settings": "No settings yet",
    "/training": "Nothing has been trained yet",
    "/compare": "No comparisons yet",
    "/playground": "Message",
    "/releases": "No releases yet",
    "/people": "New key",
}


def test_an_empty_page_says_what_would_be_there_and_how_it_comes(
    browser: Browser, up: Studio
) -> None:
    with signed_in(browser, up, "admin") as visitor:
        for path, said in EMPTY.items():
            # tests/studio/test_pages.py opens pages as they look on a desk by day.
            visitor.page.emulate_media(color_scheme="dark")
            visitor.page.set_viewport_size({"width": 390, "height": 844})
            page = visitor.open(path)
            for scheme, width in LOOKS:
                visitor.look(scheme, width)
                expect(page.get_by_text(said, exact=True).first).to_be_visible()
                visitor.fits()
                visitor.axe()


def test_what_is_not_there_is_said_and_leads_on(here: Tab) -> None:
    page = here.open("/compare?id=nowhere")
    expect(page.get_by_text("There is no such comparison")).to_be_visible()
    page.get_by_role("link", name="View the newest").click()
    expect(page.get_by_role("heading", name="Use “Fine-tuned model”")).to_be_visible()
    page = here.open("/agent?name=nobody")
    expect(page.get_by_text("There is no agent named nobody")).to_be_visible()
    page = here.open("/relaeses")
    expect(page.get_by_role("heading", name="There is no page at this address")).to_be_visible()
    expect(page.get_by_role("link", name="Releases")).to_be_visible()
    here.wrong = [told for told in here.wrong if "404" not in told]  # which is what it is
    page = here.open("/releases?name=nothing")
    expect(page.get_by_role("alert")).to_contain_text("This could not be shown")
    here.axe()


def test_compare_has_its_evidence(here: Tab) -> None:
    page = here.open("/compare")
    for chart in (
        "score of every candidate with its interval",
        "differences between candidates with their intervals",
        re.compile("cost", re.IGNORECASE),
    ):
        expect(page.get_by_role("img", name=chart)).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    for place in page.locator(".picture.for-phone").all():  # a phone need not scroll to see it
        assert place.is_visible()
        assert place.evaluate("at => at.scrollWidth <= at.clientWidth")
    page.set_viewport_size({"width": 1320, "height": 900})
    groups = page.get_by_role("region", name="All candidates").get_by_role("rowheader")
    expect(groups.filter(has_text="Nothing to train")).to_be_visible()
    assert groups.all_inner_texts()[0] == "Trained in minutes to hours"  # the one that is named
    square = page.get_by_role("region", name="Fine-tuned model and Document passages")
    expect(square.get_by_role("row")).to_have_count(3)
    expect(page.get_by_text("Fine-tuned model adds")).to_contain_text("on top of Document passages")
    openings = page.get_by_role("region", name="Openings of the holdout")
    expect(openings.get_by_role("row")).to_have_count(5)  # a heading, and one each
    expect(openings.get_by_text("the studio", exact=True)).to_have_count(4)


def test_a_release_is_watched_over_time(here: Tab, filled: Studio) -> None:
    page = here.open("/compare")
    said = page.locator("h2.verdict").inner_text()
    expect(page.get_by_label("Comparison")).to_have_value(re.compile(re.escape(said)))
    page = here.open("/releases")
    expect(page.get_by_text("Promoted after a comparison")).to_contain_text(f"says: {said}.")
    for chart in ("Requests per day", "Seconds per answer", "Cost of answering, per 1,000"):
        drawn = page.get_by_role("img", name=f"{chart} over 30 days")
        expect(drawn).to_be_visible()
        assert drawn.locator(".column").count() > 20
    expect(
        page.get_by_role("heading", name="Is it as good as when it was promoted?")
    ).to_be_visible()
    expect(page.get_by_text("no answer has been judged yet")).to_be_visible()
    workspace, corrected = Workspace(filled.folder), '{"topic": "lost"}'
    first = kept_releases.next_to_label(workspace, "tickets")
    assert first is not None
    # Kept before the form of the records was this one.
    traces.feedback(workspace.store, workspace.name, first.id, thumb="down", corrected=corrected)
    page.get_by_role("button", name="Judge the next answer").click()
    right = page.get_by_role("textbox", name="Correct answer of the sample")
    # What was corrected among the traces is not proposed as right.
    expect(right).to_have_value(corrected)
    expect(page.get_by_role("button", name="Use this answer")).to_be_visible()
    for button in ("Cannot tell", "Mark as correct"):
        before = right.input_value()
        page.get_by_role("button", name=button).dblclick()  # it counts once
        expect(right).not_to_have_value(before)
    expect(page.get_by_text("no answer has been judged yet")).to_have_count(0)
    right.fill(json.dumps(json.loads(right.input_value()) | {"people": 17}))
    page.get_by_role("button", name="Use this answer").click()
    expect(page.get_by_role("button", name="Mark as correct")).to_be_visible()
    here.axe()
    store, owner = workspace.store, workspace.name
    agent = releases.current(store, owner, "tickets").agent
    judged = labels.labels(store, owner, "tickets", agent)
    assert (judged.scores, judged.skipped) == ((1.0, 0.0), 1)
