"""The pages in a browser, over a folder as it looks after months of work."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from typing import Literal

import pytest
from playwright.sync_api import Browser, TimeoutError, WebSocketRoute, expect

from assay.jobs import queue
from assay.project import releases
from assay.project.workspace import Workspace
from assay.release import traces
from assay.studio.pages import PAGES
from tests.studio.browsing import PATIENCE_MS, Studio, Tab, tab
from tests.studio.serving import UNREADABLE, slow_readings

pytestmark = pytest.mark.slow
LOOKS: tuple[tuple[Literal["light", "dark"], int], ...] = (
    ("light", 1320),
    ("dark", 1320),
    ("light", 390),
)


@pytest.mark.parametrize("path", [page.path for page in PAGES])
def test_every_page_is_whole_in_light_dark_and_on_a_phone(here: Tab, path: str) -> None:
    expect(here.open(path).locator(".waiting")).to_have_count(0)
    for scheme, width in LOOKS:
        here.look(scheme, width)
        here.fits()
        here.axe()


def test_the_keyboard_reaches_everything(here: Tab) -> None:
    page = here.open("/compare")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    here.page.set_viewport_size({"width": 390, "height": 844})
    menu = page.get_by_role("button", name="Menu")
    menu.focus()
    page.keyboard.press("Enter")
    expect(menu).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(menu).to_have_attribute("aria-expanded", "false")
    expect(menu).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Playground").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Playground")


def test_the_name_of_the_first_page_leads_to_it(here: Tab) -> None:
    page = here.open("/start")
    assert page.url == f"{here.url}/studio/"


def test_the_theme_is_kept(here: Tab) -> None:
    page = here.open("/compare")
    body, dark = page.locator("body"), re.compile(r"\bbody--dark\b")
    was_dark = dark.search(body.get_attribute("class") or "") is not None
    turned = expect(body).not_to_have_class if was_dark else expect(body).to_have_class
    page.get_by_role("button", name="Switch between light and dark").click()
    turned(dark)
    status = page.get_by_role("status").filter(has_text="holdout examples")
    page.get_by_role("textbox", name="Containing").fill("no such words")
    expect(status).to_have_text("0 of 240 holdout examples")
    turned(dark)  # with an update of the page by the server
    page.reload()
    here.settled()
    turned(dark)
    page.get_by_role("button", name="Switch between light and dark").click()


def test_answers_are_filtered_and_differences_marked(here: Tab) -> None:
    page = here.open("/compare")
    expect(page.get_by_role("heading", name="Use “Fine-tuned model”")).to_be_visible()
    status = page.get_by_role("status").filter(has_text="holdout examples")
    expect(status).to_contain_text("of 240 holdout examples")
    before = status.inner_text()
    expect(page.locator(".differs").first).to_be_visible()
    table = page.get_by_role("region", name="Fine-tuned model against Similar examples")
    counts = [int(cell) for cell in table.locator("td.number").all_inner_texts()]
    assert sum(counts) == 240
    page.get_by_role("combobox", name="Show", exact=True).click()
    page.get_by_role("option", name="The first candidate scores higher").click()
    expect(status).to_have_text(f"{counts[1]} of 240 holdout examples")
    page.get_by_role("combobox", name="Show", exact=True).click()
    page.get_by_role("option", name="The second candidate scores higher").click()
    expect(status).to_have_text(f"{counts[2]} of 240 holdout examples")
    here.look("light", 1320)
    heights = "(boxes) => boxes.map((box) => box.querySelector('.q-field__control').clientHeight)"
    assert set(page.locator(".answer-filter > .field").evaluate_all(heights)) == {40}  # one line
    page.get_by_role("combobox", name="Show", exact=True).click()
    page.get_by_role("option", name="All candidates fail").click()
    expect(status).not_to_have_text(f"{counts[2]} of 240 holdout examples")
    page.get_by_role("combobox", name="Show", exact=True).click()
    page.get_by_role("option", name="The label is worth a second look").click()
    found = page.get_by_text("worth a second look: both candidates").inner_text()
    expect(status).to_have_text(f"{found.split(' rows')[0]} holdout examples")
    page.get_by_role("combobox", name="Show", exact=True).click()
    page.get_by_role("option", name="Different, not both fully right").click()
    expect(status).to_have_text(before)
    page.get_by_role("textbox", name="Containing").fill("thermos")
    expect(status).not_to_have_text(before)
    page.get_by_role("textbox", name="Containing").fill("no such words")
    expect(status).to_have_text("0 of 240 holdout examples")
    with page.expect_download() as report:
        page.get_by_role("button", name="Download the report").click()
    assert report.value.suggested_filename.endswith(".html")


@pytest.mark.parametrize("words", ["", UNREADABLE])
def test_what_was_asked_last_is_shown_although_an_earlier_reading_ends_or_fails_later(
    here: Tab, filled: Studio, words: str
) -> None:
    page = here.open("/compare")
    status = page.get_by_role("status").filter(has_text="holdout examples")
    expect(status).to_contain_text("of 240 holdout examples")
    page.get_by_role("textbox", name="Containing").fill(words)
    if words:
        expect(status).to_have_text("0 of 240 holdout examples")
    before = status.inner_text()
    ended = slow_readings(filled.folder)
    for name in ("All candidates fail", "Different, not both fully right"):
        page.get_by_role("combobox", name="Show", exact=True).click()
        page.get_by_role("option", name=name).click()
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while slow_readings(filled.folder) == ended:
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)
    for _ in range(5):  # the server has been there and back: what it was to show, it has shown
        page.request.get(f"{filled.url}/healthz")
    expect(status).to_have_text(before)


def test_a_quick_return_to_the_old_choice_counts_before_the_server_has_answered(
    filled: Studio, owner: Tab
) -> None:
    here = tab(owner.page.context, filled.url)
    page = here.page
    held: list[str | bytes] = []
    holds = False

    def connect(line: WebSocketRoute) -> None:
        far = line.connect_to_server()
        far.on_message(lambda message: held.append(message) if holds else line.send(message))
        lines.append(line)

    def let_go() -> None:
        nonlocal holds
        holds = False
        while held:
            lines[-1].send(held.pop(0))

    lines: list[WebSocketRoute] = []
    page.route_web_socket(re.compile("socket.io"), connect)
    here.open("/compare")
    status = page.get_by_role("status").filter(has_text="holdout examples")
    expect(status).to_contain_text("of 240 holdout examples")
    before = status.inner_text()
    holds = True
    for name in ("The first candidate scores higher", "Different, not both fully right"):
        page.get_by_role("combobox", name="Show", exact=True).click()
        page.get_by_role("option", name=name).click()
        expect(page.get_by_role("option")).to_have_count(0)
    let_go()
    expect(page.get_by_role("combobox", name="Show", exact=True)).to_have_value(name)
    expect(status).to_have_text(before)
    here.open("/agent")
    expect(page.get_by_role("tab", name="Edit")).to_be_visible()
    holds = True
    for name in ("Versions", "Edit"):
        page.get_by_role("tab", name=name).click()
        expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
    let_go()
    expect(page.get_by_label("System prompt")).to_be_visible()
    here.check()
    page.close()


def test_answers_of_several_come_as_they_are_made(here: Tab) -> None:
    page = here.open("/playground")
    page.get_by_role("textbox", name="Message").fill("Where is my boat? Tell me at length.")
    page.get_by_role("button", name="Send", exact=True).click()
    answers = page.locator(".answer-text")
    expect(answers).to_have_count(2)
    expect(answers.first).to_contain_text("word1")
    assert "word3999" not in answers.first.inner_text()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("stopped")).to_have_count(2)
    page.get_by_role("textbox", name="Message").fill("Where is my boat?")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(answers.first).to_contain_text("word29")
    expect(answers.nth(1)).to_contain_text("You said: Where is my boat?")
    expect(page.get_by_text("Time to first token")).to_have_count(2)


def test_promote_trial_and_roll_back(here: Tab) -> None:
    page = here.open("/releases")
    expect(page.get_by_text("canary: 10 %")).to_be_visible()
    page.get_by_role("button", name="Roll back", exact=True).click()
    page.get_by_role("button", name="Roll back now").click()
    expect(page.get_by_text("canary: 10 %")).to_have_count(0)
    here.settled()
    # Nobody is chosen unasked, unless it is the one that is recommended.
    expect(page.get_by_role("button", name=re.compile("^Promote "))).to_have_count(0)
    page.get_by_role("combobox", name="Agent").click()
    page.get_by_role("option", name="System prompt alone, version 4").click()
    # The reason is asked for before the press, and missed at its field.
    expect(page.get_by_text("worse than Fine-tuned model, which is served now.")).to_be_visible()
    page.get_by_role("button", name="Promote System prompt alone, version 4").click()
    expect(page.get_by_text("A reason is missing.")).to_be_visible()
    page.get_by_text("Or start a canary").click()
    page.get_by_role("button", name="Start the canary").click()
    expect(page.get_by_text("A reason is missing.")).to_be_visible()
    expect(page.locator(".notice")).to_have_count(0)
    page.get_by_role("textbox", name="Reason to use it anyway").fill("a test of the gate")
    page.get_by_role("button", name="Promote System prompt alone, version 4").click()
    expect(page.get_by_text("“a test of the gate”", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile("^Promoted .* in 100\\)"))).to_be_visible()
    page = here.open("/")
    expect(page.get_by_text("runs System prompt alone, version 4")).to_be_visible()
    page = here.open("/releases")
    page.get_by_role("button", name="Roll back", exact=True).click()
    page.get_by_role("button", name="Roll back now").click()
    expect(page.locator(".figure .value").first).to_have_text("Fine-tuned model")


def test_a_release_name_that_cannot_be_used_is_told_at_its_field(here: Tab) -> None:
    page = here.open("/compare")
    page.get_by_label("Release name").fill("My Desk")
    reason = page.get_by_role("textbox", name="Reason to use it anyway")
    if reason.is_visible():
        reason.fill("a test")
    page.get_by_role("button", name=re.compile("^Promote ")).click()
    expect(page.get_by_text("'My Desk' is not a valid release name.")).to_be_visible()
    expect(page.locator(".notice")).to_have_count(0)


def test_a_request_is_corrected_and_becomes_training_data(here: Tab, filled: Studio) -> None:
    workspace = Workspace(filled.folder)
    kept = releases.list_traces(workspace, None, count=2, corrected=False)
    # Kept by an earlier version, or before the form of the records was this one.
    traces.feedback(workspace.store, workspace.name, kept[1].id, corrected="not JSON")
    page = here.open("/releases")
    trace = page.locator("details.trace").first
    trace.locator("summary").click()
    right = trace.get_by_role("textbox", name="Correct answer", exact=True)
    given = trace.locator(".pre.strong").inner_text()
    right.fill(given)
    trace.get_by_role("button", name="Save correction").click()
    expect(trace.get_by_text("This is the answer that was given.")).to_be_visible()
    right.fill(json.dumps(json.loads(given) | {"people": 17}))
    trace.get_by_role("button", name="Good").click()
    expect(trace.get_by_text("Another answer stands here.")).to_be_visible()
    trace.get_by_role("button", name="Save correction").click()
    expect(page.get_by_text("The correction was saved.")).to_be_visible()
    here.axe()  # the notice, too
    trace.get_by_role("button", name="Good").click()  # takes back what was saved
    expect(right).to_have_value(given)
    right.fill(json.dumps(json.loads(given) | {"people": 17}))
    trace.get_by_role("button", name="Save correction").click()
    expect(trace.get_by_text("corrected", exact=True)).to_be_visible()
    page.get_by_role("button", name="Save corrections as training data").click()
    expect(
        page.get_by_text(re.compile(r"corrections? (was|were) saved in data/traces-"))
    ).to_be_visible(timeout=60_000)
    why = "Why: the output is not a record written as JSON (1). They are in data/traces-"
    expect(page.get_by_text(why)).to_be_visible()
    waiting = page.get_by_text("Nothing is trained on them before they are added")
    page.reload()  # until they are added the page offers it
    expect(waiting).to_be_visible()
    page.get_by_role("button", name="Add them to the examples").click()
    expect(page.get_by_text(re.compile(r"\d rows? (was|were) added to "))).to_be_visible()
    there = re.compile(r"(It is|All \d+ are) in \S+, the examples of this project\.")
    expect(page.get_by_text(there)).to_be_visible()  # and not that nothing is trained on them
    here.axe()
    expect(page.get_by_role("button", name="Add them to the examples")).to_have_count(0)
    page.get_by_role("button", name="Save corrections as training data").click()
    expect(page.get_by_text("No correction that is not saved yet could be used")).to_be_visible()
    expect(page.get_by_text(there)).to_be_visible()  # what was done before stays
    trace.locator("summary").click()
    right.fill("not JSON")
    trace.get_by_role("button", name="Save correction").click()
    expect(trace.get_by_role("alert").filter(has_text="JSON")).to_be_visible()
    right.fill(json.dumps(json.loads(given) | {"people": 18}))
    trace.get_by_role("button", name="Save correction").click()
    expect(waiting).to_be_visible()  # at once
    expect(waiting).to_contain_text("an example with the same input has another answer")


def test_a_new_key_is_put_into_the_snippet_that_is_looked_at(here: Tab) -> None:
    page = here.open("/releases")
    page.get_by_role("tab", name="Python", exact=True).click()
    shown = page.get_by_role("region", name="Python snippet")
    expect(shown).to_contain_text("YOUR-KEY")
    page.get_by_role("button", name="Create key").click()
    expect(shown).to_contain_text("assay-")
    expect(page.get_by_role("region", name="curl snippet")).to_have_count(0)


def test_two_runs_are_compared(here: Tab) -> None:
    page = here.open("/training")
    expect(page.get_by_text("kept", exact=True)).to_be_visible()  # where it stopped to get better
    page.get_by_role("combobox", name="Run to compare with").click()
    page.get_by_role("option").first.click()
    runs = page.locator(".run")
    expect(runs).to_have_count(2)
    for number in range(2):
        expect(runs.nth(number).get_by_text("best validation loss")).to_be_visible()
        expect(runs.nth(number).get_by_role("img")).to_be_visible()
    here.axe()


def test_a_training_is_followed_live_paused_and_cancelled(here: Tab, filled: Studio) -> None:
    store = Workspace(filled.folder).store
    id = queue.enqueue(store, "tickets", "test", {})
    job = queue.claim(store, "test", ["test"])
    assert job is not None
    page = here.open(f"/training?id={id}")
    for step in range(1, 6):
        data = {"step": step, "total_steps": 10, "train_loss": 2.0 / step}
        queue.note(store, job, "step", data, kind="metrics")
    queue.beat(
        store,
        job,
        {"label": "training", "done": 5, "total": 10, "unit": "steps", "tokens_per_s": 812},
    )
    expect(page.get_by_text("5 of 10", exact=True)).to_be_visible()
    expect(page.get_by_role("img", name="training curve of training")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")
    expect(page.get_by_text("812")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Pausing").first).to_be_visible()
    assert queue.beat(store, job) == "pause"
    queue.stop(store, job, "pause")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled").first).to_be_visible()
    assert queue.read(store, id).status == "cancelled"


def test_who_is_demoted_is_signed_out_and_a_viewer_cannot_act(
    browser: Browser, filled: Studio
) -> None:
    from assay.accounts import people

    workspace = Workspace(filled.folder)
    person = people.add(workspace, "vera", "editor")
    secret = people.sign_in_secret(workspace, person.id)
    context = browser.new_context()
    here = tab(context, filled.url)
    page = here.page
    page.goto(f"{filled.url}/studio/enter?once={secret}")
    here.open("/releases")
    ask = page.get_by_role("button", name="Stop keeping")
    expect(ask).to_be_visible()
    people.set_role(workspace, person.id, "viewer")
    with suppress(TimeoutError):  # the page may have gone already, and its button with it
        ask.click(timeout=5_000)  # where it has not, the server asks again
    expect(page.get_by_text("Your sign-in has ended")).to_be_visible()
    here.wrong.clear()  # the browser calls the 401 an error
    page.goto(f"{filled.url}/studio/enter?once={people.sign_in_secret(workspace, person.id)}")
    here.open("/releases")
    for name in ("Stop keeping", "Roll back", "Create key", re.compile("^Promote ")):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    here.check()
    context.close()


def test_a_link_is_good_once(owner: Tab, browser: Browser, filled: Studio) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(filled.link)
    expect(page.get_by_text("This link has already been used")).to_be_visible()
    context.close()
