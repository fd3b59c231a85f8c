"""Where a refused form leads: its part opens, and whoever has gone on to a field stays there."""

from __future__ import annotations

from importlib.resources import files

import pytest
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.slow

_FORM = """<div class="card">
  <details><div class="q-field--error"><input id="c2" aria-label="Wrong"></div></details>
  <div contenteditable="true" role="textbox" aria-label="Written"></div>
  <button id="c1">Save</button>
</div>
<script>
  getHtmlElement = (id) => document.getElementById(`c${id}`);
  runMethod = (id, name) => getHtmlElement(id)[name]();
</script>"""


@pytest.mark.parametrize("lead", ["leadToError(1)", "leadTo(2, true)"])
@pytest.mark.parametrize(
    ("pressed", "led_to"),
    [("Save", "Wrong"), ("Written", "Written"), ("Written Enter", "Wrong")],
)
def test_a_refused_form_leads_to_its_error(
    browser: Browser, lead: str, pressed: str, led_to: str
) -> None:
    page = browser.new_page()
    page.set_content(_FORM)
    page.add_script_tag(content=files("assay.studio").joinpath("lead.js").read_text())
    if pressed == "Save":
        page.get_by_role("button").focus()
    else:
        page.get_by_label("Written").press("x")
        page.get_by_label("Written").press(pressed.removeprefix("Written ").replace("Written", "y"))
    page.evaluate(lead)
    page.wait_for_timeout(100)
    expect(page.get_by_label("Wrong")).to_be_visible()
    expect(page.get_by_label(led_to)).to_be_focused()
    page.close()
