"""The config editor: form and text agree, nothing invalid is saved, and nobody's edit is lost."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from assay.agent.agent import Agent, make_routed
from assay.agent.route import Rule, Rules
from assay.agent.versions import save_agent
from assay.project import agents
from assay.project.knowledge import documents
from assay.project.workspace import Workspace
from tests.many_rows import project
from tests.studio.browsing import Studio, Tab
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow
TEXT = """# Who answers customers.
model: smollm2-135m-instruct
system_prompt: Be short.
temperature: 0
"""


@pytest.fixture
def name(up: Studio, request: pytest.FixtureRequest) -> str:
    name = str(request.node.name).replace("_", "-")[:40]
    agents.save(Workspace(up.folder), name, TEXT, based_on=None, message="begun")
    return name


KNOWING = f"{TEXT}knowledge: {{name: manuals, k: 8, characters: 2000}}\n"


def _open(visitor: Tab, name: str) -> Page:
    page = visitor.open(f"/agent?name={name}")
    expect(page.locator(".cm-content")).to_contain_text("Be short.")
    return page


def _save(page: Page, why: str) -> None:
    page.get_by_label("What did you change, and why?").fill(why)
    page.get_by_role("button", name="Save", exact=True).click()


def test_form_and_text_are_one(browser: Browser, up: Studio, name: str) -> None:
    documents.create(Workspace(up.folder), "manuals")
    agents.save(Workspace(up.folder), "another", KNOWING, based_on=None, message="begun")
    with signed_in(browser, up, "editor") as visitor:
        page = _open(visitor, name)
        page.get_by_label("System prompt").fill("Be short and kind.")
        expect(page.locator(".cm-content")).to_contain_text("Be short and kind.")
        page.once("dialog", lambda question: question.dismiss())
        page.get_by_role("combobox", name="Agent", exact=True).click()
        with page.expect_event("dialog"):
            page.get_by_role("option", name="another").click()
        chosen = page.get_by_role("combobox", name="Agent", exact=True)
        expect(chosen).to_have_value(name)  # who stays, for unsaved changes, is still here
        expect(page.locator(".cm-content")).to_contain_text("# Who answers customers.")
        page.locator(".cm-line", has_text="temperature").click()
        page.keyboard.press("End")
        page.keyboard.type(".5")
        expect(page.get_by_label("Temperature")).to_have_value("0.5")
        page.get_by_label("Test message").fill("Hello there")
        page.get_by_role("button", name="Try it").click()
        expect(page.locator(".theirs-alone")).to_contain_text("You said: Hello there")
        _save(page, "kinder")
        expect(page.get_by_text("Version 2, by editor")).to_be_visible()
        page = _open(visitor, "another")
        passages, base = (
            page.get_by_label("Passages"),
            page.get_by_role("combobox", name="Knowledge base"),
        )
        expect(passages).to_have_value("8")
        passages.fill("many")
        expect(page.get_by_text("This cannot be saved yet")).to_be_visible()
        base.click()
        page.get_by_role("option", name="None").click()
        expect(passages).to_be_hidden()  # so that nothing is typed there which would be dropped
        expect(page.get_by_text("Unsaved changes", exact=True)).to_be_visible()
        base.click()
        page.get_by_role("option", name="manuals").click()
        expect(page.locator(".cm-content")).to_contain_text("k: 5")
        expect(passages).to_have_value("5")
        passages.fill("2")
        expect(page.locator(".cm-content")).to_contain_text("k: 2")
    saved = agents.read(Workspace(up.folder), name)
    assert saved.agent.system_prompt == "Be short and kind."
    assert saved.agent.temperature == 0.5
    assert saved.text.startswith("# Who answers customers.")
    assert (saved.version.author, saved.version.message) == ("user:editor", "kinder")


def test_variables_are_a_table_beside_the_prompt(browser: Browser, up: Studio, name: str) -> None:
    with signed_in(browser, up, "editor") as visitor:
        page = _open(visitor, name)
        page.get_by_label("System prompt").fill("You are {{who}}.")
        expect(page.get_by_text("{{who}} is sent unchanged")).to_be_visible()
        page.get_by_role("button", name="Add a variable").click()
        page.get_by_label("Name of variable 1").fill("1st")
        expect(page.get_by_text("'1st' is not a valid name")).to_be_visible()
        page.get_by_label("Name of variable 1").fill("whom")
        wrong = page.get_by_text("The system prompt has no {{whom}}: add it there")
        expect(wrong).to_be_visible()
        expect(page.get_by_text("This cannot be saved yet")).to_be_visible()
        page.get_by_label("Name of variable 1").fill("who")
        page.get_by_label("Value of variable 1").fill("Ann")
        expect(page.locator(".cm-content")).to_contain_text("who: 'Ann'")
        expect(page.get_by_text("is sent unchanged")).to_have_count(0)
        expect(wrong).to_have_count(0)
        visitor.axe()
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.set_viewport_size({"width": 1320, "height": 900})
        _save(page, "by name")
        expect(page.get_by_text("Version 2, by editor")).to_be_visible()
        page.get_by_role("button", name="Add an example").click()
        expect(page.locator(".cm-content")).to_contain_text("role: assistant")
        page.get_by_role("button", name="Remove example 1").click()
        expect(page.locator(".cm-content")).not_to_contain_text("role: assistant")
        page.get_by_role("button", name="Remove variable 1").click()
        expect(page.locator(".cm-content")).not_to_contain_text("who: 'Ann'")
    saved = agents.read(Workspace(up.folder), name).agent
    assert (saved.prompt, saved.variables) == ("You are Ann.", {"who": "Ann"})


def test_a_route_is_changed_without_its_text(browser: Browser, up: Studio, name: str) -> None:
    store = Workspace(up.folder).store
    first, second = (
        save_agent(store, arm, Agent(model="smollm2-135m-instruct", seed=seed), message="begun")
        for seed, arm in enumerate(("polite", "precise"))
    )
    rules = Rules(rules=(Rule(to=first.agent, pattern="please"),), otherwise=first.agent)
    save_agent(store, name, make_routed(rules), message="begun")
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.open(f"/agent?name={name}")
        page.get_by_label("Rule 1: if the message contains").fill("exactly")
        expect(page.locator(".cm-content")).to_contain_text("exactly")
        page.get_by_role("combobox", name="Route: Then").click()
        page.get_by_role("option", name="precise").click()
        expect(page.locator(".cm-content")).to_contain_text(second.agent[:16])
        visitor.axe()
        _save(page, "who is precise")
        expect(page.get_by_text("Version 3, by editor")).to_be_visible()
    route = agents.read(Workspace(up.folder), name).agent.route
    assert isinstance(route, Rules)
    assert (route.rules[0].pattern, route.rules[0].to) == ("exactly", second.agent)
    assert route.otherwise == first.agent


def test_what_is_wrong_is_told_at_its_line_and_not_saved(
    browser: Browser, up: Studio, name: str
) -> None:
    with signed_in(browser, up, "editor") as visitor:
        page = _open(visitor, name)
        page.locator(".cm-line", has_text="temperature").click()
        page.keyboard.press("End")
        page.keyboard.type("x")
        expect(page.locator(".wrong-line")).to_contain_text("temperature: 0x")
        expect(page.get_by_role("button", name="line 4: temperature")).to_be_visible()
        expect(page.get_by_text("This cannot be saved yet")).to_be_visible()
        page.keyboard.press("Control+s")
        page.keyboard.press("Backspace")
        expect(page.get_by_text("No unsaved changes")).to_be_visible()
    assert agents.read(Workspace(up.folder), name).version.version == 1


def test_a_stale_edit_is_told_and_both_are_kept(browser: Browser, up: Studio, name: str) -> None:
    with (
        signed_in(browser, up, "editor", "ann") as first,
        signed_in(browser, up, "editor", "ben") as second,
    ):
        hers, his = _open(first, name), _open(second, name)
        hers.get_by_label("System prompt").fill("Be long.")
        his.get_by_label("System prompt").fill("Be brief.")
        _save(hers, "longer")
        expect(hers.get_by_text("Version 2, by ann")).to_be_visible()
        _save(his, "briefer")
        told = his.get_by_role("dialog")
        expect(told).to_contain_text("ann has saved version 2")
        expect(told.locator(".removed")).to_contain_text("Be long.")
        expect(told.locator(".added")).to_contain_text("Be brief.")
        assert agents.read(Workspace(up.folder), name).agent.system_prompt == "Be long."
        told.get_by_role("button", name="Save mine instead").click()
        expect(his.get_by_text("Version 3, by ben")).to_be_visible()
        expect(hers.get_by_text("ben has saved version 3 in the meantime.")).to_be_visible()
        his.get_by_role("tab", name="Versions").click()
        his.get_by_role("button", name="Restore version 2").click()
        expect(his.get_by_text("Version 4, by ben")).to_be_visible()
    prompts = [
        agents.read(Workspace(up.folder), f"{name}@{n}").agent.system_prompt for n in (2, 3, 4)
    ]
    assert prompts == ["Be long.", "Be brief.", "Be long."]


def test_a_viewer_looks(browser: Browser, up: Studio, name: str) -> None:
    with signed_in(browser, up, "viewer") as visitor:
        page = _open(visitor, name)
        expect(page.get_by_text("You can view this; only an editor can change it.")).to_be_visible()
        expect(page.get_by_label("System prompt")).to_be_disabled()
        expect(page.get_by_role("button", name="Save", exact=True)).to_have_count(0)


@pytest.mark.usefixtures("name")
def test_another_agent_is_made(browser: Browser, up: Studio) -> None:
    project(up.folder, 3)
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.open("/agent")
        page.get_by_role("button", name="Create agent").click()
        page.get_by_label("Name of the new agent").fill("not fresh")
        page.get_by_role("button", name="Create", exact=True).click()
        expect(page.get_by_role("dialog")).to_contain_text("'not fresh' is not a valid agent name")
        page.get_by_label("Name of the new agent").fill("fresh")
        page.get_by_role("button", name="Create", exact=True).click()
        expect(page.get_by_text("Version 1, by editor")).to_be_visible()
        page.get_by_text("One of a fixed set").click()
        expect(page.get_by_label("Allowed answers")).to_have_value("label 0\nlabel 1\nlabel 2")
    assert agents.read(Workspace(up.folder), "fresh").agent.model == "smollm2-135m-instruct"
