"""The settings of a project: form and text agree, what is invalid or stale is told, not saved."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from assay.project import settings
from assay.project.workspace import Workspace, project_of
from assay.store.audit import entries
from tests.many_rows import CONFIG, project
from tests.studio.browsing import Studio, Tab, studio, tab
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow

NEEDS = ["Nothing to train", "Trained in seconds", "Trained in minutes to hours"]
"""What candidates are grouped by, of a project without documents and providers."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("settings") / "tickets"
    folder.mkdir()
    project(folder, 60)
    with studio(folder) as running:
        yield running


@pytest.fixture
def up(served: Studio) -> Studio:
    (served.folder / "assay.yaml").write_text(f"# What the desk agreed on.\n{CONFIG}")
    return served


def _open(visitor: Tab) -> Page:
    page = visitor.open("/settings")
    expect(page.locator(".cm-content")).to_contain_text("name: tickets")
    expect(page.get_by_label("Requests per month")).to_have_value("10000")
    return page


def _save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def test_form_and_text_are_one_and_what_follows_is_told(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "editor") as visitor:
        page = _open(visitor)
        holdout = page.get_by_label("Holdout (%)", exact=True)
        before = holdout.input_value()
        holdout.fill("30")
        expect(page.get_by_text("Unsaved changes", exact=True)).to_be_visible()
        holdout.fill(before)
        expect(page.get_by_text("No unsaved changes")).to_be_visible()
        holdout.fill("30")
        content = page.locator(".cm-content")
        expect(content).to_contain_text("holdout: 0.3")
        expect(content).to_contain_text("# What the desk agreed on.")
        page.get_by_role("checkbox", name="Fixed examples").click()
        expect(content).to_contain_text("candidates: [prompt, few-shot]")
        effects = page.locator(".follows")
        expect(effects).to_contain_text("split again")
        expect(page.get_by_text("Unsaved changes", exact=True)).to_be_visible()
        page.locator(".cm-line", has_text="primary").click()
        page.keyboard.press("End")
        page.keyboard.type("\nmargin: 0.05")
        expect(page.get_by_label("Margin (%)", exact=True)).to_have_value("5")
        page.get_by_label("What did you change, and why?").fill("more to measure on")
        visitor.axe()
        page.get_by_label("Machine, per hour").scroll_into_view_if_needed()
        at = page.evaluate("scrollY")
        assert at > 300
        _save(page)
        expect(page.get_by_text("Saved. What this changes")).to_be_visible()
        expect(page.get_by_text("assay.yaml, saved by editor")).to_contain_text(
            "more to measure on"
        )
        expect(page.get_by_text("No unsaved changes")).to_be_visible()
        assert abs(page.evaluate("scrollY") - at) < 100  # one goes on where one was
        page.get_by_text("Saves", exact=True).click()
        saves = page.get_by_role("region", name="Saves").get_by_role("row")
        expect(saves.nth(1)).to_contain_text("more to measure on")
        expect(saves.nth(1)).to_contain_text("data.split.holdout")
        page.get_by_label("Requests per month").fill("700")
        # At once, as a person does: no test may wait here for what was typed to arrive.
        page.get_by_role("button", name="Save", exact=True).click(force=True)
        saved = page.get_by_text("assay.yaml, saved by editor")
        expect(saved).not_to_contain_text("more to measure on")
    workspace = Workspace(up.folder)
    assert workspace.config is not None
    assert workspace.config.candidates == ["prompt", "few-shot"]
    assert workspace.config.data.split.holdout == 0.3
    assert workspace.config.monthly_requests == 700
    entry = entries(workspace.store, workspace.name, 1)[0]
    assert (entry.who, entry.action) == ("user:editor", settings.ACTION)


def test_what_is_wrong_is_told_at_its_line_and_not_saved(browser: Browser, up: Studio) -> None:
    before = (up.folder / "assay.yaml").read_text()
    with signed_in(browser, up, "editor") as visitor:
        page = _open(visitor)
        page.get_by_label("Holdout (%)", exact=True).fill("95")
        expect(page.locator(".wrong-line")).to_contain_text("holdout: 0.95")
        expect(page.get_by_text("95 is too much")).to_be_visible()
        # In the field's words alone: not again in those of the text.
        expect(page.get_by_role("button", name="data.split.holdout")).to_have_count(0)
        refused = page.get_by_text("This cannot be saved yet")
        expect(refused).to_be_visible()
        visitor.axe()
        page.get_by_label("Holdout (%)", exact=True).fill("25")  # the form can take it back
        expect(page.locator(".wrong-line")).to_have_count(0)
        expect(page.get_by_text("Unsaved changes", exact=True)).to_be_visible()
        page.locator(".cm-line", has_text="model:").click()
        page.keyboard.press("End")
        page.keyboard.type("\nproviders: {far: {base_url: 'https://far.example/v1'}}")
        expect(page.get_by_text("only an admin can change")).to_be_visible()
        expect(refused).to_be_visible()
        page.keyboard.press("Control+s")
        expect(page.locator(".notice")).to_contain_text("This cannot be saved yet: line ")
        page.get_by_role("button", name="Discard").click()
        expect(page.get_by_text("No unsaved changes")).to_be_visible()
    assert (up.folder / "assay.yaml").read_text() == before


def test_what_is_wrong_in_the_form_is_told_at_its_field(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "editor") as visitor:
        page = _open(visitor)
        locked, requests = (
            page.get_by_label("Holdout (%)", exact=True),
            page.get_by_label("Requests per month"),
        )
        too_much = page.get_by_text("95 is too much: less than 90 %.")
        locked.fill("95")
        expect(too_much).to_be_visible()
        requests.fill("-5")  # leaving a field does not change what stands there
        expect(page.get_by_text("-5 is too little: at least 0.")).to_be_visible()
        expect(locked).to_have_value("95")
        visitor.axe()
        locked.fill("30")
        expect(too_much).to_have_count(0)
        requests.fill("500")
        expect(page.get_by_text("Unsaved changes", exact=True)).to_be_visible()
        page.get_by_label("Learning rate").fill("fast")
        expect(page.get_by_text("This is not a number. Write 0.2 with a point")).to_be_visible()
        refused = page.locator(".savebar .state")
        expect(refused).to_contain_text("This cannot be saved yet: correct “Learning rate”")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_label("Learning rate")).to_be_focused()
        page.get_by_label("Input columns").fill("txt")
        expect(page.get_by_text("There is no column 'txt' to take the input from.")).to_be_visible()
        expect(refused).to_contain_text("“Input columns”, “Learning rate”")
        page.get_by_label("Learning rate").fill("auto")
        expect(page.get_by_text("Or write auto")).to_have_count(0)
        expect(refused).to_contain_text("correct “Input columns”")


def test_an_empty_field_is_null_or_is_told(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "editor") as visitor:
        page = _open(visitor)
        requests = page.get_by_label("Requests per month")
        requests.fill("")
        expect(page.get_by_text("This cannot be empty. Enter a number.")).to_be_visible()
        expect(page.get_by_text("This cannot be saved yet")).to_be_visible()
        page.get_by_role("button", name="Discard").click()
        expect(requests).to_have_value("10000")
        machine = page.get_by_label("Machine, per hour")
        machine.fill("")
        machine.press_sequentially("0,2")  # of which a browser's field for numbers makes 2
        expect(page.get_by_text("This is not a number. Write 0.2 with a point")).to_be_visible()
        expect(page.get_by_text("This cannot be saved yet")).to_be_visible()
        machine.fill("0.3")
        expect(page.locator(".cm-content")).to_contain_text("machine_hour_usd: 0.3")
        machine.fill("0,3")
        requests.fill("700")  # another field takes no mark away, and the bar names the field
        expect(page.locator(".cm-content")).to_contain_text("monthly_requests: 700")
        named = page.get_by_text("This cannot be saved yet: correct “Machine, per hour")
        expect(named).to_be_visible()
        expect(page.get_by_text("This is not a number. Write 0.2 with a point")).to_be_visible()
        machine.fill("0.25")
        expect(page.locator(".cm-content")).to_contain_text("machine_hour_usd: 0.25")
        page.get_by_label("Minimum score").fill("90")
        expect(page.locator(".cm-content")).to_contain_text("good_enough: 0.9")
        page.get_by_label("Minimum score").fill("")
        expect(page.locator(".cm-content")).to_contain_text("good_enough: null")
        expect(page.get_by_text("Unsaved changes", exact=True)).to_be_visible()


def test_candidates_that_always_take_part_are_ticked_and_fixed(
    browser: Browser, up: Studio
) -> None:
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.open("/settings?setting=primary")
        expect(page.get_by_role("combobox", name="Primary grader")).to_be_focused()
        page = visitor.open("/settings?setting=candidates")
        expect(page.get_by_role("checkbox", name="System prompt alone")).to_be_focused()
        expect(page.get_by_role("heading", name="Candidates")).to_be_in_viewport()
        page = _open(visitor)
        always = page.get_by_role("checkbox", name="Word-count classifier")
        expect(always).to_be_checked()
        expect(always).to_be_disabled()
        expect(page.get_by_text("always take part")).to_be_visible()
        groups = page.get_by_text(re.compile(f"^({'|'.join(NEEDS)})$")).filter(visible=True)
        expect(groups).to_have_text(NEEDS)  # cheapest first
        page.get_by_role("checkbox", name="Fixed examples").click()
        expect(page.locator(".cm-content")).to_contain_text("candidates: [prompt, few-shot]")
        page.get_by_role("checkbox", name="Fixed examples").click()
        page.get_by_role("checkbox", name="System prompt alone").click()
        expect(page.get_by_text("It needs at least one entry.")).to_be_visible()
        refused = page.get_by_text("This cannot be saved yet: correct “Candidates”")
        expect(refused).to_be_visible()  # all boxes, not the first of them
        visitor.axe()


def test_the_text_offers_settings_where_they_belong(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "editor") as visitor:
        page = _open(visitor)
        page.locator(".cm-line", has_text="primary").click()
        page.keyboard.press("End")
        page.keyboard.insert_text("\nfine_tune:\n  ")
        page.keyboard.press("Control+Space")
        offers = page.locator(".cm-tooltip-autocomplete")
        expect(offers.get_by_text("learning_rate", exact=True)).to_be_visible()
        expect(offers.get_by_text("candidates", exact=True)).to_have_count(0)
        page.keyboard.type("adap")
        expect(offers.get_by_role("option")).to_have_count(1)
        # Enter would be a new line where the offer came up a moment ago, as long as that takes.
        offers.get_by_role("option").click()
        page.keyboard.type("d")
        expect(offers.get_by_text("dora", exact=True)).to_be_visible()


def test_what_is_typed_while_the_text_is_checked_stays(browser: Browser, up: Studio) -> None:
    late: list[tuple[WebSocketRoute, str | bytes]] = []

    def delay(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def forward(message: str | bytes) -> None:
            if "typed later" in str(message):
                late.append((server, message))
            else:
                server.send(message)

        socket.on_message(forward)

    with signed_in(browser, up, "editor") as visitor:
        delayed = tab(visitor.page.context, up.url)
        delayed.page.route_web_socket(re.compile("."), delay)
        page = _open(delayed)
        page.locator(".cm-line", has_text="primary").click()
        page.keyboard.press("End")
        page.keyboard.insert_text("\nmargn: 0.05")
        page.keyboard.insert_text("  # typed later")
        expect(page.locator(".wrong-line")).to_contain_text("typed later")
        for server, message in late:
            server.send(message)
        assert late
        page.get_by_role("button", name="margn").wait_for()
        expect(page.locator(".cm-content")).to_contain_text("margn: 0.05  # typed later")
        delayed.check()


def test_a_stale_edit_is_told_and_both_are_kept(browser: Browser, up: Studio) -> None:
    with (
        signed_in(browser, up, "editor", "ann") as first,
        signed_in(browser, up, "editor", "ben") as second,
    ):
        hers, his = _open(first), _open(second)
        hers.get_by_label("Requests per month").fill("500")
        his.get_by_label("Requests per month").fill("700")
        _save(hers)
        expect(hers.get_by_text("assay.yaml, saved by ann")).to_be_visible()
        _save(his)
        told = his.get_by_role("dialog")
        expect(told).to_contain_text("ann has saved assay.yaml")
        expect(told.locator(".removed")).to_contain_text("500")
        expect(told.locator(".added")).to_contain_text("700")
        assert "monthly_requests: 500" in (up.folder / "assay.yaml").read_text()
        told.get_by_role("button", name="Save mine instead").click()
        expect(his.get_by_text("assay.yaml, saved by ben")).to_be_visible()
        expect(hers.get_by_text("ben has saved assay.yaml in the meantime.")).to_be_visible()


def test_a_label_without_rows_is_taken_out_of_what_is_edited(browser: Browser, up: Studio) -> None:
    """The edits that are not saved yet stay, and its button saves nothing by itself."""
    project_of(Workspace(up.folder)).split()
    with signed_in(browser, up, "editor") as visitor:
        page = _open(visitor)
        page.get_by_label("Requests per month").fill("500")
        content = page.locator(".cm-content")
        expect(content).to_contain_text("monthly_requests: 500")
        page.locator(".cm-line", has_text="labels").click()
        page.keyboard.press("End")
        page.keyboard.press("Backspace")
        page.keyboard.type(", other]")
        expect(page.get_by_text("No row that is used has the label 'other'")).to_be_visible()
        page.get_by_role("button", name="Take it out").click()
        expect(content).not_to_contain_text("other")
        expect(content).to_contain_text("monthly_requests: 500")
        assert "500" not in (up.folder / "assay.yaml").read_text()
        _save(page)
        expect(page.get_by_text("No row that is used")).to_have_count(0)
        expect(page.get_by_text("No unsaved changes")).to_be_visible()
        assert "monthly_requests: 500" in (up.folder / "assay.yaml").read_text()


def test_a_viewer_looks(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "viewer") as visitor:
        page = _open(visitor)
        expect(page.get_by_text("You can view this; only an editor can change it.")).to_be_visible()
        expect(page.get_by_role("textbox", name="System prompt")).to_be_disabled()
        expect(page.get_by_role("button", name="Save", exact=True)).to_have_count(0)
