"""What the studio has the browser do by itself."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.value_element import ValueElement
from nicegui.events import GenericEventArguments

_LOST_CONNECTION = files("assay.studio").joinpath("lost_connection.js").read_text(encoding="utf-8")
_SHOW = "(chosen) => { element.props['model-value'] = chosen; emit(chosen); }"
"""NiceGUI evaluates a handler where `element` is what it is a handler of."""

_LEAD = """(id) => setTimeout(() => {
  const button = getHtmlElement(id), form = button?.closest(".card, .q-card");
  const wrong = form?.querySelector(".q-field--error, .bad[role=alert]:not(:empty)");
  for (let box = wrong; (box = box?.parentElement?.closest("details")); ) box.open = true;
  if (document.activeElement.matches("input, textarea, [contenteditable=true]")) return;
  wrong?.scrollIntoView({ block: "center" });
  wrong?.querySelector("input, textarea, [tabindex='0']")?.focus({ preventScroll: true });
}, 50)"""
"""What the server has said comes before this, and is drawn a little later."""


def mend_lost_connections() -> None:
    """Have all pages tell the server again what it did not hear; once, before any is shown. As a
    module the script comes after socket.io, which it is for, and before the page connects."""
    ui.add_body_html(f'<script type="module">{_LOST_CONNECTION}</script>', shared=True)


def show_at_once(made: ValueElement[Any]) -> None:
    """Lets the browser show what is chosen before the server has answered. Else it takes each click
    until then for a change of the old choice: of two quick ones the first is undone, and a return
    to the old choice does nothing. The server answers where it has made something else of it."""

    def correct(event: GenericEventArguments) -> None:
        if event.args != made.props["model-value"]:
            made.update()

    made.LOOPBACK = None
    made.on("update:model-value", correct, js_handler=_SHOW)


def lead_to_error(button: Element) -> None:
    """Bring the first field in error of the form that a button belongs to into view, with the
    cursor in it; nothing where there is none: the form was taken. Whoever has gone on to a field
    before the answer came stays there: else what is being typed would end in another one."""
    button.client.run_javascript(call_expression(_LEAD, button.id))


def call_expression(function: str, *arguments: Any) -> str:
    """A call of a fixed JavaScript function, with arguments as JSON: the browser evaluates the code
    that NiceGUI sends it, so that a name that is formatted into it would be code, too."""
    return f"({function})({', '.join(json.dumps(one) for one in arguments)})"
