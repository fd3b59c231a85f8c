"""Where a refused form leads: its part opens, and whoever has gone on to a field stays there."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.slow

_FORM = """<div class="card">
  <details><div class="q-field--error"><input id="c2" aria-label="Wrong"></div></details>
  <input aria-label="Name"><div contenteditable="true" role="textbox" aria-label="Text"></div>
  <button id="c1">Save</button><p id="c3" tabindex="-1" aria-label="Made"></p>
</div>
<script>
  getHtmlElement = (id) => document.getElementById(`c${id}`);
  runMethod = (id, name) => getHtmlElement(id)[name]();
</script>"""


@pytest.fixture
def form(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.set_content(_FORM)
    page.add_script_tag(content=files("assay.studio").joinpath("lead.js").read_text())
    yield page
    page.close()


@pytest.mark.parametrize("lead", ["leadToError(1)", "leadTo(2, true)"])
@pytest.mark.parametrize(
    ("field", "keys", "stays"),
    [
        ("Save", [], False),
        ("Name", ["x"], True),
        ("Name", ["x", "Enter"], False),  # sends the form
        ("Name", ["Enter", "x"], True),
        ("Text", ["x", "Enter"], True),  # a new line
        ("Text", ["x", "Control+s"], False),
        ("Text", ["x", "Control+Enter"], False),
    ],
)
def test_a_refused_form_leads_to_its_error(
    form: Page, lead: str, field: str, keys: list[str], stays: bool
) -> None:
    at = form.get_by_label(field).or_(form.get_by_role("button", name=field))
    at.focus()
    for key in keys:
        at.press(key)
    form.evaluate(lead)
    form.wait_for_timeout(100)
    expect(form.get_by_label("Wrong")).to_be_visible()
    expect(at if stays else form.get_by_label("Wrong")).to_be_focused()


def test_who_sent_a_form_and_comes_back_stays(form: Page) -> None:
    name = form.get_by_label("Name")
    name.press("Enter")
    form.get_by_role("button").click()
    name.click()
    form.evaluate("leadToError(1)")
    form.wait_for_timeout(100)
    expect(name).to_be_focused()
    form.get_by_role("button").click()
    form.evaluate("leadTo(3, false)")
    expect(form.get_by_label("Made")).to_be_focused()
