"""Where a refused form leads: its part opens, and whoever types stays there."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from assay.studio.browser import _LEAD, call_expression

pytestmark = pytest.mark.slow

_FORM = """<div class="card">
  <details><div class="q-field--error"><input aria-label="Wrong"></div></details>
  <div contenteditable="true" role="textbox" aria-label="Written"></div>
  <button id="c1">Save</button>
</div>
<script>getHtmlElement = (id) => document.getElementById(`c${id}`)</script>"""


@pytest.mark.parametrize(("at", "led_to"), [("textbox", "Written"), ("button", "Wrong")])
def test_a_refused_form_leads_to_its_error(browser: Browser, at: str, led_to: str) -> None:
    page = browser.new_page()
    page.set_content(_FORM)
    page.get_by_role("textbox" if at == "textbox" else "button").first.focus()
    page.evaluate(call_expression(_LEAD, 1))
    expect(page.get_by_label("Wrong")).to_be_visible()
    expect(page.get_by_label(led_to)).to_be_focused()
    page.close()
